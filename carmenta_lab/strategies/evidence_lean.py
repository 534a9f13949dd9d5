"""How much of `evidence` is left without anything stored for single words?"""

from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.signals import AsksWhen, BestOfConversation, Context, Dates, Speaker, Speaking, Words
from carmenta_lab.retrieval.vector import FUSED_UP_TO, VectorSearch

STRATEGY = Evidence(
    signals=(
        Words(1.0),
        Context(1.5),
        BestOfConversation(0.5, of="words"),
        Speaker(0.3),
        Speaking(0.05),
        Dates(0.3),
        AsksWhen(0.1),
    ),
    vector=VectorSearch(index="halfvec", exact_up_to=FUSED_UP_TO),
)

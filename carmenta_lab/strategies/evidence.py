"""Do the vectors of single words, weighted by rarity, and the shape of a conversation find what one vector blurs?"""

from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.signals import (
    AsksWhen,
    BestOfConversation,
    Context,
    Dates,
    Late,
    LateWindow,
    Speaker,
    Speaking,
)
from carmenta_lab.retrieval.vector import FUSED_UP_TO, VectorSearch

STRATEGY = Evidence(
    signals=(
        Late(1.0),
        LateWindow(0.65),
        Context(1.0),
        BestOfConversation(0.5),
        Speaker(0.3),
        Speaking(0.05),
        Dates(0.3),
        AsksWhen(0.1),
    ),
    vector=VectorSearch(index="halfvec", exact_up_to=FUSED_UP_TO),
)

"""Results, or a context, as figures: each a function from values to one matplotlib figure, without pyplot's state.

figures.quality(comparison, "ndcg@10")                 # which strategy is better, and is the difference clear?
figures.quality_against_latency(comparison, "ndcg@10")
figures.by_category(comparison, "ndcg@10")
figures.wins_and_losses(comparison, "ndcg@10")         # question by question against the baseline
figures.evidence(comparison, "q17")                    # one question: at which rank stands what proves the answer?
figures.ablation(ablate(lab, "sample"))                # what is lost without each part of a strategy?
figures.ablation_by_category(ablate(lab, "sample"))
figures.conversations_over_time(figures.read_conversations(session, "sample"))
figures.tokens_by_block(context)
figures.conversation_shown(context)                    # which messages stand in full, compressed, not at all
figures.evidence_by_budget(compare_contexts(lab, "sample"))
figures.quality(comparison, "ndcg@10").savefig("quality.png", dpi=200)

>>> result = cl.compare(lab, "sample_de", strategies=["fulltext", "fulltext_or"], measures="ndcg@10")
>>> cl.figures.quality(result, "ndcg@10").savefig(folder / "quality.png", dpi=80)
"""

from carmenta_lab.figures.ablation import ablation, ablation_by_category
from carmenta_lab.figures.budgets import evidence_by_budget, evidence_by_history
from carmenta_lab.figures.categories import by_category
from carmenta_lab.figures.contexts import conversation_shown, tokens_by_block
from carmenta_lab.figures.evidence import evidence, evidence_letters, top_hits
from carmenta_lab.figures.latency import quality_against_latency
from carmenta_lab.figures.quality import quality
from carmenta_lab.figures.scale import scale_cost, scale_latency, scale_recall
from carmenta_lab.figures.timeline import conversations_over_time, read_conversations
from carmenta_lab.figures.wins import wins_and_losses

__all__ = [
    "ablation",
    "ablation_by_category",
    "by_category",
    "conversation_shown",
    "conversations_over_time",
    "evidence",
    "evidence_by_budget",
    "evidence_by_history",
    "evidence_letters",
    "quality",
    "quality_against_latency",
    "read_conversations",
    "scale_cost",
    "scale_latency",
    "scale_recall",
    "tokens_by_block",
    "top_hits",
    "wins_and_losses",
]


def __dir__() -> list[str]:
    return __all__

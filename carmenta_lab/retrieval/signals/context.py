"""Nearness in context: is what is said around the candidate near to the question as well?"""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Parameter, Signal


@dataclass(frozen=True)
class Context(Signal):
    """Cosine similarity of the candidate, half of it that of its neighbours; a missing neighbour counts as itself."""

    name: ClassVar[str] = "context"
    parameters: ClassVar[tuple[Parameter, ...]] = ("vector",)

    def join(self, table: str) -> str:
        """The similarity of the candidate and of the messages beside it."""
        return " ".join(
            f"LEFT JOIN LATERAL (SELECT 1 - (e.embedding <=> :vector) AS value FROM {table} e "
            f"WHERE e.user_id = :user_id AND e.passage_id = {passage} LIMIT 1) {alias} ON true"
            for alias, passage in (
                ("near", "candidate.passage_id"),
                ("near_before", "beside.before"),
                ("near_after", "beside.after"),
            )
        )

    def sql(self) -> str:
        """0 for a passage without a vector."""
        return "(2 * near.value + coalesce(near_before.value, near.value) + coalesce(near_after.value, near.value)) / 4"

"""Nearness in context: is what is said around the candidate near to the question as well?"""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Signal


@dataclass(frozen=True)
class Context(Signal):
    """Cosine similarity of the candidate, half of it that of its neighbours; a missing neighbour counts as itself."""

    name: ClassVar[str] = "context"
    needs: ClassVar[tuple[str, ...]] = ("beside",)

    def ctes(self, table: str) -> str:
        """The similarity of the candidates and of all beside them."""
        return f"""
    near AS MATERIALIZED (
        SELECT e.passage_id, 1 - (e.embedding <=> :vector) AS value FROM (
            SELECT passage_id FROM beside UNION SELECT before FROM beside UNION SELECT after FROM beside
        ) w JOIN {table} e ON e.user_id = :user_id AND e.passage_id = w.passage_id
    ), context AS MATERIALIZED (
        SELECT b.passage_id, (2 * n.value + coalesce(x.value, n.value) + coalesce(y.value, n.value)) / 4 AS value
        FROM beside b JOIN near n ON n.passage_id = b.passage_id
        LEFT JOIN near x ON x.passage_id = b.before LEFT JOIN near y ON y.passage_id = b.after
    ),"""

    def join(self) -> str:
        """By passage."""
        return "LEFT JOIN context ON context.passage_id = c.passage_id"

    def value(self) -> str:
        """0 for a passage without a vector."""
        return "coalesce(context.value, 0)"

"""Late interaction: does every word of the question find its like among the words of the candidate?"""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Signal


@dataclass(frozen=True)
class Late(Signal):
    """MaxSim over token codes, each token weighted by its rarity, joined with the question the candidate answers.

    After Khattab and Zaharia, SIGIR 2020 (ColBERT). The cosine of two tokens is estimated from the Hamming distance
    h of their 384 signs as cos(pi h / 384) (Charikar, STOC 2002).
    """

    name: ClassVar[str] = "late"
    needs: ClassVar[tuple[str, ...]] = ("beside", "matched")
    tokens: ClassVar[bool] = True

    def ctes(self, table: str) -> str:
        """The weighted mean over the question's tokens."""
        return """
    late AS MATERIALIZED (
        SELECT passage_id, sum(weight * likeness) AS value FROM matched GROUP BY 1
    ),"""

    def join(self) -> str:
        """By passage."""
        return "LEFT JOIN late ON late.passage_id = c.passage_id"

    def value(self) -> str:
        """0 where no token is known."""
        return "coalesce(late.value, 0)"


@dataclass(frozen=True)
class LateWindow(Signal):
    """The same over the candidates within `reach` messages: what one leaves open its neighbour may say."""

    name: ClassVar[str] = "late_window"
    needs: ClassVar[tuple[str, ...]] = ("beside", "matched")
    tokens: ClassVar[bool] = True

    reach: int = 2  # messages before and after

    def ctes(self, table: str) -> str:
        """The best match of each token around a candidate."""
        return f"""
    late_window AS MATERIALIZED (
        SELECT passage_id, sum(weight * likeness) AS value FROM (
            SELECT m.passage_id, m.n, m.weight, max(o.likeness) AS likeness FROM matched m JOIN matched o
            ON o.n = m.n AND o.conversation_id = m.conversation_id
            AND (o.place >> 16) BETWEEN (m.place >> 16) - {self.reach} AND (m.place >> 16) + {self.reach}
            GROUP BY 1, 2, 3
        ) best GROUP BY 1
    ),"""

    def join(self) -> str:
        """By passage."""
        return (
            "LEFT JOIN late_window ON late_window.passage_id = c.passage_id "
            "LEFT JOIN (SELECT passage_id, sum(weight * likeness) AS value FROM matched WHERE conversation_id IS NULL "
            "GROUP BY 1) late_alone ON late_alone.passage_id = c.passage_id"
        )

    def value(self) -> str:
        """A candidate without a conversation stands alone."""
        return "coalesce(late_window.value, late_alone.value, 0)"

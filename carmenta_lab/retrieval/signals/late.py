"""Late interaction: does every word of the question find its like among the words of the candidate?"""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Signal, Stage


@dataclass(frozen=True)
class Late(Signal):
    """MaxSim over token codes, each token weighted by its rarity, joined with the question the candidate answers.

    After Khattab and Zaharia, SIGIR 2020 (ColBERT). The cosine of two tokens is estimated from the Hamming distance
    h of their n signs as cos(pi h / n) (Charikar, STOC 2002).
    """

    name: ClassVar[str] = "late"
    stage: ClassVar[Stage] = "tokens"

    def sql(self) -> str:
        """The weighted mean over the question's tokens."""
        return "sum(weight * likeness)"


@dataclass(frozen=True)
class LateWindow(Signal):
    """Late interaction with candidates at most two messages away: what one leaves open its neighbour may say."""

    name: ClassVar[str] = "late_window"
    stage: ClassVar[Stage] = "tokens"

    def sql(self) -> str:
        """The weighted mean of the best match of each token around a candidate."""
        return "sum(weight * around)"

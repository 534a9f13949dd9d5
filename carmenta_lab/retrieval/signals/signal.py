"""What every signal is: parameters, and the SQL that gives each candidate a number."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Signal:
    """A number for every candidate, from about 0 to 1, and how much it weighs.

    The SQL refers to the candidate as `c`: a row of `carmenta.passage_features` with `nearness` (cosine similarity)
    and `words` (share of the attainable BM25), null where the candidate was not found that way. `needs` names CTEs
    of `signals.beside` that must come first.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    tokens: ClassVar[bool] = False  # whether codes of single tokens are read

    weight: float = 1.0

    def ctes(self, table: str) -> str:
        """CTEs of its own, each followed by a comma; `table` is that of the model's vectors."""
        return ""

    def join(self) -> str:
        """What joins them to the candidates."""
        return ""

    def value(self) -> str:
        """The expression of its number, never null."""
        return "0"

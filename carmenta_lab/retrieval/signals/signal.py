"""What every signal is: a weight, and the SQL of one number for each candidate."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Signal:
    """A number for every candidate, from about 0 to 1, and how much it weighs.

    Its SQL belongs to a stage. "candidate": an expression over a candidate `c` (a row of `search.passage_features`
    with `nearness`, the cosine similarity, and `words`, the share of the attainable BM25, null where it was not found
    that way) and over what `join` adds to it; `b` (before, after) names the passages beside it. "tokens": an
    aggregate over the tokens of the question, `likeness` being how near the candidate comes to one and `around` how
    near its neighbourhood does, `weight` the token's share. "all": an expression over all candidates `c`, whose
    columns are then the signals of the stages before.
    """

    name: ClassVar[str]
    stage: ClassVar[Literal["candidate", "tokens", "all"]] = "candidate"

    weight: float = 1.0

    @property
    def reads(self) -> str | None:
        """The name of another signal, of an earlier stage, that this one is made of; None: of none."""
        return None

    def reading(self, name: str) -> "Signal":
        """The same made of another signal; for one that says what it `reads`."""
        raise NotImplementedError(f"the signal {self.name} reads no other.")

    def join(self, table: str) -> str:
        """What must be joined to a candidate; `table` is that of the model's vectors. One row at the most."""
        return ""

    def sql(self) -> str:
        """The number; null counts as 0."""
        return "0"

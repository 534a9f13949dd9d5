"""What every signal is: a weight, and the SQL of one number for each candidate."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, TypeAlias

from sqlalchemy import ARRAY, BindParameter, Boolean, Integer, Text, bindparam, text

from carmenta_lab.errors import UsageError
from carmenta_lab.retrieval.retriever import ASKED_AT, LANGUAGE, TEXT, USER, VECTOR
from carmenta_lab.schema.search.passages import TOKEN_BITS
from carmenta_lab.schema.vector import Codes

Stage: TypeAlias = Literal["candidate", "tokens", "all"]
"""Where in the statement a signal is computed: see README.md of this folder."""

Parameter: TypeAlias = Literal[
    "vector",
    "text",
    "language",
    "speaker",
    "months",
    "years",
    "days",
    "asks_when",
    "time_pattern",
    "speaking",
    "codes",
    "code_words",
]

PARAMETERS: Mapping[Parameter, BindParameter[Any]] = {
    "vector": VECTOR,
    "text": TEXT,
    "language": LANGUAGE,
    "speaker": bindparam("speaker", type_=Text),
    "months": bindparam("months", type_=ARRAY(Integer)),
    "years": bindparam("years", type_=ARRAY(Integer)),
    "days": bindparam("days", type_=ARRAY(Integer)),
    "asks_when": bindparam("asks_when", type_=Boolean),
    "time_pattern": bindparam("time_pattern", type_=Text),
    "speaking": bindparam("speaking", type_=Text),
    "codes": bindparam("codes", type_=Codes(TOKEN_BITS)),
    "code_words": bindparam("code_words", type_=ARRAY(Text)),
}
"""What a signal may declare to read of the question; the values are those of `retrieval.question.Question`."""

ALWAYS = {"user_id": USER, "asked_at": ASKED_AT}
"""Parameters that every signal may use and none declares."""

CARRIED = (
    *("passage_id", "source_id", "unit", "conversation_id", "place", "author"),
    *("learned", "superseded_by"),
)
"""Columns of a candidate at every stage, beside its signals."""

RESERVED = (*CARRIED, "n", "weight", "likeness", "around", "codes", "before", "after", "total", "lifted", "score")
"""Names that the statement has itself, so that no signal can be called so."""

CANDIDATE = (*CARRIED, "role", "slot", "created_at", "length", "asked_length", "nearness", "words")
"""Columns of a candidate at the first stage."""


@dataclass(frozen=True)
class Signal:
    """A number for every candidate, from about 0 to 1, and how much it weighs.

    README.md of this folder is the contract of its SQL: which columns and parameters it may use, stage by stage.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage] = "candidate"
    parameters: ClassVar[tuple[Parameter, ...]] = ()  # all that its SQL uses of the question

    weight: float = 1.0

    @property
    def reads(self) -> str | None:
        """The name of another signal, of an earlier stage, that this one is made of; None: of none."""
        return None

    def reading(self, name: str) -> "Signal":
        """This signal, reading the other one; for signals that say what they read (`reads`)."""
        raise NotImplementedError(f"the signal {self.name} reads no other.")

    def join(self, table: str) -> str:
        """What must be joined to a candidate; `table` is that of the model's vectors. One row at the most."""
        return ""

    def sql(self) -> str:
        """The number; null counts as 0."""
        return "0"


def check(signals: tuple[Signal, ...]) -> None:
    """UsageError for signals that one statement cannot hold, or whose SQL uses what they do not declare."""
    if not signals:
        raise UsageError("a weighted sum needs a signal or more.")
    names = [signal.name for signal in signals]
    for signal in signals:
        if names.count(signal.name) > 1 or signal.name in RESERVED or not signal.name.isidentifier():
            raise UsageError(f"a signal needs a name of its own that is an identifier and not taken: {signal.name!r}.")
        early = [other.name for other in signals if other.stage != "all" and other is not signal]
        if signal.reads is not None and signal.reads not in early:
            raise UsageError(f"the signal {signal.name} reads {signal.reads!r}, which is none of an earlier stage.")
        _check_parameters(signal)


@cache
def _check_parameters(signal: Signal) -> None:
    declared = {*signal.parameters}
    if unknown := declared - PARAMETERS.keys():
        raise UsageError(f"the signal {signal.name} declares {_listed(unknown)}: there are {_listed(PARAMETERS)}.")
    used = text(f"{signal.join('t')} {signal.sql()}").compile().params.keys() - ALWAYS.keys()
    if used != declared:
        raise UsageError(f"the signal {signal.name} declares {_listed(declared)} and uses {_listed(used)}.")


def _listed(names: Any) -> str:
    return "the parameters " + ", ".join(sorted(names)) if names else "no parameter"

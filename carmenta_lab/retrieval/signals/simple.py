"""Signals that the candidate's own row answers: nearness, words, author, role, dates, expressions of time."""

from dataclasses import dataclass
from typing import ClassVar

from carmenta_lab.retrieval.signals.signal import Parameter, Signal


@dataclass(frozen=True)
class Nearness(Signal):
    """Cosine similarity to the question; 0 for a candidate found by its words alone."""

    name: ClassVar[str] = "nearness"

    def sql(self) -> str:
        """The similarity with which the vector search found the candidate."""
        return "coalesce(candidate.nearness, 0)"


@dataclass(frozen=True)
class Words(Signal):
    """BM25 as a share of the most a passage could reach: 1 would hold every word of the question many times."""

    name: ClassVar[str] = "words"

    def sql(self) -> str:
        """0 for a candidate that shares none of its best words."""
        return "coalesce(candidate.words, 0)"


@dataclass(frozen=True)
class Speaker(Signal):
    """1 when the question names exactly one participant and the candidate is hers."""

    name: ClassVar[str] = "speaker"
    parameters: ClassVar[tuple[Parameter, ...]] = ("speaker",)

    def sql(self) -> str:
        """By author."""
        return "CASE WHEN candidate.author = :speaker THEN 1 ELSE 0 END"


@dataclass(frozen=True)
class Speaking(Signal):
    """In chats with an assistant: 1 for what the user said, or the assistant, when the question is about that."""

    name: ClassVar[str] = "speaking"
    parameters: ClassVar[tuple[Parameter, ...]] = ("speaking",)

    def sql(self) -> str:
        """By role."""
        return "CASE WHEN candidate.role = :speaking THEN 1 ELSE 0 END"


@dataclass(frozen=True)
class Dates(Signal):
    """.7 when the question's month is the candidate's, 1 with its day within two; .3 early in the month after.

    A year alone counts .2; a year that is another makes it 0.
    """

    name: ClassVar[str] = "dates"
    parameters: ClassVar[tuple[Parameter, ...]] = ("months", "years", "days")

    def sql(self) -> str:
        """By time, in UTC."""
        at = "(candidate.created_at AT TIME ZONE 'UTC')"
        month, day, year = (f"extract({what} FROM {at})::int" for what in ("month", "day", "year"))
        this_year = f"(cardinality(:years) = 0 OR {year} = ANY (:years))"
        return f"""CASE
            WHEN cardinality(:months) = 0 AND cardinality(:years) = 0 OR NOT {this_year} THEN 0
            WHEN cardinality(:months) = 0 THEN .2
            WHEN {month} = ANY (:months) THEN .7 + CASE WHEN EXISTS (
                SELECT FROM unnest(:days) d WHERE d / 100 = {month} AND abs(d % 100 - {day}) <= 2) THEN .3 ELSE 0 END
            WHEN ({month} + 10) % 12 + 1 = ANY (:months) AND {day} <= 10 THEN .3
            ELSE 0 END"""


@dataclass(frozen=True)
class AsksWhen(Signal):
    """1 when the question asks for a time and the candidate's text has an expression of time."""

    name: ClassVar[str] = "asks_when"
    parameters: ClassVar[tuple[Parameter, ...]] = ("asks_when", "time_pattern")

    def join(self, table: str) -> str:
        """The text, read only for such questions."""
        return (
            "LEFT JOIN LATERAL (SELECT p.content FROM search.passages p WHERE :asks_when AND p.user_id = :user_id "
            "AND p.id = candidate.passage_id AND p.unit = 'turn' LIMIT 1) said ON true"
        )

    def sql(self) -> str:
        """The text without the date in its first line."""
        return "CASE WHEN regexp_replace(said.content, '^[[][0-9-]+[]] ', '') ~* :time_pattern THEN 1 ELSE 0 END"

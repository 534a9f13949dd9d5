"""The form of a language's rules. Patterns are for Python and PostgreSQL alike, matched without regard to case."""

from dataclasses import dataclass

NEVER = "(?!)"


@dataclass(frozen=True)
class Rules:
    """How one language asks when, names months, and addresses the assistant."""

    months: tuple[tuple[str, ...], ...] = ((),) * 12  # the names of each month, in small letters
    common_months: frozenset[str] = frozenset()  # of these names, those that are common words unless capitalised
    question_words: frozenset[str] = frozenset()  # beyond the stop words of full-text search: "would", "many"
    when: str = NEVER  # a question for a time
    time: str = NEVER  # an expression of time in a message
    addressed: str = NEVER  # a question about what the assistant said
    possessive: str = ""  # what may follow a name: "'s"


NONE = Rules()

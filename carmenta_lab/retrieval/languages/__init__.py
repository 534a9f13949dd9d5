"""What is particular to a language in reading a question: one file a language, its rules in one value."""

from carmenta_lab.retrieval.languages import english, german
from carmenta_lab.retrieval.languages.rules import NONE, Rules

RULES = {"en": english.RULES, "de": german.RULES}
"""ISO 639-1 code -> rules; a language without rules does without the signals that need them."""


def rules(language: str) -> Rules:
    """The rules of a language, or rules that never apply."""
    return RULES.get(language, NONE)

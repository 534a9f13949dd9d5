"""What speaks for a candidate beside nearness: one small signal a file, each a number that a strategy weighs."""

from carmenta_lab.retrieval.signals.context import Context
from carmenta_lab.retrieval.signals.conversation import BestOfConversation
from carmenta_lab.retrieval.signals.late import Late, LateWindow
from carmenta_lab.retrieval.signals.signal import Parameter, Signal
from carmenta_lab.retrieval.signals.simple import AsksWhen, Dates, Nearness, Speaker, Speaking, Words

__all__ = [
    "AsksWhen",
    "BestOfConversation",
    "Context",
    "Dates",
    "Late",
    "LateWindow",
    "Nearness",
    "Parameter",
    "Signal",
    "Speaker",
    "Speaking",
    "Words",
]

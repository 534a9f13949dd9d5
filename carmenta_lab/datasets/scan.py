"""Where in the file does each conversation end, and which messages share an id? Known before a row is made."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from carmenta_lab.datasets.kinds import Message
from carmenta_lab.datasets.lines import numbered_lines
from carmenta_lab.datasets.reading import mended


class _Ids(msgspec.Struct):
    """What a first look at a line needs."""

    message_id: str
    conversation_id: str


@dataclass(frozen=True)
class Scan:
    """A first look at `messages.jsonl`; memory: 8 bytes a message, and the ids of the conversations."""

    lines: int  # the number of the last line that is not blank
    messages: int  # lines that may become messages
    ends: dict[str, int]  # conversation id -> its last line
    repeated: frozenset[int]  # `hash(message_id)` of ids that stand in several lines; may hold a few others


def scan(folder: Path) -> Scan:
    """Look once at every line; those that are no JSON or lack an id are skipped, `read` rejects them."""
    decode = msgspec.json.Decoder(_Ids).decode
    ends: dict[str, int] = {}
    hashes = array("q")
    number = 0
    for number, line, whole in numbered_lines(folder / Message.FILE):
        if not whole:
            continue
        try:
            ids = decode(mended(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        ends[ids.conversation_id] = number
        hashes.append(hash(ids.message_id))
    every = np.frombuffer(hashes, np.int64)
    every.sort()
    return Scan(number, len(hashes), ends, frozenset(every[1:][every[1:] == every[:-1]].tolist()))

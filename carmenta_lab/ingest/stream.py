"""A first load: which conversations are complete and can be written while their file is still being read?"""

from collections.abc import Callable
from dataclasses import dataclass, field

from carmenta_lab.datasets import Message, Scan
from carmenta_lab.errors import DatasetError
from carmenta_lab.indexing.passages import Row, Uncut
from carmenta_lab.ingest.whole import CONTENT, USER, placed
from carmenta_lab.ingest.writer import Batch, Writer

BATCH_MESSAGES = 2_500
BATCH_CHARACTERS = 16_000_000
OPEN_MESSAGES = 20_000
OPEN_CHARACTERS = 64_000_000
"""Of conversations that have begun and not ended; beyond it they are left to the stage."""


@dataclass
class _Open:
    """A conversation whose last line is still to come."""

    rows: list[Row] = field(default_factory=list)
    files: list[tuple[int, list[Row]]] = field(default_factory=list)  # with the place of their message
    long: list[tuple[int, Uncut]] = field(default_factory=list)
    characters: int = 0


@dataclass
class Stream:
    """Takes the messages of a file in its order and hands complete conversations to a writer.

    A conversation that holds an id which comes twice, or that is spread so far over the file that memory would
    grow with it, is left to the stage, whole.
    """

    scan: Scan
    writer: Writer
    describe: Callable[[str], tuple[Row, str]]  # the staging row of a conversation, and its user, as given
    leave: Callable[[Row, list[Row], Uncut | None], object]  # a message to the stage
    progress: Callable[[int], object]
    mended: int = 0  # messages whose parent is not in their conversation
    left: dict[str, None] = field(default_factory=dict)  # conversations for the stage, in their order
    _open: dict[str, _Open] = field(default_factory=dict)
    _messages: int = 0  # in open conversations
    _characters: int = 0
    _users: set[bytes] = field(default_factory=set)
    _batch: Batch = field(default_factory=Batch)

    def take(self, conversation: str, line: int, message: str, row: Row, files: list[Row], long: Uncut | None) -> None:
        """One message: ids as given, and its staging rows."""
        if hash(message) in self.scan.repeated and conversation not in self.left:
            self._leave(conversation)
        if conversation in self.left:
            self.leave(row, files, long)
            return
        end = self.scan.ends.get(conversation, 0)
        if line > end:
            raise DatasetError(f"{Message.FILE} was changed while it was being read, at line {line}; load it again.")
        found = self._open.get(conversation)
        if found is None:
            found = self._open[conversation] = _Open()
        if files:
            found.files.append((len(found.rows), files))
        if long is not None:
            found.long.append((len(found.rows), long))
        found.rows.append(row)
        length = len(row[CONTENT])
        found.characters += length
        self._messages += 1
        self._characters += length
        if self._messages > OPEN_MESSAGES or self._characters > OPEN_CHARACTERS:
            for each in list(self._open):
                self._leave(each)
        elif line == end:
            self._complete(conversation)

    def finish(self) -> None:
        """At the end of the file: what is open is complete, its last lines were rejected."""
        for conversation in list(self._open):
            self._complete(conversation)
        self._send()
        self.writer.wait(0, self.progress)

    def _leave(self, conversation: str) -> None:
        self.left[conversation] = None
        found = self._close(conversation)
        files, long = dict(found.files), dict(found.long)
        for place, row in enumerate(found.rows):
            self.leave(row, files.get(place, []), long.get(place))

    def _close(self, conversation: str) -> _Open:
        found = self._open.pop(conversation, _Open())
        self._messages -= len(found.rows)
        self._characters -= found.characters
        return found

    def _complete(self, conversation: str) -> None:
        found = self._close(conversation)
        rows, mended = placed(found.rows)
        self.mended += mended
        described, user = self.describe(conversation)
        batch, key = self._batch, rows[0][USER]
        if key not in self._users:
            self._users.add(key)
            batch.users.append((key, user))
        batch.conversations.append(described)
        batch.messages += rows
        batch.attachments += [file for _, files in found.files for file in files]
        batch.long += [long for _, long in found.long]
        batch.characters += found.characters
        if len(batch.messages) >= BATCH_MESSAGES or batch.characters >= BATCH_CHARACTERS:
            self._send()

    def _send(self) -> None:
        if self._batch.messages:
            self.writer.write(self._batch, self.progress)
            self._batch = Batch()

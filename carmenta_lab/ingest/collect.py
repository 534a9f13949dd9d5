"""Records into staging rows: uuids, headers, passages; and the checks that need no other line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from carmenta_lab.datasets import (
    Conversation,
    Document,
    Judgement,
    Memory,
    Message,
    Profile,
    QueryLine,
    Record,
    Reject,
    read,
)
from carmenta_lab.ids import Ids, passage_key
from carmenta_lab.indexing.passages import Row, Uncut, as_they_stand, header, passages, utc_offset
from carmenta_lab.ingest.staging import Stage
from carmenta_lab.ingest.stream import Stream
from carmenta_lab.postgres.copying import jsonb

T = TypeVar("T", bound=Record)

CUT_AT_ONCE = 1_000


@dataclass
class Collector:
    """Streams the files of one folder into a stage, and messages into `stream` once that is set.

    `rejects` grows by what cannot be loaded.
    """

    folder: Path
    ids: Ids
    stage: Stage
    progress: Callable[[int], object]  # called with the number of lines read since its last call
    rejects: list[Reject] = field(default_factory=list)
    users: dict[str, bytes] = field(default_factory=dict)
    conversations: dict[str, tuple[bytes, str, int]] = field(default_factory=dict)
    """Given id -> uuid, its user's given id, a number that sorts faster than a uuid."""
    stream: Stream | None = None
    _uncut: list[Uncut] = field(default_factory=list)
    _described: dict[tuple[str, str], Conversation] = field(default_factory=dict)

    def collect(self) -> None:
        """Read every file."""
        described = list(self._records(Conversation))
        for _, c in described:
            self._described.setdefault((c.conversation_id, c.user_id), c)
        self._messages()
        self._conversations(described)
        self._documents()
        self._memories()
        self._profiles()
        self._queries()
        self._qrels()
        self._cut()
        self.stage.finish()

    def _records(self, kind: type[T]) -> Iterator[tuple[int, T]]:
        count = 0
        for found in read(self.folder, kind):
            count += 1
            if isinstance(found, Reject):
                self.rejects.append(found)
            else:
                yield found
            if count % 500 == 0:
                self.progress(500)
        self.progress(count % 500)

    def _reject(self, kind: type[Record], line: int, reason: str, **ids: str) -> None:
        self.rejects.append(Reject(kind.FILE, line, reason, ids))

    def _user(self, given: str) -> bytes:
        user = self.users.get(given)
        if user is None:
            user = self.users[given] = self.ids.key("user", given)
            self.stage.add("users", (user, given))
        return user

    def _conversation(self, given: str, user: str) -> tuple[bytes, int] | None:
        """The uuid and number of a conversation; None when it is another user's."""
        found = self.conversations.get(given)
        if found is None:
            number = len(self.conversations)
            found = self.conversations[given] = (self.ids.key("conversation", given), user, number)
        return (found[0], found[2]) if found[1] == user else None

    def _messages(self) -> None:
        of, add = self.ids.key, self.stage.add
        stream = self.stream
        targets = set() if stream is None else self._targets()
        for line, m in self._records(Message):
            conversation = self._conversation(m.conversation_id, m.user_id)
            if conversation is None:
                owner = self.conversations[m.conversation_id][1]
                reason = f"conversation_id: {m.conversation_id!r} belongs to user {owner!r}, not to {m.user_id!r}"
                self._reject(Message, line, reason, message_id=m.message_id, user_id=m.user_id)
                continue
            user, key = self._user(m.user_id), of("message", m.message_id)
            head = header(m.created_at, m.author or m.role.capitalize())
            passage, long = None, None
            if as_they_stand(head, m.text):
                passage = passage_key(key, "turn", 0, head + m.text, m.created_at, m.author, m.language)
            else:
                long = Uncut(line, "turn", key, user, head, m)
            parent = of("message", m.parent_id) if m.parent_id else None
            compressed = m.content_for_llm or None
            place = (line, conversation[1], key, user, conversation[0], parent, m.position)
            text = (m.role, m.author, m.model, jsonb(m.parts), m.text, compressed, m.language)
            row = (*place, *text, m.message_id, m.created_at, utc_offset(m.created_at), head, passage)
            files = self._files(line, key, user, m) if m.attachments else []
            if stream is None:
                self.leave(row, files, long)
                continue
            if m.message_id in targets:
                add("targets", (key,))
            stream.take(m.conversation_id, line, m.message_id, row, files, long)
        if stream is not None:
            stream.finish()

    def _files(self, line: int, key: bytes, user: bytes, m: Message) -> list[Row]:
        found = []
        for n, a in enumerate(m.attachments):
            digest = bytes.fromhex(a.sha256) if a.sha256 else None
            file = (line, self.ids.key("attachment", f"{m.message_id}/{n}"), user, key, a.name, a.media_type)
            found.append((*file, a.bucket, a.key, a.size, digest))
        return found

    def _targets(self) -> set[str]:
        """What is judged, as given: the messages among it are remembered when they are not staged."""
        return {found[1].target_id for found in read(self.folder, Judgement) if not isinstance(found, Reject)}

    def leave(self, row: Row, files: Sequence[Row] = (), long: Uncut | None = None) -> None:
        """Put a message into the stage, with its files, and its text where that may become several passages."""
        self.stage.add("messages", row)
        for file in files:
            self.stage.add("attachments", file)
        if long is not None:
            self._cut_later(long)

    def describe(self, given: str) -> tuple[Row, str]:
        """The staging row of a conversation, and its user as given."""
        key, user, _ = self.conversations[given]
        c = self._described.get((given, user))
        about = (None, "active", "private") if c is None else (c.title, c.status, c.visibility)
        return (key, self.users[user], given, *about), user

    def _conversations(self, described: list[tuple[int, Conversation]]) -> None:
        for line, c in described:
            found = self.conversations.get(c.conversation_id)
            if found is None or found[1] != c.user_id:
                why = "no message is in it for this user"
            elif self._described[c.conversation_id, c.user_id] is not c:
                why = "described twice"
            else:
                continue
            self._reject(Conversation, line, f"conversation_id: {c.conversation_id!r}: {why}")
        for given in self.conversations if self.stream is None else self.stream.left:
            self.stage.add("conversations", self.describe(given)[0])

    def _cut_later(self, uncut: Uncut) -> None:
        """Texts are cut many at a time: the tokenizer is fast with many and slow with one."""
        self._uncut.append(uncut)
        if len(self._uncut) >= CUT_AT_ONCE:
            self._cut()

    def _cut(self) -> None:
        for row in passages(self._uncut):
            self.stage.add("passages", row)
        self._uncut.clear()

    def _documents(self) -> None:
        for line, d in self._records(Document):
            user, key = self._user(d.user_id), self.ids.key("document", d.document_id)
            row = (line, key, user, d.path, d.name, d.text, list(d.tags), d.source_type)
            self.stage.add("documents", (*row, d.language, d.document_id, d.created_at, utc_offset(d.created_at)))
            self._cut_later(Uncut(line, "section", key, user, header(d.created_at, d.name), d))

    def _memories(self) -> None:
        for line, m in self._records(Memory):
            user, key = self._user(m.user_id), self.ids.key("memory", m.memory_id)
            source = self.ids.key("message", m.source_message_id) if m.source_message_id else None
            successor = self.ids.key("memory", m.superseded_by) if m.superseded_by else None
            row = (line, key, user, m.category, m.text, m.confidence, source, successor)
            self.stage.add("memories", (*row, m.language, m.memory_id, m.created_at, utc_offset(m.created_at)))
            self._cut_later(Uncut(line, "memory", key, user, header(m.created_at, None), m))

    def _profiles(self) -> None:
        for line, p in self._records(Profile):
            user = self._user(p.user_id)
            self.stage.add("profiles", (line, self.ids.key("profile", p.user_id), user, p.text))

    def _queries(self) -> None:
        for line, q in self._records(QueryLine):
            user = self.users.get(q.user_id)
            if user is None:
                self._reject(QueryLine, line, f"user_id: {q.user_id!r} has no messages, documents or memories")
                continue
            row = (line, q.query_id, user, q.text, q.category, q.asked_at, list(q.answers), q.language)
            self.stage.add("queries", row)

    def _qrels(self) -> None:
        of = self.ids.key
        for line, j in self._records(Judgement):
            targets = (of("message", j.target_id), of("memory", j.target_id), of("document", j.target_id))
            self.stage.add("qrels", (line, j.query_id, j.target_id, *targets, j.relevance))

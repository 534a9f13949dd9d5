"""Records into staging rows: uuids, headers, passages; and the checks that need no other line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import UUID

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
from carmenta_lab.ingest.cut import header, pieces, short, utc_offset
from carmenta_lab.ingest.identity import Ids, passage_id
from carmenta_lab.ingest.staging import Stage, jsonb

T = TypeVar("T", bound=Record)
Cut: TypeAlias = Message | Memory | Document

CUT_AT_ONCE = 1_000


@dataclass
class Collector:
    """Streams the files of one folder into a stage; `rejects` grows by what cannot be loaded."""

    folder: Path
    ids: Ids
    stage: Stage
    progress: Callable[[int], object]  # called with the number of lines read since its last call
    rejects: list[Reject] = field(default_factory=list)
    users: dict[str, UUID] = field(default_factory=dict)
    conversations: dict[str, tuple[UUID, str, int]] = field(default_factory=dict)
    """Given id -> uuid, its user's given id, a number that sorts faster than a uuid."""
    _uncut: list[tuple[int, str, UUID, UUID, str, Cut]] = field(default_factory=list)

    def collect(self) -> None:
        """Read every file."""
        self._messages()
        self._conversations()
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

    def _user(self, given: str) -> UUID:
        user = self.users.get(given)
        if user is None:
            user = self.users[given] = self.ids.of("user", given)
            self.stage.add("users", (user, given))
        return user

    def _conversation(self, given: str, user: str) -> tuple[UUID, int] | None:
        """The uuid and number of a conversation; None when it is another user's."""
        found = self.conversations.get(given)
        if found is None:
            number = len(self.conversations)
            found = self.conversations[given] = (self.ids.of("conversation", given), user, number)
        return (found[0], found[2]) if found[1] == user else None

    def _messages(self) -> None:
        of, add = self.ids.of, self.stage.add
        for line, m in self._records(Message):
            conversation = self._conversation(m.conversation_id, m.user_id)
            if conversation is None:
                owner = self.conversations[m.conversation_id][1]
                reason = f"conversation_id: {m.conversation_id!r} belongs to user {owner!r}, not to {m.user_id!r}"
                self._reject(Message, line, reason, message_id=m.message_id, user_id=m.user_id)
                continue
            user, key = self._user(m.user_id), of("message", m.message_id)
            head = header(m.created_at, m.author or m.role.capitalize())
            passage = None
            if short(head, m.text):
                passage = passage_id(key, "turn", 0, head + m.text, m.created_at, m.author, m.language)
            else:
                self._cut_later(line, "turn", key, user, head, m)
            parent = of("message", m.parent_id) if m.parent_id else None
            compressed = m.content_for_llm or None
            place = (line, conversation[1], key, user, conversation[0], parent, m.position)
            said = (m.role, m.author, m.model, jsonb(m.parts), m.text, compressed, m.language)
            add("messages", (*place, *said, m.message_id, m.created_at, utc_offset(m.created_at), head, passage))
            for n, a in enumerate(m.attachments):
                digest = bytes.fromhex(a.sha256) if a.sha256 else None
                file = (line, of("attachment", f"{m.message_id}/{n}"), user, key, a.name, a.media_type, a.bucket, a.key)
                add("attachments", (*file, a.size, digest))

    def _conversations(self) -> None:
        described = set()
        for line, c in self._records(Conversation):
            found = self.conversations.get(c.conversation_id)
            if found is None or found[1] != c.user_id or c.conversation_id in described:
                why = "described twice" if c.conversation_id in described else "no message is in it for this user"
                self._reject(Conversation, line, f"conversation_id: {c.conversation_id!r}: {why}")
                continue
            described.add(c.conversation_id)
            row = (found[0], self._user(c.user_id), c.conversation_id, c.title, c.status, c.visibility)
            self.stage.add("conversations", row)
        for given, (key, user, _) in self.conversations.items():
            if given not in described:
                self.stage.add("conversations", (key, self._user(user), given, None, "active", "private"))

    def _cut_later(self, line: int, unit: str, source: UUID, user: UUID, head: str, record: Cut) -> None:
        """Texts are cut many at a time: the tokenizer is fast with many and slow with one."""
        self._uncut.append((line, unit, source, user, head, record))
        if len(self._uncut) >= CUT_AT_ONCE:
            self._cut()

    def _cut(self) -> None:
        every = pieces([(head, record.text) for *_, head, record in self._uncut])
        for (line, unit, source, user, _, record), cut in zip(self._uncut, every, strict=True):
            at, language = record.created_at, record.language
            author = record.author if isinstance(record, Message) else None
            place = tuple(source if isinstance(record, kind) else None for kind in (Message, Memory, Document))
            for n, piece in enumerate(cut):
                key = passage_id(source, unit, n, piece, at, author, language)
                self.stage.add("passages", (line, user, key, unit, n, piece, *place, author, language, at))
        self._uncut.clear()

    def _documents(self) -> None:
        for line, d in self._records(Document):
            user, key = self._user(d.user_id), self.ids.of("document", d.document_id)
            row = (line, key, user, d.path, d.name, d.text, list(d.tags), d.source_type)
            self.stage.add("documents", (*row, d.language, d.document_id, d.created_at, utc_offset(d.created_at)))
            self._cut_later(line, "section", key, user, header(d.created_at, d.name), d)

    def _memories(self) -> None:
        for line, m in self._records(Memory):
            user, key = self._user(m.user_id), self.ids.of("memory", m.memory_id)
            source = self.ids.of("message", m.source_message_id) if m.source_message_id else None
            successor = self.ids.of("memory", m.superseded_by) if m.superseded_by else None
            row = (line, key, user, m.category, m.text, m.confidence, source, successor)
            self.stage.add("memories", (*row, m.language, m.memory_id, m.created_at, utc_offset(m.created_at)))
            self._cut_later(line, "memory", key, user, header(m.created_at, None), m)

    def _profiles(self) -> None:
        for line, p in self._records(Profile):
            user = self._user(p.user_id)
            self.stage.add("profiles", (line, self.ids.of("profile", p.user_id), user, p.text))

    def _queries(self) -> None:
        for line, q in self._records(QueryLine):
            user = self.users.get(q.user_id)
            if user is None:
                self._reject(QueryLine, line, f"user_id: {q.user_id!r} has no messages, documents or memories")
                continue
            row = (line, q.query_id, user, q.text, q.category, q.asked_at, list(q.answers), q.language)
            self.stage.add("queries", row)

    def _qrels(self) -> None:
        of = self.ids.of
        for line, j in self._records(Judgement):
            targets = (of("message", j.target_id), of("memory", j.target_id), of("document", j.target_id))
            self.stage.add("qrels", (line, j.query_id, j.target_id, *targets, j.relevance))

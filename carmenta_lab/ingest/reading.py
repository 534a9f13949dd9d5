"""Which rows do the lines of a folder become? And which lines cannot be loaded, as far as one line shows it?

One method a file, in the order in which they need each other: a user is known by messages, documents, memories or
profiles, and a question of anybody else is rejected.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from carmenta_lab.datasets import (
    Artifact,
    Conversation,
    Document,
    Feedback,
    Judgement,
    Memory,
    Message,
    Profile,
    QueryLine,
    Record,
    Reject,
    Tag,
    Vote,
    read,
)
from carmenta_lab.ids import Ids, passage_key
from carmenta_lab.indexing.passages import as_they_stand, header, utc_offset
from carmenta_lab.ingest.staging import (
    ArtifactRow,
    AttachmentRow,
    ConversationRow,
    DocumentRow,
    FeedbackRow,
    FiledRow,
    FolderRow,
    JudgementRow,
    LongText,
    MemoryRow,
    MessageRow,
    ProfileRow,
    QueryRow,
    Stage,
    StagedMessage,
    TagRow,
    TargetRow,
    UserRow,
    VoteRow,
    passages,
)
from carmenta_lab.postgres.copying import jsonb

T = TypeVar("T", bound=Record)

CUT_AT_ONCE = 1_000
MAX_TAG_CHARACTERS = 500  # always fit an index
MAX_DURATION_S = 1e9  # thirty years


class MessageWriter(Protocol):
    """Takes the messages in the order of their file, and writes those it can to the tables without the stage."""

    left: dict[str, None]
    """The conversations that came to the stage after all, by their given ids."""

    def take(self, conversation: str, message: StagedMessage) -> None:
        """Take the next message of a conversation, named by its given id."""

    def finish(self) -> None:
        """Write what is left; called at the end of the file."""


@dataclass(frozen=True)
class _Known:
    """A conversation that a message has named."""

    key: bytes
    user: str  # as given
    number: int  # among all, in the order of the messages


@dataclass
class Reader:
    """Reads the files of one folder into a stage, and messages into `fast` where that is set.

    `rejects` grows by what cannot be loaded.
    """

    folder: Path
    ids: Ids
    stage: Stage
    progress: Callable[[int], object]  # called with the number of lines read since its last call
    fast: MessageWriter | None = None
    rejects: list[Reject] = field(default_factory=list)
    users: dict[str, bytes] = field(default_factory=dict)  # given id -> uuid
    _conversations: dict[str, _Known] = field(default_factory=dict)  # by given id
    _described: dict[tuple[str, str], Conversation] = field(default_factory=dict)
    _long: list[LongText] = field(default_factory=list)

    def read(self) -> None:
        """Read all files of the folder into the stage."""
        described = list(self._records(Conversation))
        for _, c in described:
            self._described.setdefault((c.conversation_id, c.user_id), c)
        self._read_messages()
        self._stage_conversations(described)
        self._stage_folders(described)
        self._read_documents()
        self._read_memories()
        self._read_profiles()
        self._read_queries()
        self._read_qrels()
        self._read_artifacts()
        self._read_votes()
        self._read_feedback()
        self._read_tags()
        self._cut()
        self.stage.finish()

    def describe(self, given: str) -> ConversationRow:
        """The row of a conversation, by its given id."""
        known = self._conversations[given]
        c = self._described.get((given, known.user))
        return ConversationRow(
            id=known.key,
            user_id=self.users[known.user],
            external_id=given,
            title=c.title if c else None,
            status=c.status if c else "active",
            visibility=c.visibility if c else "private",
        )

    def user_of(self, given: str) -> str:
        """The given id of a conversation's user, by the conversation's given id."""
        return self._conversations[given].user

    def leave(self, message: StagedMessage) -> None:
        """Put a message into the stage, with its files, and its text where that may become several passages."""
        self.stage.add(message.row)
        for file in message.files:
            self.stage.add(file)
        if message.long is not None:
            self._cut_later(message.long)

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
            self.stage.add(UserRow(user, given))
        return user

    def _key(self, kind: str, given: str | None) -> bytes | None:
        return self.ids.key(kind, given) if given else None

    def _read_messages(self) -> None:
        of, fast = self.ids.key, self.fast
        targets = self._targets() if fast is not None else set()
        for line, m in self._records(Message):
            known = self._conversations.get(m.conversation_id)
            if known is None:
                key = of("conversation", m.conversation_id)
                known = self._conversations[m.conversation_id] = _Known(key, m.user_id, len(self._conversations))
            if known.user != m.user_id:
                reason = f"conversation_id: {m.conversation_id!r} belongs to user {known.user!r}, not to {m.user_id!r}"
                self._reject(Message, line, reason, message_id=m.message_id, user_id=m.user_id)
                continue
            staged = self._message(line, m, known)
            if fast is None:
                self.leave(staged)
                continue
            if m.message_id in targets:
                self.stage.add(TargetRow(staged.row.id))
            fast.take(m.conversation_id, staged)
        if fast is not None:
            fast.finish()

    def _message(self, line: int, m: Message, conversation: _Known) -> StagedMessage:
        user, key = self._user(m.user_id), self.ids.key("message", m.message_id)
        head = header(m.created_at, m.author or m.role.capitalize())
        passage, long = None, None
        if as_they_stand(head, m.text):
            passage = passage_key(key, "turn", 0, head + m.text, m.created_at, m.author, m.language)
        else:
            long = LongText(line, "turn", key, user, head, m)
        row = MessageRow(
            line=line,
            conversation_number=conversation.number,
            id=key,
            user_id=user,
            conversation_id=conversation.key,
            parent_id=self._key("message", m.parent_id),
            position=m.position,
            role=m.role,
            author=m.author,
            model=m.model,
            parts=jsonb(m.parts),
            content=m.text,
            content_for_llm=m.content_for_llm or None,
            language=m.language,
            external_id=m.message_id,
            created_at=m.created_at,
            utc_offset=utc_offset(m.created_at),
            header=head,
            passage_id=passage,
        )
        return StagedMessage(row, self._files(row, m) if m.attachments else (), long)

    def _files(self, row: MessageRow, m: Message) -> Sequence[AttachmentRow]:
        return [
            AttachmentRow(
                line=row.line,
                id=self.ids.key("attachment", f"{m.message_id}/{n}"),
                user_id=row.user_id,
                message_id=row.id,
                name=file.name,
                media_type=file.media_type,
                bucket=file.bucket,
                key=file.key,
                size_bytes=file.size,
                sha256=bytes.fromhex(file.sha256) if file.sha256 else None,
            )
            for n, file in enumerate(m.attachments)
        ]

    def _targets(self) -> set[str]:
        """What is judged, as given: the messages among it are remembered when they are not staged."""
        lines = (found for found in read(self.folder, Judgement) if not isinstance(found, Reject))
        return {judgement.target_id for _, judgement in lines}

    def _stage_conversations(self, described: Sequence[tuple[int, Conversation]]) -> None:
        for line, c in described:
            known = self._conversations.get(c.conversation_id)
            if known is None or known.user != c.user_id:
                why = "no message is in it for this user"
            elif self._described[c.conversation_id, c.user_id] is not c:
                why = "described twice"
            else:
                continue
            self._reject(Conversation, line, f"conversation_id: {c.conversation_id!r}: {why}")
        for given in self._conversations if self.fast is None else self.fast.left:
            self.stage.add(self.describe(given))

    def _stage_folders(self, described: Sequence[tuple[int, Conversation]]) -> None:
        """The folders that conversations are in, with those above them."""
        of = self.ids.key
        folders: dict[tuple[str, str], None] = {}
        for line, c in described:
            if c.folder:
                labels = c.folder.split(".")
                folders |= {(c.user_id, ".".join(labels[: depth + 1])): None for depth in range(len(labels))}
                conversation = of("conversation", c.conversation_id)
                self.stage.add(FiledRow(line, of("user", c.user_id), conversation, c.folder))
        for user, path in folders:
            self.stage.add(FolderRow(of("user", user), of("folder", f"{user}/{path}"), path))

    def _cut_later(self, text: LongText) -> None:
        self._long.append(text)
        if len(self._long) >= CUT_AT_ONCE:
            self._cut()

    def _cut(self) -> None:
        for row in passages(self._long):
            self.stage.add(row)
        self._long.clear()

    def _read_documents(self) -> None:
        for line, d in self._records(Document):
            row = DocumentRow(
                line=line,
                id=self.ids.key("document", d.document_id),
                user_id=self._user(d.user_id),
                path=d.path,
                name=d.name,
                content=d.text,
                tags=list(d.tags),
                source_type=d.source_type,
                language=d.language,
                external_id=d.document_id,
                created_at=d.created_at,
                utc_offset=utc_offset(d.created_at),
            )
            self.stage.add(row)
            self._cut_later(LongText(line, "section", row.id, row.user_id, header(d.created_at, d.name), d))

    def _read_memories(self) -> None:
        for line, m in self._records(Memory):
            row = MemoryRow(
                line=line,
                id=self.ids.key("memory", m.memory_id),
                user_id=self._user(m.user_id),
                category=m.category,
                content=m.text,
                confidence=m.confidence,
                source_message_id=self._key("message", m.source_message_id),
                superseded_by=self._key("memory", m.superseded_by),
                language=m.language,
                external_id=m.memory_id,
                created_at=m.created_at,
                utc_offset=utc_offset(m.created_at),
            )
            self.stage.add(row)
            self._cut_later(LongText(line, "memory", row.id, row.user_id, header(m.created_at, None), m))

    def _read_profiles(self) -> None:
        for line, p in self._records(Profile):
            user = self._user(p.user_id)
            self.stage.add(ProfileRow(line, self.ids.key("profile", p.user_id), user, p.text))

    def _read_queries(self) -> None:
        for line, q in self._records(QueryLine):
            user = self.users.get(q.user_id)
            if user is None:
                self._reject(QueryLine, line, f"user_id: {q.user_id!r} has no messages, documents or memories")
                continue
            row = QueryRow(
                line=line,
                query_id=q.query_id,
                user_id=user,
                content=q.text,
                category=q.category,
                asked_at=q.asked_at,
                answers=list(q.answers),
                language=q.language,
            )
            self.stage.add(row)

    def _read_qrels(self) -> None:
        of = self.ids.key
        for line, j in self._records(Judgement):
            row = JudgementRow(
                line=line,
                query_id=j.query_id,
                target_id=j.target_id,
                message_id=of("message", j.target_id),
                memory_id=of("memory", j.target_id),
                document_id=of("document", j.target_id),
                relevance=j.relevance,
            )
            self.stage.add(row)

    def _read_artifacts(self) -> None:
        for line, a in self._records(Artifact):
            parts = (a.component_tree, a.data_bindings, a.ui_state)
            if a.kind == "ag-ui" and a.component_tree is None:
                self._reject(Artifact, line, "component_tree: missing; an artifact of kind 'ag-ui' has one")
                continue
            if a.kind != "ag-ui" and any(part is not None for part in parts):
                fields = "component_tree, data_bindings, ui_state"
                self._reject(Artifact, line, f"{fields}: only an artifact of kind 'ag-ui' has them, this is {a.kind!r}")
                continue
            row = ArtifactRow(
                line=line,
                user_id=self.ids.key("user", a.user_id),
                user_given=a.user_id,
                message_id=self._key("message", a.message_id),
                message_given=a.message_id,
                id=self.ids.key("artifact", a.artifact_id),
                external_id=a.artifact_id,
                reference_id=self._key("reference", f"{a.artifact_id}/{a.message_id}" if a.message_id else None),
                conversation_id=self._key("conversation", a.conversation_id),
                conversation_given=a.conversation_id,
                created_at=a.created_at,
                kind=a.kind,
                title=a.title,
                content=a.content,
                summary_for_llm=a.summary_for_llm,
                component_tree=jsonb(a.component_tree),
                data_bindings=jsonb(a.data_bindings),
                ui_state=jsonb(a.ui_state),
            )
            self.stage.add(row)

    def _read_votes(self) -> None:
        of = self.ids.key
        for line, v in self._records(Vote):
            row = VoteRow(
                line=line,
                user_id=of("user", v.user_id),
                user_given=v.user_id,
                message_id=of("message", v.message_id),
                message_given=v.message_id,
                is_upvoted=v.is_upvoted,
                voted_at=v.created_at,
            )
            self.stage.add(row)

    def _read_feedback(self) -> None:
        of = self.ids.key
        for line, f in self._records(Feedback):
            lasts = f.signal == "session_duration"
            if lasts and not 0 <= f.value <= MAX_DURATION_S:
                self._reject(Feedback, line, f"value: expected seconds, 0 to {MAX_DURATION_S:.0f}, found {f.value:g}")
                continue
            row = FeedbackRow(
                line=line,
                user_id=of("user", f.user_id),
                user_given=f.user_id,
                message_id=of("message", f.message_id),
                message_given=f.message_id,
                id=of("feedback", f"{f.message_id}/{f.signal}/{f.created_at.timestamp()}"),
                kind=f.signal,
                weight=f.weight,
                duration_s=f.value if lasts else None,
                detail=None if lasts else jsonb({"value": f.value}),
                created_at=f.created_at,
            )
            self.stage.add(row)

    def _read_tags(self) -> None:
        of = self.ids.key
        for line, t in self._records(Tag):
            if len(t.tag) > MAX_TAG_CHARACTERS:
                self._reject(Tag, line, f"tag: longer than {MAX_TAG_CHARACTERS} characters")
                continue
            row = TagRow(
                line=line,
                user_id=of("user", t.user_id),
                user_given=t.user_id,
                tag_id=of("tag", f"{t.user_id}/{t.tag}"),
                name=t.tag,
                kind=t.target_type,
                target_id=of(t.target_type, t.target_id),
                target_given=t.target_id,
            )
            self.stage.add(row)

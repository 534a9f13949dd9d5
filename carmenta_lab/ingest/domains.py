"""The files beside messages, memories and documents into a stage: artifacts, votes, feedback, tags, folders."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from carmenta_lab.datasets import Artifact, Conversation, Feedback, Record, Reject, Tag, Vote, read
from carmenta_lab.ids import Ids
from carmenta_lab.ingest.checks import DUPLICATES
from carmenta_lab.postgres.copying import copy, jsonb

T = TypeVar("T", bound=Record)

MAX_TAG_CHARACTERS = 500  # always fit an index
MAX_DURATION_S = 1e9  # thirty years

_OF_USER = "line int4, user_id uuid, user_given text"
_ON_MESSAGE = f"{_OF_USER}, message_id uuid, message text"
TABLES = {
    "artifacts": f"{_ON_MESSAGE}, id uuid, external_id text, reference_id uuid, conversation_id uuid, "
    "conversation text, created_at timestamptz, kind text, title text, content text, summary_for_llm text, "
    "component_tree jsonb, data_bindings jsonb, ui_state jsonb",
    "votes": f"{_ON_MESSAGE}, is_upvoted bool, voted_at timestamptz",
    "feedback": f"{_ON_MESSAGE}, id uuid, kind text, weight float4, duration_s float4, detail jsonb, "
    "created_at timestamptz",
    "tags": f"{_OF_USER}, tag_id uuid, name text, kind text, target_id uuid, target text",
    "filed": f"{_OF_USER}, conversation_id uuid, path text, known bool",
    "folders": "user_id uuid, id uuid, path text",
}
"""Tables of the stage: name without its prefix `stage_` -> columns."""

KEYS = (
    ("artifacts", "id, created_at", "external_id || ' ' || created_at::text", Artifact.FILE, "artifact_id, created_at"),
    ("votes", "message_id", "message", Vote.FILE, "message_id"),
    ("feedback", "id", "message || ' ' || kind", Feedback.FILE, "message_id, signal, created_at"),
    ("tags", "tag_id, kind, target_id", "name || ' ' || target", Tag.FILE, "tag, target_id"),
)

_KNOWN = """
    UPDATE stage_filed s SET known = true FROM carmenta.conversations c
    WHERE c.user_id = s.user_id AND c.id = s.conversation_id
"""
"""Before conversations are written: one that is added needs no word of its folder in the report."""

_TAG_DOCUMENTS = """
    UPDATE stage_documents d SET tags = d.tags || t.names FROM (
        SELECT s.target_id, array_agg(s.name ORDER BY s.line) AS names FROM stage_tags s
        JOIN stage_documents d ON d.id = s.target_id AND d.user_id = s.user_id AND s.name <> ALL (d.tags)
        WHERE s.kind = 'document' GROUP BY s.target_id
    ) t WHERE d.id = t.target_id
"""
_TAGS_OF_DOCUMENTS = """
    DELETE FROM stage_tags s WHERE kind = 'document'
    RETURNING line, target, EXISTS (SELECT FROM stage_documents d WHERE d.id = s.target_id AND d.user_id = s.user_id)
"""


@dataclass
class Domains:
    """Streams these files of one folder into staging tables; `rejects` grows by what cannot be loaded."""

    connection: psycopg.Connection[Any]
    folder: Path
    ids: Ids
    rejects: list[Reject] = field(default_factory=list)

    def stage(self) -> None:
        """Read every file, and put the tags of documents on the staged documents."""
        folders: dict[tuple[str, str], None] = {}
        self._copy("artifacts", self._artifacts())
        self._copy("votes", self._votes())
        self._copy("feedback", self._feedback())
        self._copy("tags", self._tags())
        self._copy("filed", self._filed(folders))
        of = self.ids.of
        self._copy("folders", ((of("user", u), of("folder", f"{u}/{path}"), path) for u, path in folders))
        self.connection.execute("ANALYZE " + ", ".join(f"stage_{table}" for table in TABLES))
        for table, key, shown, file, name in KEYS:
            statement = DUPLICATES.format(table=table, key=key, shown=shown, conversation="NULL")
            for line, first, value, _ in self.connection.execute(statement).fetchall():
                self.rejects.append(Reject(file, line, f"{name}: {value!r} stands already in line {first}"))
        self.connection.execute(_KNOWN)
        self.connection.execute(_TAG_DOCUMENTS)
        for line, target, known in self.connection.execute(_TAGS_OF_DOCUMENTS).fetchall():
            if not known:
                self._reject(Tag, line, f"target_id: there is no document {target!r} of this user")

    def _copy(self, table: str, rows: Iterator[Any]) -> None:
        columns = [(name, kind) for name, kind in (column.split() for column in TABLES[table].split(", "))]
        copy(self.connection, sql.Identifier(f"stage_{table}"), columns, rows)

    def _records(self, kind: type[T]) -> Iterator[tuple[int, T]]:
        for found in read(self.folder, kind):
            if not isinstance(found, Reject):
                yield found
            elif kind is not Conversation:  # whose lines are judged where conversations are read
                self.rejects.append(found)

    def _reject(self, kind: type[Record], line: int, reason: str) -> None:
        self.rejects.append(Reject(kind.FILE, line, reason))

    def _artifacts(self) -> Iterator[Any]:
        of = self.ids.of
        for line, a in self._records(Artifact):
            parts = (a.component_tree, a.data_bindings, a.ui_state)
            if a.kind == "ag-ui" and a.component_tree is None:
                self._reject(Artifact, line, "component_tree: missing; an artifact of kind 'ag-ui' has one")
                continue
            if a.kind != "ag-ui" and any(part is not None for part in parts):
                fields = "component_tree, data_bindings, ui_state"
                self._reject(Artifact, line, f"{fields}: only an artifact of kind 'ag-ui' has them, this is {a.kind!r}")
                continue
            message = of("message", a.message_id) if a.message_id else None
            reference = of("reference", f"{a.artifact_id}/{a.message_id}") if a.message_id else None
            conversation = of("conversation", a.conversation_id) if a.conversation_id else None
            place = (line, of("user", a.user_id), a.user_id, message, a.message_id, of("artifact", a.artifact_id))
            made = (a.artifact_id, reference, conversation, a.conversation_id, a.created_at, a.kind, a.title, a.content)
            yield (*place, *made, a.summary_for_llm, *map(jsonb, parts))

    def _votes(self) -> Iterator[Any]:
        of = self.ids.of
        for line, v in self._records(Vote):
            place = (line, of("user", v.user_id), v.user_id, of("message", v.message_id), v.message_id)
            yield (*place, v.is_upvoted, v.created_at)

    def _feedback(self) -> Iterator[Any]:
        of = self.ids.of
        for line, f in self._records(Feedback):
            lasts = f.signal == "session_duration"
            if lasts and not 0 <= f.value <= MAX_DURATION_S:
                self._reject(Feedback, line, f"value: expected seconds, 0 to {MAX_DURATION_S:.0f}, found {f.value:g}")
                continue
            place = (line, of("user", f.user_id), f.user_id, of("message", f.message_id), f.message_id)
            id = of("feedback", f"{f.message_id}/{f.signal}/{f.created_at.timestamp()}")
            measured = (f.value, None) if lasts else (None, jsonb({"value": f.value}))
            yield (*place, id, f.signal, f.weight, *measured, f.created_at)

    def _tags(self) -> Iterator[Any]:
        of = self.ids.of
        for line, t in self._records(Tag):
            if len(t.tag) > MAX_TAG_CHARACTERS:
                self._reject(Tag, line, f"tag: longer than {MAX_TAG_CHARACTERS} characters")
                continue
            key = of("tag", f"{t.user_id}/{t.tag}")
            target = (t.target_type, of(t.target_type, t.target_id), t.target_id)
            yield (line, of("user", t.user_id), t.user_id, key, t.tag, *target)

    def _filed(self, folders: dict[tuple[str, str], None]) -> Iterator[Any]:
        """The folders of conversations; `folders` gets them with those above them."""
        for line, c in self._records(Conversation):
            if c.folder:
                labels = c.folder.split(".")
                folders |= {(c.user_id, ".".join(labels[: depth + 1])): None for depth in range(len(labels))}
                conversation = self.ids.of("conversation", c.conversation_id)
                yield line, self.ids.of("user", c.user_id), c.user_id, conversation, c.folder, False

"""How is a person, or a conversation, forgotten? Every row that holds or derives from the content goes at once.

Of the three schemas those that are there: in production that is the product, with or without what is searched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from carmenta_lab.display import Table
from carmenta_lab.errors import UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.writing import UNNOTED, remove
from carmenta_lab.ingest.reconcile import REMEMBERED
from carmenta_lab.ingest.staging import lock_key, sweep
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema import metadata

ELSEWHERE = (
    "the server's log, its write-ahead log, and freed space until VACUUM FULL and ANALYZE",
    "dumps, backups and replicas, until they expire; after a restore, forget again",
    "outputs of notebooks and exported files",
)
"""What no transaction reaches."""

OF_A_CONVERSATION = (
    "the profile, where what was said has found its way into it",
    "documents the user saved from it, and messages of other conversations that repeat it",
)


@dataclass(frozen=True)
class ErasureReport:
    """What was removed, and where else the content may still be.

    >>> gone = cl.forget(lab, "tomasz", "tomasz-c02")
    >>> gone.rows["carmenta.conversations"], gone.origins[0].endswith("sample")
    (1, True)
    """

    rows: Mapping[str, int]  # "carmenta.messages" -> rows removed; tables without any are left out
    objects: tuple[tuple[str | None, str], ...]  # bucket and key of files in object storage, to be deleted there
    origins: tuple[str, ...]  # folders the content was loaded from: another load would bring it back
    rejects_files: tuple[Path, ...]  # may hold rejected lines of it
    elsewhere: tuple[str, ...] = field(repr=False)  # other places, in words

    @property
    def total(self) -> int:
        """How many rows were removed from all tables."""
        return sum(self.rows.values())

    def table(self) -> Table:
        """A table with a row for each table that lost rows; below it the places where the content may still be."""
        rows = [[name, f"{count:,}"] for name, count in self.rows.items()]
        notes = [f"a file, to be deleted in object storage: {bucket or ''}/{key}" for bucket, key in self.objects]
        notes += [f"loaded from {origin}: another load would bring it back" for origin in self.origins]
        notes += [f"rejected lines of it may be in {path}" for path in self.rejects_files]
        notes += [f"not reached: {place}" for place in self.elsewhere]
        return Table(["table", "rows removed"], rows, f"{self.total:,} rows removed", notes)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def forget_user(owner: Engine, user_id: UUID, rejects_folder: Path | None = None) -> ErasureReport:
    """Remove a person with everything that is theirs, in one transaction; UsageError when there is no such person.

    What killed loads left in a staging schema goes as well; while a load of their dataset is under way, which would
    bring them back, that is a UsageError. Questions put in their name go with their judgements, hits and scores; kept
    runs lose their id, and approximate indexes over their rows alone are dropped. `rejects_folder` is where loads
    wrote rejected lines; files there that may hold some of this person's are named, and left.
    """
    values = {"user": user_id}
    with Session(owner) as session, session.begin():
        found = session.scalar(text("SELECT id FROM carmenta.users WHERE id = :user FOR UPDATE"), values)
        if found is None:
            raise UsageError(f"there is no user {user_id}; give the id as carmenta.users has it.")
        lab = _is_there(session, "lab.users")
        sources = _sources(session, user_id) if lab else []
        _alone(session, sources)
        objects = _objects(session, "true", values)
        before = _held(session, user_id)
        judged = _forget_questions(session, "q.user_id = :user", values) if lab else {}
        if lab:
            judged |= _forget_in_runs(session, user_id)
        _drop_indexes(session, user_id)
        for name, key in _tables_of_users(session):
            session.execute(text(f"DELETE FROM {name} WHERE {key} = :user"), values)
        rows = _difference(before, _held(session, user_id)) | judged
        return ErasureReport(rows, objects, *_loaded(session, sources, rejects_folder), ELSEWHERE)


def forget_conversation(
    owner: Engine, user_id: UUID, conversation_id: UUID, rejects_folder: Path | None = None
) -> ErasureReport:
    """Remove a conversation with what was learned, made and logged from it; UsageError when there is none.

    As with a person, what killed loads left goes, and a load under way stands against it. In one transaction: its
    messages and all that hangs on them, memories extracted from them (a fact that such a memory had replaced holds
    again), artifacts made in it, its background queries and events, and the questions whose judgements name any of it.
    """
    values = {"user": user_id, "conversation": conversation_id}
    here = "user_id = :user AND conversation_id = :conversation"
    said = f"(SELECT id FROM carmenta.messages WHERE {here})"
    learned = f"(SELECT id FROM carmenta.memories WHERE user_id = :user AND source_message_id IN {said})"
    made = f"(SELECT id FROM carmenta.artifacts WHERE {here})"
    judged_on_it = (
        "q.user_id = :user AND EXISTS (SELECT FROM lab.qrels j WHERE j.dataset_id = q.dataset_id "
        f"AND j.query_id = q.query_id AND (j.source_id IN {said} OR j.source_id IN {learned}))"
    )
    going = {  # table -> which of its rows
        "memories": f"{{row}}.id IN {learned}",
        "artifacts": f"{{row}}.id IN {made}",
        "background_queries": "{row}.conversation_id = :conversation",
        "events": "{row}.conversation_id = :conversation",
        "messages": "{row}.conversation_id = :conversation",
        "conversations": "{row}.id = :conversation",
    }
    with Session(owner) as session, session.begin():
        found = session.execute(
            text("SELECT source FROM carmenta.conversations WHERE user_id = :user AND id = :conversation FOR UPDATE"),
            values,
        ).one_or_none()
        if found is None:
            raise UsageError(f"the user {user_id} has no conversation {conversation_id}.")
        lab = _is_there(session, "lab.users")
        sources = [str(found.source)] if found.source is not None and lab else []
        _alone(session, sources)
        objects = _objects(session, f"message_id IN {said}", values)
        before = _held(session, user_id)
        judged = _forget_questions(session, judged_on_it, values) if lab else {}
        noted = f"{said} OR source_id IN {learned}"
        _unindex(session, f"message_id IN {said} OR memory_id IN {learned}", noted, values)
        for table in going:
            _clear_references(session, table, going, values)
        for table in going:
            session.execute(
                text(f"DELETE FROM carmenta.{table} t WHERE t.user_id = :user AND {going[table].format(row='t')}"),
                values,
            )
        if lab:
            _forget_loaded(session, values)
        rows = _difference(before, _held(session, user_id)) | judged
        return ErasureReport(rows, objects, *_loaded(session, sources, rejects_folder), ELSEWHERE + OF_A_CONVERSATION)


def _is_there(session: Session, name: str) -> bool:
    return session.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}) is True


def _sources(session: Session, user_id: UUID) -> list[str]:
    """The datasets that brought a person."""
    rows = session.scalars(
        text("SELECT d.name FROM lab.users u JOIN lab.datasets d ON d.id = u.dataset_id WHERE u.user_id = :user"),
        {"user": user_id},
    )
    return list(rows)


def _alone(session: Session, sources: Sequence[str]) -> None:
    """Drop what killed loads left in the database; UsageError while a load of one of these datasets is under way.

    Nothing is noted and no index is kept in step meanwhile: what goes is taken out here.
    """
    raw = driver(session)
    sweep(raw)
    raw.execute(UNNOTED, (True,))
    for source in sources:
        key = lock_key(Ids(source).dataset)  # held to the end, so that no load begins meanwhile
        if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
            raise UsageError(
                f"the dataset {source!r} is being loaded, which would bring back what is forgotten: wait for the "
                "load's end, or stop it, and forget then."
            )


def _tables_of_users(session: Session) -> list[tuple[str, str]]:
    """Tables that are there and hold rows of users, with the column that names the user; those that refer first."""
    vectors = []
    if _is_there(session, "search.embedding_models"):
        vectors = list(session.scalars(text("SELECT 'search.' || table_name FROM search.embedding_models")))
    known = [
        (table.fullname, "user_id" if "user_id" in table.columns else "id")
        for table in reversed(metadata.sorted_tables)
        if "user_id" in table.columns or table.fullname == "carmenta.users"
    ]
    return [(name, "user_id") for name in vectors] + [(name, key) for name, key in known if _is_there(session, name)]


def _drop_indexes(session: Session, user_id: UUID) -> None:
    """Approximate indexes over this person's rows alone: their definition names the person."""
    names = session.scalars(
        text(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
            "WHERE c.relnamespace = to_regnamespace('search') AND strpos(pg_get_expr(indpred, indrelid), :user) > 0"
        ),
        {"user": str(user_id)},
    ).all()
    for name in names:
        session.execute(text(f"DROP INDEX {name}"))


def _forget_in_runs(session: Session, user_id: UUID) -> dict[str, int]:
    """Take a person's id out of what runs say of themselves: an index over one person's rows is a circumstance."""
    done = session.execute(
        text(
            "UPDATE lab.runs SET config = replace(config, :user, 'forgotten'), "
            "circumstances = replace(circumstances::text, :user, 'forgotten')::jsonb "
            "WHERE strpos(config, :user) > 0 OR strpos(circumstances::text, :user) > 0 RETURNING 1"
        ),
        {"user": str(user_id)},
    ).all()
    return {"lab.runs": len(done)} if done else {}


def _unindex(session: Session, which: str, noted: str, values: Mapping[str, UUID]) -> None:
    """Take the words, vectors and codes of passages out of the index, and what was noted of their sources."""
    if not _is_there(session, "search.passages"):
        return
    found = session.scalars(text(f"SELECT id FROM search.passages WHERE user_id = :user AND ({which})"), values).all()
    remove(driver(session), values["user"], found)
    notes = f"source_id = :conversation OR source_id IN {noted}"
    session.execute(text(f"DELETE FROM search.outbox WHERE user_id = :user AND ({notes})"), values)


def _clear_references(session: Session, table: str, going: Mapping[str, str], values: Mapping[str, UUID]) -> None:
    """Clear what refers to rows that go, in rows that stay: such references do nothing on delete."""
    keys = session.execute(
        text(
            """
            SELECT c.conrelid::regclass::text AS child, (SELECT relname FROM pg_class WHERE oid = c.conrelid) AS name,
                array_agg(a.attname::text ORDER BY k.n) AS columns, array_agg(p.attname::text ORDER BY k.n) AS targets
            FROM pg_constraint c JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(own, other, n) ON true
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own AND a.attname <> 'user_id'
            JOIN pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.other
            WHERE c.contype = 'f' AND c.confrelid = CAST(:table AS regclass) AND c.confdeltype IN ('a', 'r')
            AND c.conparentid = 0 GROUP BY c.oid, c.conrelid
            """
        ),
        {"table": f"carmenta.{table}"},
    ).all()
    for key in keys:
        matches = " AND ".join(f"p.{there} = t.{own}" for own, there in zip(key.columns, key.targets, strict=True))
        stays = f" AND NOT {going[key.name].format(row='t')}" if key.name in going else ""
        session.execute(
            text(
                f"UPDATE {key.child} t SET {', '.join(f'{column} = NULL' for column in key.columns)} "
                f"FROM carmenta.{table} p WHERE t.user_id = :user AND p.user_id = :user AND {matches} "
                f"AND {going[table].format(row='p')}{stays}"
            ),
            values,
        )


def _forget_loaded(session: Session, values: Mapping[str, UUID]) -> None:
    """What a dataset put into tables that do not keep where their rows come from: the notes of rows that are gone."""
    for table in REMEMBERED:
        session.execute(
            text(
                "DELETE FROM lab.loaded l WHERE l.user_id = :user AND l.table_name = :table AND NOT EXISTS ("
                f"SELECT FROM carmenta.{table.name} t WHERE t.user_id = l.user_id AND t.{table.row_id} = l.row_id "
                f"AND t.{table.other_id} = l.other_id)"
            ),
            {**values, "table": table.name},
        )


def _objects(session: Session, which: str, values: Mapping[str, UUID]) -> tuple[tuple[str | None, str], ...]:
    rows = session.execute(
        text(
            "SELECT bucket, key FROM carmenta.attachments "
            f"WHERE user_id = :user AND key IS NOT NULL AND {which} ORDER BY bucket, key"
        ),
        values,
    )
    return tuple((row.bucket, row.key) for row in rows)


def _forget_questions(session: Session, which: str, values: Mapping[str, UUID]) -> dict[str, int]:
    """Delete questions with what judges and runs say of them; returns the counts per table."""
    counts = session.execute(
        text(
            f"""
            WITH queries AS (DELETE FROM lab.queries q WHERE {which} RETURNING q.dataset_id, q.query_id),
            of_run AS (SELECT r.id, q.query_id FROM queries q JOIN lab.runs r ON r.dataset_id = q.dataset_id),
            qrels AS (DELETE FROM lab.qrels WHERE (dataset_id, query_id) IN (TABLE queries) RETURNING 1),
            hits AS (DELETE FROM lab.hits WHERE (run_id, query_id) IN (TABLE of_run) RETURNING 1),
            scores AS (DELETE FROM lab.scores WHERE (run_id, query_id) IN (TABLE of_run) RETURNING 1)
            SELECT (SELECT count(*) FROM queries) AS queries, (SELECT count(*) FROM qrels) AS qrels,
                (SELECT count(*) FROM hits) AS hits, (SELECT count(*) FROM scores) AS scores
            """
        ),
        values,
    ).mappings()
    return {f"lab.{name}": count for row in counts for name, count in row.items() if count}


def _held(session: Session, user_id: UUID) -> dict[str, int]:
    """Table -> rows of one user, for every table of the three schemas that has any."""
    tables = session.execute(
        text(
            "SELECT c.oid::regclass::text AS name, a.attname AS key FROM pg_class c JOIN pg_attribute a "
            "ON a.attrelid = c.oid AND (a.attname = 'user_id' OR c.oid = 'carmenta.users'::regclass "
            "AND a.attname = 'id') WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
            "AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('carmenta', 'search', 'lab')) "
            "ORDER BY 1"
        )
    ).all()
    counts = " UNION ALL ".join(
        f"SELECT '{table.name}', count(*) FROM {table.name} WHERE {table.key} = :user" for table in tables
    )
    return {name: count for name, count in session.execute(text(counts), {"user": user_id}) if count}


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - after.get(name, 0) for name, count in before.items() if count > after.get(name, 0)}


def _loaded(
    session: Session, sources: Sequence[str], rejects_folder: Path | None
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The folders of these datasets, and the files of lines rejected there."""
    if not sources:
        return (), ()
    datasets = session.execute(
        text("SELECT id, origin FROM lab.datasets WHERE name = ANY(:sources) ORDER BY name"), {"sources": list(sources)}
    ).all()
    files = [rejects_folder / f"{dataset.id}.rejects.jsonl" for dataset in datasets] if rejects_folder else []
    return tuple(dataset.origin for dataset in datasets), tuple(file for file in files if file.exists())

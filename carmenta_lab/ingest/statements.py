"""The SQL between the stage and the tables: one batch of conversations at a time, and what is gone."""

COLUMNS = {
    "conversations": "title, status, visibility, source, external_id, started_at, last_message_at",
    "messages": "conversation_id, parent_id, position, role, author, model, parts, content, content_for_llm, language, "
    "external_id, created_at, utc_offset",
    "attachments": "message_id, name, media_type, bucket, key, size_bytes, sha256",
    "documents": "path, name, content, tags, source_type, language, external_id, created_at, utc_offset",
    "memories": "category, content, confidence, source_message_id, superseded_by, language, external_id, created_at, "
    "utc_offset",
    "profiles": "content",
}
"""Table -> the columns that a folder decides, beside the key."""


def insert_new(table: str, select: str) -> str:
    """INSERT ... SELECT where no row can be there."""
    return f"INSERT INTO carmenta.{table} (user_id, id, {COLUMNS[table]}) {select}"


def upsert(table: str, select: str) -> str:
    """INSERT ... SELECT that updates only rows that differ, and counts the added and the updated."""
    names = COLUMNS[table]
    old = ", ".join(f"t.{name}" for name in names.split(", "))
    new = ", ".join(f"excluded.{name}" for name in names.split(", "))
    return (
        f"WITH changed AS (INSERT INTO carmenta.{table} AS t (user_id, id, {names}) {select} "
        f"ON CONFLICT (user_id, id) DO UPDATE SET ({names}) = ROW({new}) WHERE ({old}) IS DISTINCT FROM ({new}) "
        "RETURNING (xmax = 0) AS added) "
        "SELECT count(*) FILTER (WHERE added), count(*) FILTER (WHERE NOT added) FROM changed"
    )


BATCH = "(SELECT id FROM stage_conversations WHERE batch = %(batch)s)"
IN_BATCH = f"conversation_id IN {BATCH}"
"""Which messages of the stage are meant; where the stage holds one batch alone, `true` does."""

ASSIGN = """
    UPDATE stage_conversations c SET batch = b.batch FROM (
        SELECT conversation_id, (sum(count(*)) OVER (ORDER BY user_id, conversation_id) - 1)::int / %s AS batch
        FROM stage_messages GROUP BY user_id, conversation_id
    ) b WHERE b.conversation_id = c.id
"""

CONVERSATIONS = """
    SELECT c.user_id, c.id, c.title, c.status, c.visibility, %(source)s, c.external_id, m.started_at, m.last_message_at
    FROM stage_conversations c JOIN (
        SELECT conversation_id, min(created_at) AS started_at, max(created_at) AS last_message_at
        FROM stage_messages WHERE {which} GROUP BY conversation_id
    ) m ON m.conversation_id = c.id ORDER BY c.user_id, c.id
"""

MESSAGES = f"""
    SELECT user_id, id, conversation_id, parent_id, coalesce(position, least(2147483647,
            coalesce(max(position) OVER (PARTITION BY place) + 1::bigint, 0)
            + row_number() OVER (PARTITION BY place, position ORDER BY at NULLS FIRST, line) - 1)),
        role, author, model, parts, content, content_for_llm, language, external_id, created_at,
        utc_offset
    FROM (
        SELECT *, coalesce(created_at, max(created_at) OVER (PARTITION BY place ORDER BY line)) AS at
        FROM stage_messages WHERE {IN_BATCH}
    ) m ORDER BY user_id, place, line
"""

MESSAGES_IN_PLACE = """
    SELECT user_id, id, conversation_id, parent_id, position, role, author, model, parts, content, content_for_llm,
        language, external_id, created_at, utc_offset FROM stage_messages
"""
"""Of a stage whose rows know their positions and lie in their order."""

ATTACHMENTS = """
    SELECT a.user_id, a.id, a.message_id, a.name, a.media_type, a.bucket, a.key, a.size_bytes, a.sha256
    FROM stage_attachments a JOIN stage_messages m ON m.id = a.message_id WHERE {which}
"""

TURNS_IN_PLACE = """
    INSERT INTO search.passages (user_id, id, unit, ordinal, content, message_id, author, language, created_at)
    SELECT user_id, passage_id, 'turn', 0, header || content, id, author, language, created_at
    FROM stage_messages WHERE passage_id IS NOT NULL
"""
TURNS = f"{TURNS_IN_PLACE} AND {IN_BATCH} ORDER BY user_id, place, line"

PIECES = """
    INSERT INTO search.passages
        (user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at)
    SELECT user_id, id, unit, ordinal, content, message_id, memory_id, document_id, author, language, created_at
    FROM stage_passages p WHERE {condition} ORDER BY user_id, line, ordinal
"""
LONG_TURNS = PIECES.format(condition=f"message_id IN (SELECT id FROM stage_messages WHERE {IN_BATCH})")
OTHER_PIECES = PIECES.format(condition="message_id IS NULL")

UNDEAD_TURNS = f"""
    DELETE FROM search.passages p USING carmenta.messages m, carmenta.conversations c, carmenta.users u
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND m.conversation_id IN {BATCH}
    AND m.user_id IN (SELECT user_id FROM stage_conversations WHERE batch = %(batch)s)
    AND c.user_id = m.user_id AND c.id = m.conversation_id AND u.id = m.user_id
    AND coalesce(m.deleted_at, c.deleted_at, u.deleted_at) IS NOT NULL
"""
UNDEAD_PIECES = """
    DELETE FROM search.passages p USING stage_users u, carmenta.users o WHERE p.user_id = u.id AND o.id = u.id
    AND p.message_id IS NULL AND (o.deleted_at IS NOT NULL
        OR EXISTS (SELECT FROM carmenta.memories k
            WHERE k.user_id = p.user_id AND k.id = p.memory_id AND k.deleted_at IS NOT NULL)
        OR EXISTS (SELECT FROM carmenta.documents d
            WHERE d.user_id = p.user_id AND d.id = p.document_id AND d.deleted_at IS NOT NULL))
"""
"""What is deleted softly has no passages, also where a folder still holds it."""

STALE_TURNS = f"""
    DELETE FROM search.passages p USING stage_messages m
    WHERE p.user_id = m.user_id AND p.message_id = m.id AND p.unit = 'turn' AND m.conversation_id IN {BATCH}
    AND p.id IS DISTINCT FROM m.passage_id
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""
STALE_PIECES = """
    DELETE FROM search.passages p USING stage_users u WHERE p.user_id = u.id
    AND (p.memory_id IN (SELECT id FROM stage_memories) OR p.document_id IN (SELECT id FROM stage_documents))
    AND NOT EXISTS (SELECT FROM stage_passages s WHERE s.user_id = p.user_id AND s.id = p.id)
"""

GONE = (
    """
    CREATE TEMP TABLE gone_memories ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.memories t JOIN stage_users u ON u.id = t.user_id
    WHERE t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_memories s WHERE s.user_id = t.user_id AND s.id = t.id)
    """,
    """
    CREATE TEMP TABLE gone_conversations ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.conversations t JOIN stage_users u ON u.id = t.user_id
    WHERE t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_conversations s WHERE s.user_id = t.user_id AND s.id = t.id)
    """,
    """
    CREATE TEMP TABLE gone_messages ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.messages t JOIN stage_users u ON u.id = t.user_id
    WHERE NOT EXISTS (SELECT FROM stage_conversations s WHERE s.user_id = t.user_id AND s.id = t.conversation_id)
    AND (t.external_id IS NOT NULL OR t.conversation_id IN (SELECT id FROM gone_conversations))
    """,
)
"""What goes because the folder no longer holds it, with all that was said in a conversation that goes."""
GONE_OF_BATCH = """
    CREATE TEMP TABLE gone_messages ON COMMIT DROP AS
    SELECT t.user_id, t.id FROM carmenta.messages t JOIN stage_conversations c
    ON t.user_id = c.user_id AND t.conversation_id = c.id
    WHERE c.batch = %(batch)s AND t.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM stage_messages s WHERE s.user_id = t.user_id AND s.id = t.id)
"""


def _cleared(table: str, column: str, gone: str) -> str:
    """Set a reference null where it names a row that is about to go, unless its own row goes as well."""
    staying = f"AND NOT EXISTS (SELECT FROM {gone} also WHERE also.user_id = r.user_id AND also.id = r.id)"
    return (
        f"UPDATE carmenta.{table} r SET {column} = NULL FROM {gone} gone "
        f"WHERE r.user_id = gone.user_id AND r.{column} = gone.id {staying if gone == f'gone_{table}' else ''}"
    )


CLEARED_OF_MESSAGES = (
    _cleared("memories", "source_message_id", "gone_messages"),
    _cleared("messages", "parent_id", "gone_messages"),
)
CLEARED = (
    *CLEARED_OF_MESSAGES,
    _cleared("memories", "superseded_by", "gone_memories"),
    _cleared("background_queries", "conversation_id", "gone_conversations"),
    _cleared("artifacts", "conversation_id", "gone_conversations"),
)
"""What stays no longer refers to what goes: nothing does that of itself."""

USERS = """
    WITH given AS (SELECT id, name FROM {rows}),
    added AS (INSERT INTO carmenta.users (id, name) TABLE given ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING 1),
    known AS (INSERT INTO lab.users (dataset_id, user_id, external_id) SELECT %(dataset)s, id, name FROM given
        ORDER BY id ON CONFLICT (dataset_id, user_id) DO NOTHING)
    SELECT count(*) FROM added
"""
"""Counts those that were not there."""

VANISHED_USERS = (
    """
    DELETE FROM carmenta.users u USING lab.users l WHERE l.dataset_id = %(dataset)s AND l.user_id = u.id
    AND NOT EXISTS (SELECT FROM stage_users s WHERE s.id = u.id)
    """,
    """
    DELETE FROM lab.users l WHERE l.dataset_id = %(dataset)s
    AND NOT EXISTS (SELECT FROM stage_users s WHERE s.id = l.user_id)
    """,
)
VANISHED = """
    DELETE FROM carmenta.{table} t USING stage_users u WHERE t.user_id = u.id {given}
    AND NOT EXISTS (SELECT FROM stage_{table} s WHERE s.user_id = t.user_id AND s.id = t.id)
"""
VANISHED_CONVERSATIONS = (
    "AND NOT EXISTS (SELECT FROM stage_conversations c WHERE c.user_id = t.user_id AND c.id = t.conversation_id)"
)
VANISHED_MESSAGES = """
    DELETE FROM carmenta.messages t USING gone_messages gone WHERE t.user_id = gone.user_id AND t.id = gone.id
"""
VANISHED_ATTACHMENTS = f"""
    DELETE FROM carmenta.attachments t USING stage_messages m
    WHERE m.conversation_id IN {BATCH} AND t.user_id = m.user_id AND t.message_id = m.id
    AND NOT EXISTS (SELECT FROM stage_attachments s WHERE s.id = t.id)
"""

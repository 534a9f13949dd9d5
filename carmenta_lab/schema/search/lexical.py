"""What BM25 and the signals of conversation need of passages, kept up to date by triggers on `passages`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, Table, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import PRODUCT, SEARCH, Base, after_create, isolated, of_user
from carmenta_lab.schema.search.passages import passages

SLOT, UNIT, TF, ASKED_TF, LENGTH, ASKED_LENGTH = 38, 36, 28, 20, 10, 0
"""Where each number begins in an entry of a posting list: slot (24 bits), unit (2), own and asked frequency (8 each),
own and asked length (10 each)."""

UNIT_CODES = {"turn": 0, "memory": 1, "section": 2}
"""The units that have entries."""


class PassageFeatures(Base):
    """A passage without its text: its number, its place in a conversation, its lengths."""

    __tablename__ = "passage_features"
    __table_args__ = (
        of_user(),
        CheckConstraint("slot BETWEEN 0 AND 16777215", name="slot"),
        Index("uq_passage_features_slot", "user_id", "slot", unique=True),
        Index(
            "ix_passage_features_place",
            "user_id",
            "conversation_id",
            "place",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        {
            "schema": SEARCH,
            "comment": "A passage without its text: its number, its place in a conversation, its lengths.",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    passage_id: Mapped[UUID] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(comment="Its number among the user's passages, in posting lists.")
    unit: Mapped[str]
    source_id: Mapped[UUID]
    length: Mapped[int] = mapped_column(comment="Words that are indexed, repetitions counted.")
    conversation_id: Mapped[UUID | None] = mapped_column(default=None)
    place: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="Position of its message times 65,536, plus its piece."
    )
    role: Mapped[str] = mapped_column(default="", server_default="")
    author: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[datetime | None] = mapped_column(default=None)
    asked_length: Mapped[int] = mapped_column(default=0, server_default="0")
    asked: Mapped[str | None] = mapped_column(
        TSVECTOR, default=None, comment="The words of the questions in the message before it."
    )


class Postings(Base):
    """Where a user's passages use a word."""

    __tablename__ = "postings"
    __table_args__ = (of_user(), {"schema": SEARCH, "comment": "Where a user's passages use a word."})

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    lexeme: Mapped[str] = mapped_column(primary_key=True)
    entries: Mapped[list[int]] = mapped_column(
        ARRAY(BigInteger),
        comment="From the highest bits: slot 24, unit 2 (turn, memory, section), frequency 8, frequency in the "
        "questions of the message before 8, length 10, length of those questions 10.",
    )


class LexicalStatistics(Base):
    """How many passages a user has, and of which length, by who wrote them."""

    __tablename__ = "lexical_statistics"
    __table_args__ = (
        of_user(),
        {"schema": SEARCH, "comment": "How many passages a user has, and of which length, by who wrote them."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(primary_key=True)
    passages: Mapped[int]
    length: Mapped[int] = mapped_column(BigInteger)
    asked_length: Mapped[int] = mapped_column(BigInteger)


_UNIT_CODE = "CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END"
_SAFE = "SET search_path = pg_catalog, pg_temp"
_FOR_ALL = "SET plan_cache_mode = force_generic_plan"
"""One plan for all users: by statistics from before a user came, the new one has a single row."""

FUNCTIONS = (
    f"""
    CREATE FUNCTION {SEARCH}.asked_lexemes(language text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN content ~ '[?？]' THEN {PRODUCT}.lexemes(language, (SELECT string_agg(s[1], ' ')
        FROM regexp_matches(left(content, 20000), '([^.!?？\\n]*[?？])', 'g') s)) END
    """,
    f"COMMENT ON FUNCTION {SEARCH}.asked_lexemes(text, text) IS 'The words of the sentences that end in a question "
    "mark, of the first 20,000 characters.'",
    f"""
    CREATE FUNCTION {SEARCH}.add_words(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        first int;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        SELECT coalesce(max(slot), -1) + 1 INTO first FROM {SEARCH}.passage_features WHERE user_id = person;
        INSERT INTO {SEARCH}.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
            role, author, created_at, length, asked_length, asked)
        SELECT person, p.id, first - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
            p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
            coalesce(m.role, ''), coalesce(p.author, ''), p.created_at,
            least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(p.text_search) w)),
            least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(q.asked) w)), q.asked
        FROM {SEARCH}.passages p
        LEFT JOIN {PRODUCT}.messages m ON m.user_id = person AND m.id = p.message_id
        LEFT JOIN LATERAL (
            SELECT {SEARCH}.asked_lexemes(b.language, b.content) AS asked FROM {PRODUCT}.messages b
            WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
            ORDER BY b.position DESC LIMIT 1
        ) q ON true
        WHERE p.user_id = person AND p.id = ANY (ids) AND p.unit IN ('turn', 'memory', 'section');
        INSERT INTO {SEARCH}.postings AS t (user_id, lexeme, entries)
        SELECT person, lexeme, array_agg(base + (least(255, tf) << {TF}) + (least(255, asked_tf) << {ASKED_TF})
            ORDER BY base)
        FROM (
            SELECT lexeme, base, sum(tf)::bigint AS tf, sum(asked_tf)::bigint AS asked_tf FROM (
                SELECT w.lexeme, cardinality(w.positions) AS tf, 0 AS asked_tf, (f.slot::bigint << {SLOT})
                    + (({_UNIT_CODE})::bigint << {UNIT}) + (f.length << {LENGTH}) + f.asked_length AS base
                FROM {SEARCH}.passage_features f
                JOIN {SEARCH}.passages p ON p.user_id = person AND p.id = f.passage_id
                CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= first
                UNION ALL
                SELECT w.lexeme, 0, cardinality(w.positions), (f.slot::bigint << {SLOT})
                    + (({_UNIT_CODE})::bigint << {UNIT}) + (f.length << {LENGTH}) + f.asked_length
                FROM {SEARCH}.passage_features f CROSS JOIN unnest(f.asked) w
                WHERE f.user_id = person AND f.slot >= first
            ) found GROUP BY lexeme, base
        ) counted GROUP BY lexeme
        ON CONFLICT (user_id, lexeme) DO UPDATE SET entries = t.entries || excluded.entries;
        INSERT INTO {SEARCH}.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
        SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM {SEARCH}.passage_features
        WHERE user_id = person AND slot >= first GROUP BY unit, role, author
        ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
            length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length;
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.add_words(uuid, uuid[]) IS 'Index passages that are not indexed yet.'",
    f"""
    CREATE FUNCTION {SEARCH}.drop_words(person uuid, ids uuid[], words text[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        slots int[];
        every text[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        slots := ARRAY(SELECT slot FROM {SEARCH}.passage_features WHERE user_id = person AND passage_id = ANY (ids));
        every := words || ARRAY(SELECT w.lexeme FROM {SEARCH}.passage_features f CROSS JOIN unnest(f.asked) w
            WHERE f.user_id = person AND f.passage_id = ANY (ids));
        UPDATE {SEARCH}.postings SET entries =
            ARRAY(SELECT e FROM unnest(entries) e WHERE (e >> {SLOT}) <> ALL (slots))
        WHERE user_id = person AND lexeme = ANY (every);
        DELETE FROM {SEARCH}.postings WHERE user_id = person AND lexeme = ANY (every) AND cardinality(entries) = 0;
        UPDATE {SEARCH}.lexical_statistics s SET passages = s.passages - g.passages, length = s.length - g.length,
            asked_length = s.asked_length - g.asked_length
        FROM (SELECT unit, role, author, count(*) AS passages, sum(length) AS length, sum(asked_length) AS asked_length
            FROM {SEARCH}.passage_features WHERE user_id = person AND passage_id = ANY (ids)
            GROUP BY unit, role, author) g
        WHERE s.user_id = person AND s.unit = g.unit AND s.role = g.role AND s.author = g.author;
        DELETE FROM {SEARCH}.lexical_statistics WHERE user_id = person AND passages = 0;
        DELETE FROM {SEARCH}.passage_features WHERE user_id = person AND passage_id = ANY (ids);
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.drop_words(uuid, uuid[], text[]) IS 'Take passages out of the index; words are "
    "those of their texts.'",
    f"""
    CREATE FUNCTION {SEARCH}.answers_to(person uuid, ids uuid[]) RETURNS uuid[]
    LANGUAGE sql STABLE {_SAFE} AS $$
        SELECT coalesce(array_agg(DISTINCT a.passage_id), '{{}}') FROM {SEARCH}.passage_features f
        CROSS JOIN LATERAL (
            SELECT n.place >> 16 AS position FROM {SEARCH}.passage_features n
            WHERE n.user_id = person AND n.conversation_id = f.conversation_id
            AND n.place >= ((f.place >> 16) + 1) << 16 ORDER BY n.place LIMIT 1
        ) next
        JOIN {SEARCH}.passage_features a ON a.user_id = person AND a.conversation_id = f.conversation_id
            AND a.place >= next.position << 16 AND a.place < (next.position + 1) << 16
        WHERE f.user_id = person AND f.passage_id = ANY (ids) AND a.passage_id <> ALL (ids)
    $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.answers_to(uuid, uuid[]) IS 'The indexed passages of the messages that follow.'",
    f"""
    CREATE FUNCTION {SEARCH}.index_words() RETURNS trigger
    LANGUAGE plpgsql {_SAFE} {_FOR_ALL} AS $$
    DECLARE
        person uuid;
        ids uuid[];
        next uuid[];
        words text[];
    BEGIN
        IF current_setting('{SEARCH}.index_later', true) = 'on' THEN
            RETURN NULL;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            FOR person, ids IN SELECT o.user_id, array_agg(o.id) FROM old_rows o GROUP BY o.user_id LOOP
                CONTINUE WHEN NOT EXISTS (SELECT FROM {PRODUCT}.users u WHERE u.id = person);
                next := {SEARCH}.answers_to(person, ids);
                words := ARRAY(SELECT w.lexeme FROM old_rows o CROSS JOIN unnest(o.text_search) w
                    WHERE o.user_id = person);
                PERFORM {SEARCH}.drop_words(person, ids, words);
                PERFORM {SEARCH}.index_again(person, next);
            END LOOP;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            FOR person, ids IN SELECT n.user_id, array_agg(n.id) FROM new_rows n GROUP BY n.user_id LOOP
                PERFORM {SEARCH}.add_words(person, ids);
                PERFORM {SEARCH}.index_again(person, {SEARCH}.answers_to(person, ids));
            END LOOP;
        END IF;
        RETURN NULL;
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.index_words() IS 'Keeps the index of words in step with passages, unless "
    f"{SEARCH}.index_later is on: then rebuild_words is owed.'",
    f"""
    CREATE FUNCTION {SEARCH}.index_again(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    BEGIN
        IF cardinality(ids) > 0 THEN
            PERFORM {SEARCH}.drop_words(person, ids, ARRAY(SELECT w.lexeme FROM {SEARCH}.passages p
                CROSS JOIN unnest(p.text_search) w WHERE p.user_id = person AND p.id = ANY (ids)));
            PERFORM {SEARCH}.add_words(person, ids);
        END IF;
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.index_again(uuid, uuid[]) IS 'Index passages whose question has changed.'",
    f"""
    CREATE FUNCTION {SEARCH}.rebuild_words(person uuid) RETURNS void
    LANGUAGE plpgsql {_SAFE} {_FOR_ALL} AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        DELETE FROM {SEARCH}.passage_features WHERE user_id = person;
        DELETE FROM {SEARCH}.postings WHERE user_id = person;
        DELETE FROM {SEARCH}.lexical_statistics WHERE user_id = person;
        PERFORM {SEARCH}.add_words(person, ARRAY(SELECT id FROM {SEARCH}.passages WHERE user_id = person));
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.rebuild_words(uuid) IS 'Index all passages of a user anew.'",
)

TRIGGERS = tuple(
    f"CREATE TRIGGER index_words_{operation.lower()} AFTER {operation} ON {SEARCH}.passages REFERENCING {rows} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {SEARCH}.index_words()"
    for operation, rows in (
        ("INSERT", "NEW TABLE AS new_rows"),
        ("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        ("DELETE", "OLD TABLE AS old_rows"),
    )
)

passage_features: Table = PassageFeatures.__table__  # type: ignore[assignment]
postings: Table = Postings.__table__  # type: ignore[assignment]
lexical_statistics: Table = LexicalStatistics.__table__  # type: ignore[assignment]
for _table in (passage_features, postings, lexical_statistics):
    isolated(_table)
lexical_statistics.add_is_dependent_on(passages)
after_create(lexical_statistics, *FUNCTIONS, *TRIGGERS)

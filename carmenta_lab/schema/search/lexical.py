"""What BM25 and the signals of conversation need of passages: an index of words, kept by whoever writes passages.

A passage that is added is numbered, measured and counted, in constant time. Its words stay where they are until the
user has `TAIL` such passages; then they are merged into rows of at most `CAPACITY` entries a word, the last row of each
word filled up first. A search reads the rows, and the texts of the passages not merged yet: the tail.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema import words
from carmenta_lab.schema.base import PRODUCT, SEARCH, Base, after_create, isolated, of_user

SLOT, UNIT, TF, ASKED_TF, LENGTH, ASKED_LENGTH = 38, 36, 28, 20, 10, 0
"""Where each number begins in an entry of a posting list: slot (24 bits), unit (2), own and asked frequency (8 each),
own and asked length (10 each)."""

SLOTS = 1 << 24
"""How many numbers a user's passages have; when they are used up the user is indexed anew."""

UNIT_CODES = {"turn": 0, "memory": 1, "section": 2}
"""The units that have entries."""

CAPACITY = 128
"""Entries a row of postings has at the most."""

FILL = 85
"""How full pages of postings are at first, in percent: a row that finds room beside itself takes a third of the WAL."""

TAIL = 128
"""Passages that are added before their words are merged into postings."""


class PassageFeatures(Base):
    """A passage without its text: its number, its place in a conversation, its lengths.

    It has no foreign key to its passage, and stays when that goes with its source: `remove_words` needs its number.
    """

    __tablename__ = "passage_features"
    __table_args__ = (
        of_user(),
        CheckConstraint(f"slot BETWEEN 0 AND {SLOTS - 1}", name="slot"),
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


class WordIndex(Base):
    """How far a user's passages are numbered and merged; its lock is held by whoever writes the user's index."""

    __tablename__ = "word_index"
    __table_args__ = (
        of_user(),
        CheckConstraint("posted_slot BETWEEN 0 AND next_slot", name="slots"),
        {
            "schema": SEARCH,
            "comment": "How far a user's passages are numbered and merged; locked by whoever writes the user's index.",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    next_slot: Mapped[int] = mapped_column(comment="The number of the passage that is added next.")
    posted_slot: Mapped[int] = mapped_column(comment="Passages from this number on have no postings yet.")


class Postings(Base):
    """Where a user's passages use a word, in rows of a bounded number of entries."""

    __tablename__ = "postings"
    __table_args__ = (
        of_user(),
        {
            "schema": SEARCH,
            "comment": "Where a user's passages use a word, in rows of a bounded number of entries.",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    lexeme: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    first_slot: Mapped[int] = mapped_column(
        primary_key=True, comment="The entry of a number is in the row with the greatest first_slot up to it."
    )
    entries: Mapped[list[int]] = mapped_column(
        ARRAY(BigInteger),
        comment="In any order. From the highest bits: slot 24, unit 2 (turn, memory, section), frequency 8, frequency "
        "in the questions of the message before 8, length 10, length of those questions 10.",
    )


class LexicalStatistics(Base):
    """How many passages a user has, and of which length, by who wrote them."""

    __tablename__ = "lexical_statistics"
    __table_args__ = (
        of_user(),
        {
            "schema": SEARCH,
            "comment": "How many passages a user has, and of which length, by who wrote them.",
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(primary_key=True)
    passages: Mapped[int]
    length: Mapped[int] = mapped_column(BigInteger)
    asked_length: Mapped[int] = mapped_column(BigInteger)


_SAFE = "SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan"
"""One plan for all users: by statistics from before a user came, the new one has a single row."""

_UNITS = ", ".join(f"'{unit}'" for unit in UNIT_CODES)
_UNIT_CODE = "CASE f.unit " + " ".join(f"WHEN '{unit}' THEN {code}" for unit, code in UNIT_CODES.items()) + " END"
_BASE = f"(f.slot::bigint << {SLOT}) + (({_UNIT_CODE})::bigint << {UNIT}) + (f.length << {LENGTH}) + f.asked_length"

_ALL_TEXTS = f"JOIN {SEARCH}.passages p ON p.user_id = person AND p.id = f.passage_id"
_FEW_TEXTS = f"""CROSS JOIN LATERAL (
            SELECT t.text_search FROM {SEARCH}.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
        ) p"""
"""The passages of features `f`: joined as the planner sees fit, or looked up one by one. It does not know that few are
meant where those from a number on are, and would read all of the user's."""

_ALL_PASSAGES = f"{SEARCH}.passages p"
_FEW_PASSAGES = f"""(SELECT DISTINCT i FROM unnest(ids) i) i CROSS JOIN LATERAL (
                SELECT t.* FROM {SEARCH}.passages t WHERE t.user_id = person AND t.id = i.i AND NOT EXISTS (
                    SELECT FROM {SEARCH}.passage_features o
                    WHERE o.user_id = person AND o.passage_id = t.id OFFSET 0) OFFSET 0
            ) p"""
"""All of the user's passages; or, looked up one by one, those of `ids` that are not indexed yet."""

_ALL_MESSAGES = f"LEFT JOIN {PRODUCT}.messages m ON m.user_id = person AND m.id = p.message_id"
_FEW_MESSAGES = f"""LEFT JOIN LATERAL (
                SELECT o.conversation_id, o.position, o.role FROM {PRODUCT}.messages o
                WHERE o.user_id = person AND o.id = p.message_id OFFSET 0
            ) m ON true"""
"""The same of the messages that passages `p` are of."""

_QUESTIONS = f"""
    SELECT {SEARCH}.asked_lexemes(b.language, b.content) AS asked FROM {PRODUCT}.messages b
    WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
    AND b.deleted_at IS NULL ORDER BY b.position DESC, b.id DESC LIMIT 1"""
"""The words of the questions in the message before the message `m`."""


def _length(vector: str) -> str:
    return f"least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest({vector}) w))"


def _has(vector: str) -> str:
    """The condition that a tsvector has one of `words`, by functions that make no row of each of its own."""
    return f"length(ts_delete({vector}, words)) < length({vector})"


def _features(passages: str, messages: str, first: str) -> str:
    """Writes the features of passages `p` of messages `m`, numbered from `first`, and counts them."""
    return f"""WITH added AS (
            INSERT INTO {SEARCH}.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
                role, author, created_at, length, asked_length, asked)
            SELECT person, p.id, {first} - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
                p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
                coalesce(m.role, ''), coalesce(p.author, ''), p.created_at, {_length("p.text_search")},
                {_length("q.asked")}, q.asked
            FROM {passages}
            {messages}
            LEFT JOIN LATERAL ({_QUESTIONS}) q ON true
            WHERE p.user_id = person AND p.unit IN ({_UNITS})
            RETURNING unit, role, author, length, asked_length
        )
        INSERT INTO {SEARCH}.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
        SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM added GROUP BY 2, 3, 4
        ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
            length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length"""


def _entries(first: str, texts: str) -> str:
    """Rows (lexeme, entry) of the passages numbered from `first` on; those without questions need no grouping."""
    own = f"""FROM {SEARCH}.passage_features f {texts} CROSS JOIN unnest(p.text_search) w
        WHERE f.user_id = person AND f.slot >= {first} AND f.asked IS"""
    return f"""
        SELECT w.lexeme, {_BASE} + (least(255, cardinality(w.positions))::bigint << {TF}) AS entry
        {own} NULL
        UNION ALL
        SELECT lexeme, base + (least(255, sum(tf))::bigint << {TF}) + (least(255, sum(asked_tf))::bigint << {ASKED_TF})
        FROM (
            SELECT w.lexeme, {_BASE} AS base, cardinality(w.positions) AS tf, 0 AS asked_tf
            {own} NOT NULL
            UNION ALL
            SELECT w.lexeme, {_BASE}, 0, cardinality(w.positions) FROM {SEARCH}.passage_features f {texts}
            CROSS JOIN unnest(f.asked) w WHERE f.user_id = person AND f.slot >= {first}
        ) said GROUP BY lexeme, base"""


def functions(capacity: int = CAPACITY, tail: int = TAIL) -> tuple[str, ...]:
    """The statements that make what writes the index; other numbers than the usual ones are for tests."""
    return (
        words.ASKED,
        f"COMMENT ON FUNCTION {SEARCH}.asked_lexemes(text, text) IS 'The words of the sentences that end in a question "
        "mark, of the first 20,000 characters.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.unmerged_words(person uuid, words text[])
    RETURNS TABLE (n bigint, entries bigint[]) LANGUAGE plpgsql STABLE ROWS 1000 {_SAFE} AS $$
    DECLARE
        first int;
        next int;
    BEGIN
        SELECT posted_slot, next_slot INTO first, next FROM {SEARCH}.word_index WHERE user_id = person;
        IF first < next THEN
            RETURN QUERY SELECT a.n, array_agg(a.base + (least(255, a.tf) << {TF})
                + (least(255, a.asked_tf) << {ASKED_TF})) FROM (
                SELECT w.n, f.base, sum(u.tf) AS tf, sum(u.asked_tf) AS asked_tf FROM (
                    SELECT {_BASE} AS base, p.text_search, f.asked FROM {SEARCH}.passage_features f {_FEW_TEXTS}
                    WHERE f.user_id = person AND f.slot >= first
                    AND ({_has("p.text_search")} OR {_has("f.asked")}) OFFSET 0
                ) f CROSS JOIN LATERAL (
                    SELECT lexeme, cardinality(positions) AS tf, 0 AS asked_tf FROM unnest(f.text_search)
                    UNION ALL SELECT lexeme, 0, cardinality(positions) FROM unnest(f.asked)
                ) u JOIN unnest(words) WITH ORDINALITY w (lexeme, n) ON w.lexeme = u.lexeme GROUP BY w.n, f.base
            ) a GROUP BY a.n;
        END IF;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.unmerged_words(uuid, text[]) IS 'Entries of these words, by their number from "
        "1, in passages that are not merged into postings yet.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.merge_words(person uuid) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        first int;
        next int;
    BEGIN
        SELECT posted_slot, next_slot INTO first, next FROM {SEARCH}.word_index WHERE user_id = person FOR UPDATE;
        IF NOT FOUND OR first = next THEN
            RETURN;
        END IF;
        WITH fresh AS MATERIALIZED (
            SELECT lexeme, array_agg(entry ORDER BY entry) AS entries FROM ({_entries("first", _FEW_TEXTS)}
            ) every GROUP BY lexeme
        ), place AS MATERIALIZED (
            SELECT f.lexeme, f.entries, l.first_slot, coalesce(greatest(0, {capacity} - l.held), 0) AS room
            FROM fresh f LEFT JOIN LATERAL (
                SELECT t.first_slot, cardinality(t.entries) AS held FROM {SEARCH}.postings t
                WHERE t.user_id = person AND t.lexeme = f.lexeme ORDER BY t.first_slot DESC LIMIT 1
            ) l ON true
        )
        INSERT INTO {SEARCH}.postings AS t (user_id, lexeme, first_slot, entries)
        SELECT person, lexeme, first_slot, entries[1:room] FROM place WHERE room > 0
        UNION ALL
        SELECT person, lexeme, (entries[n] >> {SLOT})::int, entries[n:n + {capacity - 1}]
        FROM place CROSS JOIN generate_series(room + 1, cardinality(entries), {capacity}) n
        -- in front, so that what follows is the same in both versions of the row, and is not logged again
        ON CONFLICT (user_id, lexeme, first_slot) DO UPDATE SET entries = excluded.entries || t.entries;
        UPDATE {SEARCH}.word_index SET posted_slot = next WHERE user_id = person;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.merge_words(uuid) IS 'Write the postings of the passages that have none yet.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.rebuild_words(person uuid) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        total int;
    BEGIN
        INSERT INTO {SEARCH}.word_index (user_id, next_slot, posted_slot) VALUES (person, 0, 0)
        ON CONFLICT (user_id) DO UPDATE SET next_slot = 0, posted_slot = 0;
        DELETE FROM {SEARCH}.passage_features WHERE user_id = person;
        DELETE FROM {SEARCH}.postings WHERE user_id = person;
        DELETE FROM {SEARCH}.lexical_statistics WHERE user_id = person;
        {_features(_ALL_PASSAGES, _ALL_MESSAGES, "0")};
        SELECT coalesce(sum(passages), 0) INTO total FROM {SEARCH}.lexical_statistics WHERE user_id = person;
        INSERT INTO {SEARCH}.postings (user_id, lexeme, first_slot, entries)
        SELECT person, lexeme, (entries[n] >> {SLOT})::int, entries[n:n + {capacity - 1}] FROM (
            SELECT lexeme, array_agg(entry ORDER BY entry) AS entries FROM ({_entries("0", _ALL_TEXTS)}
            ) every GROUP BY lexeme
        ) w CROSS JOIN generate_series(1, cardinality(entries), {capacity}) n ORDER BY hashtext(lexeme);
        UPDATE {SEARCH}.word_index SET next_slot = total, posted_slot = total WHERE user_id = person;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.rebuild_words(uuid) IS 'Index all passages of a user anew.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.add_words(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        taken int := cardinality(ids);
        next int;
        posted int;
    BEGIN
        IF coalesce(taken, 0) = 0 THEN
            RETURN;
        END IF;
        INSERT INTO {SEARCH}.word_index AS w (user_id, next_slot, posted_slot) VALUES (person, taken, 0)
        ON CONFLICT (user_id) DO UPDATE SET next_slot = w.next_slot + taken
        RETURNING next_slot, posted_slot INTO next, posted;
        IF next > {SLOTS} THEN
            PERFORM {SEARCH}.rebuild_words(person);
            RETURN;
        END IF;
        {_features(_FEW_PASSAGES, _FEW_MESSAGES, "next - taken")};
        IF next - posted >= {tail} THEN
            PERFORM {SEARCH}.merge_words(person);
        END IF;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.add_words(uuid, uuid[]) IS 'Index passages; those that are indexed stay as they "
        "are.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.remove_words(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        posted int;
        word text;
        place int;
        slots int[];
        lost int[];
    BEGIN
        SELECT posted_slot INTO posted FROM {SEARCH}.word_index WHERE user_id = person FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        FOR word, place, slots IN
            SELECT k.lexeme, r.first_slot, array_agg(k.slot) FROM (
                SELECT f.slot, w.lexeme FROM unnest(ids) i CROSS JOIN LATERAL (
                    SELECT o.* FROM {SEARCH}.passage_features o WHERE o.user_id = person AND o.passage_id = i OFFSET 0
                ) f {_FEW_TEXTS}
                CROSS JOIN LATERAL (SELECT lexeme FROM unnest(p.text_search) UNION SELECT lexeme FROM unnest(f.asked)) w
                WHERE f.slot < posted
            ) k CROSS JOIN LATERAL (
                SELECT t.first_slot FROM {SEARCH}.postings t
                WHERE t.user_id = person AND t.lexeme = k.lexeme AND t.first_slot <= k.slot
                ORDER BY t.first_slot DESC LIMIT 1
            ) r GROUP BY 1, 2
        LOOP
            UPDATE {SEARCH}.postings SET entries =
                ARRAY(SELECT e FROM unnest(entries) e WHERE (e >> {SLOT}) <> ALL (slots))
            WHERE user_id = person AND lexeme = word AND first_slot = place
            AND cardinality(entries) > cardinality(slots);
            IF NOT FOUND THEN
                DELETE FROM {SEARCH}.postings WHERE user_id = person AND lexeme = word AND first_slot = place;
            END IF;
        END LOOP;
        lost := ARRAY(SELECT f.slot FROM {SEARCH}.passage_features f
            WHERE f.user_id = person AND f.passage_id = ANY (ids) AND f.slot < posted AND NOT EXISTS (
                SELECT FROM {SEARCH}.passages p WHERE p.user_id = person AND p.id = f.passage_id));
        IF cardinality(lost) > 0 THEN
            UPDATE {SEARCH}.postings t SET entries =
                ARRAY(SELECT e FROM unnest(t.entries) e WHERE (e >> {SLOT}) <> ALL (lost))
            WHERE user_id = person AND first_slot <= (SELECT max(s) FROM unnest(lost) s)
            AND EXISTS (SELECT FROM unnest(t.entries) e WHERE (e >> {SLOT}) = ANY (lost));
            DELETE FROM {SEARCH}.postings WHERE user_id = person AND cardinality(entries) = 0;
        END IF;
        WITH gone AS (
            DELETE FROM {SEARCH}.passage_features WHERE user_id = person AND passage_id = ANY (ids)
            RETURNING unit, role, author, length, asked_length
        )
        UPDATE {SEARCH}.lexical_statistics s SET passages = s.passages - g.passages, length = s.length - g.length,
            asked_length = s.asked_length - g.asked_length
        FROM (SELECT unit, role, author, count(*) AS passages, sum(length) AS length, sum(asked_length) AS asked_length
            FROM gone GROUP BY unit, role, author) g
        WHERE s.user_id = person AND s.unit = g.unit AND s.role = g.role AND s.author = g.author;
        DELETE FROM {SEARCH}.lexical_statistics WHERE user_id = person AND passages = 0;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.remove_words(uuid, uuid[]) IS 'Take passages out of the index: in constant time "
        "before they are deleted, by one look through the words of the user afterwards.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.answers_to(person uuid, ids uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql STABLE {_SAFE} AS $$
    BEGIN
        -- looked up one by one: joined as the planner sees fit, all of the user's features would be read
        RETURN (SELECT coalesce(array_agg(DISTINCT a.passage_id), '{{}}') FROM unnest(ids) i CROSS JOIN LATERAL (
            SELECT o.conversation_id, o.place >> 16 AS position FROM {SEARCH}.passage_features o
            WHERE o.user_id = person AND o.passage_id = i OFFSET 0
        ) f CROSS JOIN LATERAL (
            SELECT n.place >> 16 AS position FROM {SEARCH}.passage_features n
            WHERE n.user_id = person AND n.conversation_id = f.conversation_id AND n.place >= (f.position + 1) << 16
            ORDER BY n.place LIMIT 1
        ) next CROSS JOIN LATERAL (
            SELECT o.passage_id FROM {SEARCH}.passage_features o
            WHERE o.user_id = person AND o.conversation_id = f.conversation_id
            AND o.place >= next.position << 16 AND o.place < (next.position + 1) << 16 OFFSET 0
        ) a WHERE a.passage_id <> ALL (ids));
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.answers_to(uuid, uuid[]) IS 'The indexed passages of the messages that follow.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.index_answers(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        changed uuid[];
    BEGIN
        IF coalesce(cardinality(ids), 0) = 0 THEN
            RETURN;
        END IF;
        PERFORM FROM {SEARCH}.word_index WHERE user_id = person FOR UPDATE;
        changed := ARRAY(SELECT f.passage_id FROM {SEARCH}.passage_features f CROSS JOIN LATERAL (
                SELECT o.conversation_id, o.position FROM {PRODUCT}.messages o
                WHERE o.user_id = person AND o.id = f.source_id OFFSET 0
            ) m LEFT JOIN LATERAL ({_QUESTIONS}) q ON true
            WHERE f.user_id = person AND f.passage_id = ANY (ids) AND f.asked IS DISTINCT FROM q.asked);
        IF cardinality(changed) > 0 THEN
            PERFORM {SEARCH}.remove_words(person, changed);
            PERFORM {SEARCH}.add_words(person, changed);
        END IF;
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.index_answers(uuid, uuid[]) IS 'Index anew those of these passages whose "
        "message before asks something else now.'",
        f"""
    CREATE OR REPLACE FUNCTION {SEARCH}.index_words(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql {_SAFE} AS $$
    BEGIN
        PERFORM {SEARCH}.add_words(person, ids);
        PERFORM {SEARCH}.index_answers(person, {SEARCH}.answers_to(person, ids));
    END $$
    """,
        f"COMMENT ON FUNCTION {SEARCH}.index_words(uuid, uuid[]) IS 'Index passages, and anew the answers to what they "
        "ask.'",
    )


passage_features: Table = PassageFeatures.__table__  # type: ignore[assignment]
word_index: Table = WordIndex.__table__  # type: ignore[assignment]
postings: Table = Postings.__table__  # type: ignore[assignment]
lexical_statistics: Table = LexicalStatistics.__table__  # type: ignore[assignment]
after_create(postings, f"ALTER TABLE {postings.fullname} SET (fillfactor = {FILL}, toast_tuple_target = 8160)")
for _table in (passage_features, word_index, postings, lexical_statistics):
    isolated(_table)
after_create(postings, *functions())

"""The words of passages: posting lists, lengths and statistics of each user, kept in step by triggers."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE carmenta.passage_features (
        user_id UUID NOT NULL,
        passage_id UUID NOT NULL,
        slot INTEGER NOT NULL,
        unit TEXT NOT NULL,
        source_id UUID NOT NULL,
        length INTEGER NOT NULL,
        conversation_id UUID,
        place BIGINT,
        role TEXT DEFAULT '' NOT NULL,
        author TEXT DEFAULT '' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE,
        asked_length INTEGER DEFAULT '0' NOT NULL,
        asked TSVECTOR,
        CONSTRAINT pk_passage_features PRIMARY KEY (user_id, passage_id),
        CONSTRAINT fk_passage_features_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
        CONSTRAINT ck_passage_features_slot CHECK (slot BETWEEN 0 AND 16777215)
    )
    """,
    """
    CREATE INDEX ix_passage_features_place ON carmenta.passage_features (user_id, conversation_id, place) WHERE conversation_id IS NOT NULL
    """,
    "CREATE UNIQUE INDEX uq_passage_features_slot ON carmenta.passage_features (user_id, slot)",
    """
    COMMENT ON TABLE carmenta.passage_features IS 'A passage without its text: its number, its place in a conversation, its lengths.'
    """,
    """
    COMMENT ON COLUMN carmenta.passage_features.slot IS 'Its number among the user''s passages, in posting lists.'
    """,
    "COMMENT ON COLUMN carmenta.passage_features.length IS 'Words that are indexed, repetitions counted.'",
    """
    COMMENT ON COLUMN carmenta.passage_features.place IS 'Position of its message times 65,536, plus its piece.'
    """,
    """
    COMMENT ON COLUMN carmenta.passage_features.asked IS 'The words of the questions in the message before it.'
    """,
    "ALTER TABLE carmenta.passage_features ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.passage_features FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.passage_features TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.passage_features TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.passage_features TO carmenta_app",
    """
    CREATE TABLE carmenta.postings (
        user_id UUID NOT NULL,
        lexeme TEXT NOT NULL,
        entries BIGINT[] NOT NULL,
        CONSTRAINT pk_postings PRIMARY KEY (user_id, lexeme),
        CONSTRAINT fk_postings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
    )
    """,
    "COMMENT ON TABLE carmenta.postings IS 'Where a user''s passages use a word.'",
    """
    COMMENT ON COLUMN carmenta.postings.entries IS 'From the highest bits: slot 24, unit 2 (turn, memory, section), frequency 8, frequency in the questions of the message before 8, length 10, length of those questions 10.'
    """,
    "ALTER TABLE carmenta.postings ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.postings FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.postings TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.postings TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.postings TO carmenta_app",
    """
    CREATE TABLE carmenta.lexical_statistics (
        user_id UUID NOT NULL,
        unit TEXT NOT NULL,
        role TEXT NOT NULL,
        author TEXT NOT NULL,
        passages INTEGER NOT NULL,
        length BIGINT NOT NULL,
        asked_length BIGINT NOT NULL,
        CONSTRAINT pk_lexical_statistics PRIMARY KEY (user_id, unit, role, author),
        CONSTRAINT fk_lexical_statistics_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
    )
    """,
    """
    COMMENT ON TABLE carmenta.lexical_statistics IS 'How many passages a user has, and of which length, by who wrote them.'
    """,
    "ALTER TABLE carmenta.lexical_statistics ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.lexical_statistics FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.lexical_statistics TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.lexical_statistics TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.lexical_statistics TO carmenta_app",
    """
    CREATE TABLE carmenta.token_codes (
        user_id UUID NOT NULL,
        passage_id UUID NOT NULL,
        codes bit(384)[] NOT NULL,
        question_codes bit(384)[] NOT NULL,
        CONSTRAINT pk_token_codes PRIMARY KEY (user_id, passage_id),
        CONSTRAINT fk_token_codes_user_id_passage_id FOREIGN KEY(user_id, passage_id) REFERENCES carmenta.passages (user_id, id) ON DELETE CASCADE
    )
    """,
    """
    COMMENT ON TABLE carmenta.token_codes IS 'The tokens of a passage that carry meaning, each by the signs of its vector under the bundled model. Written when a strategy needs them.'
    """,
    "COMMENT ON COLUMN carmenta.token_codes.codes IS 'Without header and stop words.'",
    """
    COMMENT ON COLUMN carmenta.token_codes.question_codes IS 'Those of them in sentences that end in a question mark.'
    """,
    "ALTER TABLE carmenta.token_codes ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE carmenta.token_codes FORCE ROW LEVEL SECURITY",
    "CREATE POLICY owner_all ON carmenta.token_codes TO carmenta_owner USING (true) WITH CHECK (true)",
    """
    CREATE POLICY app_own_rows ON carmenta.token_codes TO carmenta_app USING (user_id = (SELECT carmenta.current_user_id())) WITH CHECK (user_id = (SELECT carmenta.current_user_id()))
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.token_codes TO carmenta_app",
    "ALTER TABLE carmenta.token_codes ALTER COLUMN codes SET STORAGE EXTERNAL",
    "ALTER TABLE carmenta.token_codes ALTER COLUMN question_codes SET STORAGE EXTERNAL",
    """
    CREATE FUNCTION carmenta.lexemes(language text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE language WHEN 'da' THEN to_tsvector('pg_catalog.danish'::regconfig, left(content, 200000)) WHEN 'de' THEN to_tsvector('pg_catalog.german'::regconfig, left(content, 200000)) WHEN 'en' THEN to_tsvector('pg_catalog.english'::regconfig, left(content, 200000)) WHEN 'es' THEN to_tsvector('pg_catalog.spanish'::regconfig, left(content, 200000)) WHEN 'fi' THEN to_tsvector('pg_catalog.finnish'::regconfig, left(content, 200000)) WHEN 'fr' THEN to_tsvector('pg_catalog.french'::regconfig, left(content, 200000)) WHEN 'it' THEN to_tsvector('pg_catalog.italian'::regconfig, left(content, 200000)) WHEN 'nl' THEN to_tsvector('pg_catalog.dutch'::regconfig, left(content, 200000)) WHEN 'no' THEN to_tsvector('pg_catalog.norwegian'::regconfig, left(content, 200000)) WHEN 'pt' THEN to_tsvector('pg_catalog.portuguese'::regconfig, left(content, 200000)) WHEN 'sv' THEN to_tsvector('pg_catalog.swedish'::regconfig, left(content, 200000)) ELSE to_tsvector('pg_catalog.simple'::regconfig, left(content, 200000)) END
    """,
    "COMMENT ON FUNCTION carmenta.lexemes(text, text) IS 'The words of a text as passages index them.'",
    r"""
    CREATE FUNCTION carmenta.asked_lexemes(language text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN content ~ '[?？]' THEN carmenta.lexemes(language, (SELECT string_agg(s[1], ' ')
        FROM regexp_matches(left(content, 20000), '([^.!?？\n]*[?？])', 'g') s)) END
    """,
    """
    COMMENT ON FUNCTION carmenta.asked_lexemes(text, text) IS 'The words of the sentences that end in a question mark, of the first 20,000 characters.'
    """,
    """
    CREATE FUNCTION carmenta.add_words(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        first int;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        SELECT coalesce(max(slot), -1) + 1 INTO first FROM carmenta.passage_features WHERE user_id = person;
        INSERT INTO carmenta.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
            role, author, created_at, length, asked_length, asked)
        SELECT person, p.id, first - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
            p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
            coalesce(m.role, ''), coalesce(p.author, ''), p.created_at,
            least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(p.text_search) w)),
            least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(q.asked) w)), q.asked
        FROM carmenta.passages p
        LEFT JOIN carmenta.messages m ON m.user_id = person AND m.id = p.message_id
        LEFT JOIN LATERAL (
            SELECT carmenta.asked_lexemes(b.language, b.content) AS asked FROM carmenta.messages b
            WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
            ORDER BY b.position DESC LIMIT 1
        ) q ON true
        WHERE p.user_id = person AND p.id = ANY (ids) AND p.unit IN ('turn', 'memory', 'section');
        INSERT INTO carmenta.postings AS t (user_id, lexeme, entries)
        SELECT person, lexeme, array_agg(base + (least(255, tf) << 28) + (least(255, asked_tf) << 20)
            ORDER BY base)
        FROM (
            SELECT lexeme, base, sum(tf)::bigint AS tf, sum(asked_tf)::bigint AS asked_tf FROM (
                SELECT w.lexeme, cardinality(w.positions) AS tf, 0 AS asked_tf, (f.slot::bigint << 38)
                    + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length AS base
                FROM carmenta.passage_features f
                JOIN carmenta.passages p ON p.user_id = person AND p.id = f.passage_id
                CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= first
                UNION ALL
                SELECT w.lexeme, 0, cardinality(w.positions), (f.slot::bigint << 38)
                    + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length
                FROM carmenta.passage_features f CROSS JOIN unnest(f.asked) w
                WHERE f.user_id = person AND f.slot >= first
            ) found GROUP BY lexeme, base
        ) counted GROUP BY lexeme
        ON CONFLICT (user_id, lexeme) DO UPDATE SET entries = t.entries || excluded.entries;
        INSERT INTO carmenta.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
        SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM carmenta.passage_features
        WHERE user_id = person AND slot >= first GROUP BY unit, role, author
        ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
            length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length;
    END $$
    """,
    "COMMENT ON FUNCTION carmenta.add_words(uuid, uuid[]) IS 'Index passages that are not indexed yet.'",
    """
    CREATE FUNCTION carmenta.drop_words(person uuid, ids uuid[], words text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        slots int[];
        every text[];
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        slots := ARRAY(SELECT slot FROM carmenta.passage_features WHERE user_id = person AND passage_id = ANY (ids));
        every := words || ARRAY(SELECT w.lexeme FROM carmenta.passage_features f CROSS JOIN unnest(f.asked) w
            WHERE f.user_id = person AND f.passage_id = ANY (ids));
        UPDATE carmenta.postings SET entries =
            ARRAY(SELECT e FROM unnest(entries) e WHERE (e >> 38) <> ALL (slots))
        WHERE user_id = person AND lexeme = ANY (every);
        DELETE FROM carmenta.postings WHERE user_id = person AND lexeme = ANY (every) AND cardinality(entries) = 0;
        UPDATE carmenta.lexical_statistics s SET passages = s.passages - g.passages, length = s.length - g.length,
            asked_length = s.asked_length - g.asked_length
        FROM (SELECT unit, role, author, count(*) AS passages, sum(length) AS length, sum(asked_length) AS asked_length
            FROM carmenta.passage_features WHERE user_id = person AND passage_id = ANY (ids)
            GROUP BY unit, role, author) g
        WHERE s.user_id = person AND s.unit = g.unit AND s.role = g.role AND s.author = g.author;
        DELETE FROM carmenta.lexical_statistics WHERE user_id = person AND passages = 0;
        DELETE FROM carmenta.passage_features WHERE user_id = person AND passage_id = ANY (ids);
    END $$
    """,
    """
    COMMENT ON FUNCTION carmenta.drop_words(uuid, uuid[], text[]) IS 'Take passages out of the index; words are those of their texts.'
    """,
    """
    CREATE FUNCTION carmenta.answers_to(person uuid, ids uuid[]) RETURNS uuid[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT coalesce(array_agg(DISTINCT a.passage_id), '{}') FROM carmenta.passage_features f
        CROSS JOIN LATERAL (
            SELECT n.place >> 16 AS position FROM carmenta.passage_features n
            WHERE n.user_id = person AND n.conversation_id = f.conversation_id
            AND n.place >= ((f.place >> 16) + 1) << 16 ORDER BY n.place LIMIT 1
        ) next
        JOIN carmenta.passage_features a ON a.user_id = person AND a.conversation_id = f.conversation_id
            AND a.place >= next.position << 16 AND a.place < (next.position + 1) << 16
        WHERE f.user_id = person AND f.passage_id = ANY (ids) AND a.passage_id <> ALL (ids)
    $$
    """,
    """
    COMMENT ON FUNCTION carmenta.answers_to(uuid, uuid[]) IS 'The indexed passages of the messages that follow.'
    """,
    """
    CREATE FUNCTION carmenta.index_words() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        person uuid;
        ids uuid[];
        next uuid[];
        words text[];
    BEGIN
        IF current_setting('carmenta.index_later', true) = 'on' THEN
            RETURN NULL;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            FOR person, ids IN SELECT o.user_id, array_agg(o.id) FROM old_rows o GROUP BY o.user_id LOOP
                CONTINUE WHEN NOT EXISTS (SELECT FROM carmenta.users u WHERE u.id = person);
                next := carmenta.answers_to(person, ids);
                words := ARRAY(SELECT w.lexeme FROM old_rows o CROSS JOIN unnest(o.text_search) w
                    WHERE o.user_id = person);
                PERFORM carmenta.drop_words(person, ids, words);
                PERFORM carmenta.index_again(person, next);
            END LOOP;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            FOR person, ids IN SELECT n.user_id, array_agg(n.id) FROM new_rows n GROUP BY n.user_id LOOP
                PERFORM carmenta.add_words(person, ids);
                PERFORM carmenta.index_again(person, carmenta.answers_to(person, ids));
            END LOOP;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    COMMENT ON FUNCTION carmenta.index_words() IS 'Keeps the index of words in step with passages, unless carmenta.index_later is on: then rebuild_words is owed.'
    """,
    """
    CREATE FUNCTION carmenta.index_again(person uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF cardinality(ids) > 0 THEN
            PERFORM carmenta.drop_words(person, ids, ARRAY(SELECT w.lexeme FROM carmenta.passages p
                CROSS JOIN unnest(p.text_search) w WHERE p.user_id = person AND p.id = ANY (ids)));
            PERFORM carmenta.add_words(person, ids);
        END IF;
    END $$
    """,
    "COMMENT ON FUNCTION carmenta.index_again(uuid, uuid[]) IS 'Index passages whose question has changed.'",
    """
    CREATE FUNCTION carmenta.rebuild_words(person uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
        DELETE FROM carmenta.passage_features WHERE user_id = person;
        DELETE FROM carmenta.postings WHERE user_id = person;
        DELETE FROM carmenta.lexical_statistics WHERE user_id = person;
        PERFORM carmenta.add_words(person, ARRAY(SELECT id FROM carmenta.passages WHERE user_id = person));
    END $$
    """,
    "COMMENT ON FUNCTION carmenta.rebuild_words(uuid) IS 'Index all passages of a user anew.'",
    """
    CREATE TRIGGER index_words_insert AFTER INSERT ON carmenta.passages REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION carmenta.index_words()
    """,
    """
    CREATE TRIGGER index_words_update AFTER UPDATE ON carmenta.passages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION carmenta.index_words()
    """,
    """
    CREATE TRIGGER index_words_delete AFTER DELETE ON carmenta.passages REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION carmenta.index_words()
    """,
    "SELECT carmenta.rebuild_words(id) FROM carmenta.users",
)

DOWN = (
    "DROP TRIGGER index_words_insert ON carmenta.passages",
    "DROP TRIGGER index_words_update ON carmenta.passages",
    "DROP TRIGGER index_words_delete ON carmenta.passages",
    "DROP FUNCTION carmenta.add_words(uuid, uuid[])",
    "DROP FUNCTION carmenta.drop_words(uuid, uuid[], text[])",
    "DROP FUNCTION carmenta.answers_to(uuid, uuid[])",
    "DROP FUNCTION carmenta.index_words()",
    "DROP FUNCTION carmenta.index_again(uuid, uuid[])",
    "DROP FUNCTION carmenta.rebuild_words(uuid)",
    "DROP FUNCTION carmenta.asked_lexemes(text, text)",
    "DROP FUNCTION carmenta.lexemes(text, text)",
    "DROP TABLE carmenta.token_codes",
    "DROP TABLE carmenta.lexical_statistics",
    "DROP TABLE carmenta.postings",
    "DROP TABLE carmenta.passage_features",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)

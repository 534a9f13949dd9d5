"""What BM25 and the signals of conversation need of passages, kept up to date by triggers on `passages`."""

from alembic import op

revision = "search_2"
down_revision = "search_1"


def upgrade() -> None:
    op.execute(
        r"""
        CREATE TABLE search.passage_features (
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
        """
    )
    op.execute(
        r"""
        CREATE INDEX ix_passage_features_place ON search.passage_features (user_id, conversation_id, place) WHERE conversation_id IS NOT NULL
        """
    )
    op.execute("CREATE UNIQUE INDEX uq_passage_features_slot ON search.passage_features (user_id, slot)")
    op.execute(
        r"""
        COMMENT ON TABLE search.passage_features IS 'A passage without its text: its number, its place in a conversation, its lengths.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.passage_features.slot IS 'Its number among the user''s passages, in posting lists.'
        """
    )
    op.execute("COMMENT ON COLUMN search.passage_features.length IS 'Words that are indexed, repetitions counted.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.passage_features.place IS 'Position of its message times 65,536, plus its piece.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.passage_features.asked IS 'The words of the questions in the message before it.'
        """
    )
    op.execute("ALTER TABLE search.passage_features ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.passage_features FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.passage_features TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.passage_features TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.passage_features TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.postings (
            user_id UUID NOT NULL,
            lexeme TEXT NOT NULL,
            entries BIGINT[] NOT NULL,
            CONSTRAINT pk_postings PRIMARY KEY (user_id, lexeme),
            CONSTRAINT fk_postings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("COMMENT ON TABLE search.postings IS 'Where a user''s passages use a word.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.postings.entries IS 'From the highest bits: slot 24, unit 2 (turn, memory, section), frequency 8, frequency in the questions of the message before 8, length 10, length of those questions 10.'
        """
    )
    op.execute("ALTER TABLE search.postings ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.postings FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.postings TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.postings TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.postings TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.lexical_statistics (
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
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.lexical_statistics IS 'How many passages a user has, and of which length, by who wrote them.'
        """
    )
    op.execute("ALTER TABLE search.lexical_statistics ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.lexical_statistics FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON search.lexical_statistics TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.lexical_statistics TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.lexical_statistics TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION search.asked_lexemes(language text, content text) RETURNS tsvector
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN CASE WHEN content ~ '[?？]' THEN carmenta.lexemes(language, (SELECT string_agg(s[1], ' ')
                FROM regexp_matches(left(content, 20000), '([^.!?？\n]*[?？])', 'g') s)) END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.asked_lexemes(text, text) IS 'The words of the sentences that end in a question mark, of the first 20,000 characters.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.add_words(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                first int;
            BEGIN
                PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
                SELECT coalesce(max(slot), -1) + 1 INTO first FROM search.passage_features WHERE user_id = person;
                INSERT INTO search.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
                    role, author, created_at, length, asked_length, asked)
                SELECT person, p.id, first - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
                    p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
                    coalesce(m.role, ''), coalesce(p.author, ''), p.created_at,
                    least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(p.text_search) w)),
                    least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(q.asked) w)), q.asked
                FROM search.passages p
                LEFT JOIN carmenta.messages m ON m.user_id = person AND m.id = p.message_id
                LEFT JOIN LATERAL (
                    SELECT search.asked_lexemes(b.language, b.content) AS asked FROM carmenta.messages b
                    WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
                    ORDER BY b.position DESC LIMIT 1
                ) q ON true
                WHERE p.user_id = person AND p.id = ANY (ids) AND p.unit IN ('turn', 'memory', 'section');
                INSERT INTO search.postings AS t (user_id, lexeme, entries)
                SELECT person, lexeme, array_agg(base + (least(255, tf) << 28) + (least(255, asked_tf) << 20)
                    ORDER BY base)
                FROM (
                    SELECT lexeme, base, sum(tf)::bigint AS tf, sum(asked_tf)::bigint AS asked_tf FROM (
                        SELECT w.lexeme, cardinality(w.positions) AS tf, 0 AS asked_tf, (f.slot::bigint << 38)
                            + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length AS base
                        FROM search.passage_features f
                        JOIN search.passages p ON p.user_id = person AND p.id = f.passage_id
                        CROSS JOIN unnest(p.text_search) w
                        WHERE f.user_id = person AND f.slot >= first
                        UNION ALL
                        SELECT w.lexeme, 0, cardinality(w.positions), (f.slot::bigint << 38)
                            + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length
                        FROM search.passage_features f CROSS JOIN unnest(f.asked) w
                        WHERE f.user_id = person AND f.slot >= first
                    ) found GROUP BY lexeme, base
                ) counted GROUP BY lexeme
                ON CONFLICT (user_id, lexeme) DO UPDATE SET entries = t.entries || excluded.entries;
                INSERT INTO search.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
                SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM search.passage_features
                WHERE user_id = person AND slot >= first GROUP BY unit, role, author
                ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
                    length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length;
            END $$
        """
    )
    op.execute("COMMENT ON FUNCTION search.add_words(uuid, uuid[]) IS 'Index passages that are not indexed yet.'")
    op.execute(
        r"""
        CREATE FUNCTION search.drop_words(person uuid, ids uuid[], words text[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                slots int[];
                every text[];
            BEGIN
                PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
                slots := ARRAY(SELECT slot FROM search.passage_features WHERE user_id = person AND passage_id = ANY (ids));
                every := words || ARRAY(SELECT w.lexeme FROM search.passage_features f CROSS JOIN unnest(f.asked) w
                    WHERE f.user_id = person AND f.passage_id = ANY (ids));
                UPDATE search.postings SET entries =
                    ARRAY(SELECT e FROM unnest(entries) e WHERE (e >> 38) <> ALL (slots))
                WHERE user_id = person AND lexeme = ANY (every);
                DELETE FROM search.postings WHERE user_id = person AND lexeme = ANY (every) AND cardinality(entries) = 0;
                UPDATE search.lexical_statistics s SET passages = s.passages - g.passages, length = s.length - g.length,
                    asked_length = s.asked_length - g.asked_length
                FROM (SELECT unit, role, author, count(*) AS passages, sum(length) AS length, sum(asked_length) AS asked_length
                    FROM search.passage_features WHERE user_id = person AND passage_id = ANY (ids)
                    GROUP BY unit, role, author) g
                WHERE s.user_id = person AND s.unit = g.unit AND s.role = g.role AND s.author = g.author;
                DELETE FROM search.lexical_statistics WHERE user_id = person AND passages = 0;
                DELETE FROM search.passage_features WHERE user_id = person AND passage_id = ANY (ids);
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.drop_words(uuid, uuid[], text[]) IS 'Take passages out of the index; words are those of their texts.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.answers_to(person uuid, ids uuid[]) RETURNS uuid[]
            LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
                SELECT coalesce(array_agg(DISTINCT a.passage_id), '{}') FROM search.passage_features f
                CROSS JOIN LATERAL (
                    SELECT n.place >> 16 AS position FROM search.passage_features n
                    WHERE n.user_id = person AND n.conversation_id = f.conversation_id
                    AND n.place >= ((f.place >> 16) + 1) << 16 ORDER BY n.place LIMIT 1
                ) next
                JOIN search.passage_features a ON a.user_id = person AND a.conversation_id = f.conversation_id
                    AND a.place >= next.position << 16 AND a.place < (next.position + 1) << 16
                WHERE f.user_id = person AND f.passage_id = ANY (ids) AND a.passage_id <> ALL (ids)
            $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.answers_to(uuid, uuid[]) IS 'The indexed passages of the messages that follow.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.index_words() RETURNS trigger
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                person uuid;
                ids uuid[];
                next uuid[];
                words text[];
            BEGIN
                IF current_setting('search.index_later', true) = 'on' THEN
                    RETURN NULL;
                END IF;
                IF TG_OP <> 'INSERT' THEN
                    FOR person, ids IN SELECT o.user_id, array_agg(o.id) FROM old_rows o GROUP BY o.user_id LOOP
                        CONTINUE WHEN NOT EXISTS (SELECT FROM carmenta.users u WHERE u.id = person);
                        next := search.answers_to(person, ids);
                        words := ARRAY(SELECT w.lexeme FROM old_rows o CROSS JOIN unnest(o.text_search) w
                            WHERE o.user_id = person);
                        PERFORM search.drop_words(person, ids, words);
                        PERFORM search.index_again(person, next);
                    END LOOP;
                END IF;
                IF TG_OP <> 'DELETE' THEN
                    FOR person, ids IN SELECT n.user_id, array_agg(n.id) FROM new_rows n GROUP BY n.user_id LOOP
                        PERFORM search.add_words(person, ids);
                        PERFORM search.index_again(person, search.answers_to(person, ids));
                    END LOOP;
                END IF;
                RETURN NULL;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.index_words() IS 'Keeps the index of words in step with passages, unless search.index_later is on: then rebuild_words is owed.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION search.index_again(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                IF cardinality(ids) > 0 THEN
                    PERFORM search.drop_words(person, ids, ARRAY(SELECT w.lexeme FROM search.passages p
                        CROSS JOIN unnest(p.text_search) w WHERE p.user_id = person AND p.id = ANY (ids)));
                    PERFORM search.add_words(person, ids);
                END IF;
            END $$
        """
    )
    op.execute("COMMENT ON FUNCTION search.index_again(uuid, uuid[]) IS 'Index passages whose question has changed.'")
    op.execute(
        r"""
        CREATE FUNCTION search.rebuild_words(person uuid) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            BEGIN
                PERFORM pg_advisory_xact_lock(hashtextextended(person::text, 7));
                DELETE FROM search.passage_features WHERE user_id = person;
                DELETE FROM search.postings WHERE user_id = person;
                DELETE FROM search.lexical_statistics WHERE user_id = person;
                PERFORM search.add_words(person, ARRAY(SELECT id FROM search.passages WHERE user_id = person));
            END $$
        """
    )
    op.execute("COMMENT ON FUNCTION search.rebuild_words(uuid) IS 'Index all passages of a user anew.'")
    op.execute(
        r"""
        CREATE TRIGGER index_words_insert AFTER INSERT ON search.passages REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION search.index_words()
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER index_words_update AFTER UPDATE ON search.passages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION search.index_words()
        """
    )
    op.execute(
        r"""
        CREATE TRIGGER index_words_delete AFTER DELETE ON search.passages REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION search.index_words()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER index_words_insert ON search.passages")
    op.execute("DROP TRIGGER index_words_update ON search.passages")
    op.execute("DROP TRIGGER index_words_delete ON search.passages")
    op.execute("DROP FUNCTION search.rebuild_words(uuid)")
    op.execute("DROP FUNCTION search.index_again(uuid, uuid[])")
    op.execute("DROP FUNCTION search.answers_to(uuid, uuid[])")
    op.execute("DROP FUNCTION search.drop_words(uuid, uuid[], text[])")
    op.execute("DROP FUNCTION search.add_words(uuid, uuid[])")
    op.execute("DROP FUNCTION search.asked_lexemes(text, text)")
    op.execute("DROP TABLE search.lexical_statistics")
    op.execute("DROP TABLE search.postings")
    op.execute("DROP TABLE search.passage_features")
    op.execute("DROP FUNCTION search.index_words()")

"""What BM25 and the signals of conversation need of passages: an index of words, kept by whoever writes passages."""

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
        CREATE TABLE search.word_index (
            user_id UUID NOT NULL,
            next_slot INTEGER NOT NULL,
            posted_slot INTEGER NOT NULL,
            CONSTRAINT pk_word_index PRIMARY KEY (user_id),
            CONSTRAINT fk_word_index_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_word_index_slots CHECK (posted_slot BETWEEN 0 AND next_slot)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.word_index IS 'How far a user''s passages are numbered and merged; locked by whoever writes the user''s index.'
        """
    )
    op.execute("COMMENT ON COLUMN search.word_index.next_slot IS 'The number of the passage that is added next.'")
    op.execute(
        r"""
        COMMENT ON COLUMN search.word_index.posted_slot IS 'Passages from this number on have no postings yet.'
        """
    )
    op.execute("ALTER TABLE search.word_index ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE search.word_index FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON search.word_index TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON search.word_index TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON search.word_index TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE search.postings (
            user_id UUID NOT NULL,
            lexeme TEXT COLLATE "C" NOT NULL,
            first_slot INTEGER NOT NULL,
            entries BIGINT[] NOT NULL,
            CONSTRAINT pk_postings PRIMARY KEY (user_id, lexeme, first_slot),
            CONSTRAINT fk_postings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE search.postings IS 'Where a user''s passages use a word, in rows of a bounded number of entries.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.postings.first_slot IS 'The entry of a number is in the row with the greatest first_slot up to it.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN search.postings.entries IS 'In any order. From the highest bits: slot 24, unit 2 (turn, memory, section), frequency 8, frequency in the questions of the message before 8, length 10, length of those questions 10.'
        """
    )
    op.execute("ALTER TABLE search.postings SET (fillfactor = 85, toast_tuple_target = 8160)")
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
        CREATE OR REPLACE FUNCTION search.asked_lexemes(language text, content text) RETURNS tsvector
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN CASE WHEN content ~ '[?？؟]' THEN carmenta.lexemes(language, (
                SELECT string_agg(s, ' ') FROM string_to_table(
                    regexp_replace(left(content, 20000), '[.!。！\n]|([?？؟])', E'\\1\n', 'g'), E'\n') s
                WHERE s ~ '[?？؟]$'
            )) END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.asked_lexemes(text, text) IS 'The words of the sentences that end in a question mark, of the first 20,000 characters.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.unmerged_words(person uuid, words text[])
            RETURNS TABLE (n bigint, entries bigint[]) LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                first int;
                next int;
            BEGIN
                SELECT posted_slot, next_slot INTO first, next FROM search.word_index WHERE user_id = person;
                IF first < next THEN
                    RETURN QUERY SELECT a.n, array_agg(a.base + (least(255, a.tf) << 28)
                        + (least(255, a.asked_tf) << 20)) FROM (
                        SELECT w.n, f.base, sum(u.tf) AS tf, sum(u.asked_tf) AS asked_tf FROM (
                            SELECT (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length AS base, p.text_search, f.asked FROM search.passage_features f CROSS JOIN LATERAL (
                    SELECT t.text_search FROM search.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
                ) p
                            WHERE f.user_id = person AND f.slot >= first
                            AND (length(ts_delete(p.text_search, words)) < length(p.text_search) OR length(ts_delete(f.asked, words)) < length(f.asked)) OFFSET 0
                        ) f CROSS JOIN LATERAL (
                            SELECT lexeme, cardinality(positions) AS tf, 0 AS asked_tf FROM unnest(f.text_search)
                            UNION ALL SELECT lexeme, 0, cardinality(positions) FROM unnest(f.asked)
                        ) u JOIN unnest(words) WITH ORDINALITY w (lexeme, n) ON w.lexeme = u.lexeme GROUP BY w.n, f.base
                    ) a GROUP BY a.n;
                END IF;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.unmerged_words(uuid, text[]) IS 'Entries of these words, by their number from 1, in passages that are not merged into postings yet.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.merge_words(person uuid) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                first int;
                next int;
            BEGIN
                SELECT posted_slot, next_slot INTO first, next FROM search.word_index WHERE user_id = person FOR UPDATE;
                IF NOT FOUND OR first = next THEN
                    RETURN;
                END IF;
                WITH fresh AS MATERIALIZED (
                    SELECT lexeme, array_agg(entry ORDER BY entry) AS entries FROM (
                SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length + (least(255, cardinality(w.positions))::bigint << 28) AS entry
                FROM search.passage_features f CROSS JOIN LATERAL (
                    SELECT t.text_search FROM search.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
                ) p CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= first AND f.asked IS NULL
                UNION ALL
                SELECT lexeme, base + (least(255, sum(tf))::bigint << 28) + (least(255, sum(asked_tf))::bigint << 20)
                FROM (
                    SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length AS base, cardinality(w.positions) AS tf, 0 AS asked_tf
                    FROM search.passage_features f CROSS JOIN LATERAL (
                    SELECT t.text_search FROM search.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
                ) p CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= first AND f.asked IS NOT NULL
                    UNION ALL
                    SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length, 0, cardinality(w.positions) FROM search.passage_features f CROSS JOIN LATERAL (
                    SELECT t.text_search FROM search.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
                ) p
                    CROSS JOIN unnest(f.asked) w WHERE f.user_id = person AND f.slot >= first
                ) said GROUP BY lexeme, base
                    ) every GROUP BY lexeme
                ), place AS MATERIALIZED (
                    SELECT f.lexeme, f.entries, l.first_slot, coalesce(greatest(0, 128 - l.held), 0) AS room
                    FROM fresh f LEFT JOIN LATERAL (
                        SELECT t.first_slot, cardinality(t.entries) AS held FROM search.postings t
                        WHERE t.user_id = person AND t.lexeme = f.lexeme ORDER BY t.first_slot DESC LIMIT 1
                    ) l ON true
                )
                INSERT INTO search.postings AS t (user_id, lexeme, first_slot, entries)
                SELECT person, lexeme, first_slot, entries[1:room] FROM place WHERE room > 0
                UNION ALL
                SELECT person, lexeme, (entries[n] >> 38)::int, entries[n:n + 127]
                FROM place CROSS JOIN generate_series(room + 1, cardinality(entries), 128) n
                -- in front, so that what follows is the same in both versions of the row, and is not logged again
                ON CONFLICT (user_id, lexeme, first_slot) DO UPDATE SET entries = excluded.entries || t.entries;
                UPDATE search.word_index SET posted_slot = next WHERE user_id = person;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.merge_words(uuid) IS 'Write the postings of the passages that have none yet.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.rebuild_words(person uuid) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                total int;
            BEGIN
                INSERT INTO search.word_index (user_id, next_slot, posted_slot) VALUES (person, 0, 0)
                ON CONFLICT (user_id) DO UPDATE SET next_slot = 0, posted_slot = 0;
                DELETE FROM search.passage_features WHERE user_id = person;
                DELETE FROM search.postings WHERE user_id = person;
                DELETE FROM search.lexical_statistics WHERE user_id = person;
                WITH added AS (
                    INSERT INTO search.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
                        role, author, created_at, length, asked_length, asked)
                    SELECT person, p.id, 0 - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
                        p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
                        coalesce(m.role, ''), coalesce(p.author, ''), p.created_at, least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(p.text_search) w)),
                        least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(q.asked) w)), q.asked
                    FROM search.passages p
                    LEFT JOIN carmenta.messages m ON m.user_id = person AND m.id = p.message_id
                    LEFT JOIN LATERAL (
            SELECT search.asked_lexemes(b.language, b.content) AS asked FROM carmenta.messages b
            WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
            AND b.deleted_at IS NULL ORDER BY b.position DESC, b.id DESC LIMIT 1) q ON true
                    WHERE p.user_id = person AND p.unit IN ('turn', 'memory', 'section')
                    RETURNING unit, role, author, length, asked_length
                )
                INSERT INTO search.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
                SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM added GROUP BY 2, 3, 4
                ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
                    length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length;
                SELECT coalesce(sum(passages), 0) INTO total FROM search.lexical_statistics WHERE user_id = person;
                INSERT INTO search.postings (user_id, lexeme, first_slot, entries)
                SELECT person, lexeme, (entries[n] >> 38)::int, entries[n:n + 127] FROM (
                    SELECT lexeme, array_agg(entry ORDER BY entry) AS entries FROM (
                SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length + (least(255, cardinality(w.positions))::bigint << 28) AS entry
                FROM search.passage_features f JOIN search.passages p ON p.user_id = person AND p.id = f.passage_id CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= 0 AND f.asked IS NULL
                UNION ALL
                SELECT lexeme, base + (least(255, sum(tf))::bigint << 28) + (least(255, sum(asked_tf))::bigint << 20)
                FROM (
                    SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length AS base, cardinality(w.positions) AS tf, 0 AS asked_tf
                    FROM search.passage_features f JOIN search.passages p ON p.user_id = person AND p.id = f.passage_id CROSS JOIN unnest(p.text_search) w
                WHERE f.user_id = person AND f.slot >= 0 AND f.asked IS NOT NULL
                    UNION ALL
                    SELECT w.lexeme, (f.slot::bigint << 38) + ((CASE f.unit WHEN 'turn' THEN 0 WHEN 'memory' THEN 1 WHEN 'section' THEN 2 END)::bigint << 36) + (f.length << 10) + f.asked_length, 0, cardinality(w.positions) FROM search.passage_features f JOIN search.passages p ON p.user_id = person AND p.id = f.passage_id
                    CROSS JOIN unnest(f.asked) w WHERE f.user_id = person AND f.slot >= 0
                ) said GROUP BY lexeme, base
                    ) every GROUP BY lexeme
                ) w CROSS JOIN generate_series(1, cardinality(entries), 128) n ORDER BY hashtext(lexeme);
                UPDATE search.word_index SET next_slot = total, posted_slot = total WHERE user_id = person;
            END $$
        """
    )
    op.execute("COMMENT ON FUNCTION search.rebuild_words(uuid) IS 'Index all passages of a user anew.'")
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.add_words(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                taken int := cardinality(ids);
                next int;
                posted int;
            BEGIN
                IF coalesce(taken, 0) = 0 THEN
                    RETURN;
                END IF;
                INSERT INTO search.word_index AS w (user_id, next_slot, posted_slot) VALUES (person, taken, 0)
                ON CONFLICT (user_id) DO UPDATE SET next_slot = w.next_slot + taken
                RETURNING next_slot, posted_slot INTO next, posted;
                IF next > 16777216 THEN
                    PERFORM search.rebuild_words(person);
                    RETURN;
                END IF;
                WITH added AS (
                    INSERT INTO search.passage_features (user_id, passage_id, slot, unit, source_id, conversation_id, place,
                        role, author, created_at, length, asked_length, asked)
                    SELECT person, p.id, next - taken - 1 + row_number() OVER (ORDER BY m.conversation_id, m.position, p.source_id,
                        p.ordinal, p.id), p.unit, p.source_id, m.conversation_id, (m.position::bigint << 16) + p.ordinal,
                        coalesce(m.role, ''), coalesce(p.author, ''), p.created_at, least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(p.text_search) w)),
                        least(1023, (SELECT coalesce(sum(cardinality(w.positions)), 0) FROM unnest(q.asked) w)), q.asked
                    FROM (SELECT DISTINCT i FROM unnest(ids) i) i CROSS JOIN LATERAL (
                        SELECT t.* FROM search.passages t WHERE t.user_id = person AND t.id = i.i AND NOT EXISTS (
                            SELECT FROM search.passage_features o
                            WHERE o.user_id = person AND o.passage_id = t.id OFFSET 0) OFFSET 0
                    ) p
                    LEFT JOIN LATERAL (
                        SELECT o.conversation_id, o.position, o.role FROM carmenta.messages o
                        WHERE o.user_id = person AND o.id = p.message_id OFFSET 0
                    ) m ON true
                    LEFT JOIN LATERAL (
            SELECT search.asked_lexemes(b.language, b.content) AS asked FROM carmenta.messages b
            WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
            AND b.deleted_at IS NULL ORDER BY b.position DESC, b.id DESC LIMIT 1) q ON true
                    WHERE p.user_id = person AND p.unit IN ('turn', 'memory', 'section')
                    RETURNING unit, role, author, length, asked_length
                )
                INSERT INTO search.lexical_statistics AS t (user_id, unit, role, author, passages, length, asked_length)
                SELECT person, unit, role, author, count(*), sum(length), sum(asked_length) FROM added GROUP BY 2, 3, 4
                ON CONFLICT (user_id, unit, role, author) DO UPDATE SET passages = t.passages + excluded.passages,
                    length = t.length + excluded.length, asked_length = t.asked_length + excluded.asked_length;
                IF next - posted >= 128 THEN
                    PERFORM search.merge_words(person);
                END IF;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.add_words(uuid, uuid[]) IS 'Index passages; those that are indexed stay as they are.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.remove_words(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                posted int;
                word text;
                place int;
                slots int[];
                lost int[];
            BEGIN
                SELECT posted_slot INTO posted FROM search.word_index WHERE user_id = person FOR UPDATE;
                IF NOT FOUND THEN
                    RETURN;
                END IF;
                FOR word, place, slots IN
                    SELECT k.lexeme, r.first_slot, array_agg(k.slot) FROM (
                        SELECT f.slot, w.lexeme FROM unnest(ids) i CROSS JOIN LATERAL (
                            SELECT o.* FROM search.passage_features o WHERE o.user_id = person AND o.passage_id = i OFFSET 0
                        ) f CROSS JOIN LATERAL (
                    SELECT t.text_search FROM search.passages t WHERE t.user_id = person AND t.id = f.passage_id OFFSET 0
                ) p
                        CROSS JOIN LATERAL (SELECT lexeme FROM unnest(p.text_search) UNION SELECT lexeme FROM unnest(f.asked)) w
                        WHERE f.slot < posted
                    ) k CROSS JOIN LATERAL (
                        SELECT t.first_slot FROM search.postings t
                        WHERE t.user_id = person AND t.lexeme = k.lexeme AND t.first_slot <= k.slot
                        ORDER BY t.first_slot DESC LIMIT 1
                    ) r GROUP BY 1, 2
                LOOP
                    UPDATE search.postings SET entries =
                        ARRAY(SELECT e FROM unnest(entries) e WHERE (e >> 38) <> ALL (slots))
                    WHERE user_id = person AND lexeme = word AND first_slot = place
                    AND cardinality(entries) > cardinality(slots);
                    IF NOT FOUND THEN
                        DELETE FROM search.postings WHERE user_id = person AND lexeme = word AND first_slot = place;
                    END IF;
                END LOOP;
                lost := ARRAY(SELECT f.slot FROM search.passage_features f
                    WHERE f.user_id = person AND f.passage_id = ANY (ids) AND f.slot < posted AND NOT EXISTS (
                        SELECT FROM search.passages p WHERE p.user_id = person AND p.id = f.passage_id));
                IF cardinality(lost) > 0 THEN
                    UPDATE search.postings t SET entries =
                        ARRAY(SELECT e FROM unnest(t.entries) e WHERE (e >> 38) <> ALL (lost))
                    WHERE user_id = person AND first_slot <= (SELECT max(s) FROM unnest(lost) s)
                    AND EXISTS (SELECT FROM unnest(t.entries) e WHERE (e >> 38) = ANY (lost));
                    DELETE FROM search.postings WHERE user_id = person AND cardinality(entries) = 0;
                END IF;
                WITH gone AS (
                    DELETE FROM search.passage_features WHERE user_id = person AND passage_id = ANY (ids)
                    RETURNING unit, role, author, length, asked_length
                )
                UPDATE search.lexical_statistics s SET passages = s.passages - g.passages, length = s.length - g.length,
                    asked_length = s.asked_length - g.asked_length
                FROM (SELECT unit, role, author, count(*) AS passages, sum(length) AS length, sum(asked_length) AS asked_length
                    FROM gone GROUP BY unit, role, author) g
                WHERE s.user_id = person AND s.unit = g.unit AND s.role = g.role AND s.author = g.author;
                DELETE FROM search.lexical_statistics WHERE user_id = person AND passages = 0;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.remove_words(uuid, uuid[]) IS 'Take passages out of the index: in constant time before they are deleted, by one look through the words of the user afterwards.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.answers_to(person uuid, ids uuid[]) RETURNS uuid[]
            LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            BEGIN
                -- looked up one by one: joined as the planner sees fit, all of the user's features would be read
                RETURN (SELECT coalesce(array_agg(DISTINCT a.passage_id), '{}') FROM unnest(ids) i CROSS JOIN LATERAL (
                    SELECT o.conversation_id, o.place >> 16 AS position FROM search.passage_features o
                    WHERE o.user_id = person AND o.passage_id = i OFFSET 0
                ) f CROSS JOIN LATERAL (
                    SELECT n.place >> 16 AS position FROM search.passage_features n
                    WHERE n.user_id = person AND n.conversation_id = f.conversation_id AND n.place >= (f.position + 1) << 16
                    ORDER BY n.place LIMIT 1
                ) next CROSS JOIN LATERAL (
                    SELECT o.passage_id FROM search.passage_features o
                    WHERE o.user_id = person AND o.conversation_id = f.conversation_id
                    AND o.place >= next.position << 16 AND o.place < (next.position + 1) << 16 OFFSET 0
                ) a WHERE a.passage_id <> ALL (ids));
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.answers_to(uuid, uuid[]) IS 'The indexed passages of the messages that follow.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.index_answers(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                changed uuid[];
            BEGIN
                IF coalesce(cardinality(ids), 0) = 0 THEN
                    RETURN;
                END IF;
                PERFORM FROM search.word_index WHERE user_id = person FOR UPDATE;
                changed := ARRAY(SELECT f.passage_id FROM search.passage_features f CROSS JOIN LATERAL (
                        SELECT o.conversation_id, o.position FROM carmenta.messages o
                        WHERE o.user_id = person AND o.id = f.source_id OFFSET 0
                    ) m LEFT JOIN LATERAL (
            SELECT search.asked_lexemes(b.language, b.content) AS asked FROM carmenta.messages b
            WHERE b.user_id = person AND b.conversation_id = m.conversation_id AND b.position < m.position
            AND b.deleted_at IS NULL ORDER BY b.position DESC, b.id DESC LIMIT 1) q ON true
                    WHERE f.user_id = person AND f.passage_id = ANY (ids) AND f.asked IS DISTINCT FROM q.asked);
                IF cardinality(changed) > 0 THEN
                    PERFORM search.remove_words(person, changed);
                    PERFORM search.add_words(person, changed);
                END IF;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.index_answers(uuid, uuid[]) IS 'Index anew those of these passages whose message before asks something else now.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION search.index_words(person uuid, ids uuid[]) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
            BEGIN
                PERFORM search.add_words(person, ids);
                PERFORM search.index_answers(person, search.answers_to(person, ids));
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION search.index_words(uuid, uuid[]) IS 'Index passages, and anew the answers to what they ask.'
        """
    )
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


def downgrade() -> None:
    op.execute("DROP FUNCTION search.index_words(uuid, uuid[])")
    op.execute("DROP FUNCTION search.index_answers(uuid, uuid[])")
    op.execute("DROP FUNCTION search.answers_to(uuid, uuid[])")
    op.execute("DROP FUNCTION search.remove_words(uuid, uuid[])")
    op.execute("DROP FUNCTION search.add_words(uuid, uuid[])")
    op.execute("DROP FUNCTION search.rebuild_words(uuid)")
    op.execute("DROP FUNCTION search.merge_words(uuid)")
    op.execute("DROP FUNCTION search.unmerged_words(uuid, text[])")
    op.execute("DROP FUNCTION search.asked_lexemes(text, text)")
    op.execute("DROP TABLE search.word_index")
    op.execute("DROP TABLE search.postings")
    op.execute("DROP TABLE search.passage_features")
    op.execute("DROP TABLE search.lexical_statistics")

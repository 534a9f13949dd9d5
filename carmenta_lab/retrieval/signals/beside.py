"""CTEs that several signals read: the neighbours of the candidates, and how well each token is matched."""

VISIBLE = "(n.created_at IS NULL OR n.created_at <= :asked_at)"

BESIDE = f"""
    beside AS MATERIALIZED (
        SELECT c.passage_id, b.passage_id AS before, a.passage_id AS after FROM candidate c
        LEFT JOIN LATERAL (
            SELECT n.passage_id FROM carmenta.passage_features n WHERE n.user_id = :user_id
            AND n.conversation_id = c.conversation_id AND n.place < (c.place >> 16) << 16 AND {VISIBLE}
            ORDER BY n.place DESC LIMIT 1
        ) b ON true
        LEFT JOIN LATERAL (
            SELECT n.passage_id FROM carmenta.passage_features n WHERE n.user_id = :user_id
            AND n.conversation_id = c.conversation_id AND n.place >= ((c.place >> 16) + 1) << 16 AND {VISIBLE}
            ORDER BY n.place LIMIT 1
        ) a ON true
    ),"""
"""The last passage of the message before, and the first of the message after."""

MATCHED = """
    token AS MATERIALIZED (
        SELECT t.n, t.code, coalesce(sqrt(ln(1 + (s.n - d.df + .5) / (d.df + .5))), 0) AS weight
        FROM unnest(:codes, :code_words) WITH ORDINALITY t (code, word, n)
        CROSS JOIN (
            SELECT coalesce(sum(passages), 0)::float8 AS n FROM carmenta.lexical_statistics WHERE user_id = :user_id
        ) s
        LEFT JOIN LATERAL (
            SELECT coalesce(max(cardinality(p.entries)), 0)::float8 AS df
            FROM unnest(tsvector_to_array(to_tsvector(CAST(:config AS regconfig), t.word))) w (lexeme)
            LEFT JOIN carmenta.postings p ON p.user_id = :user_id AND p.lexeme = w.lexeme
            HAVING count(*) > 0
        ) d ON true
    ), asking AS MATERIALIZED (
        SELECT n, code, weight / sum(weight) OVER () AS weight FROM token WHERE weight > 0
    ), matched AS MATERIALIZED (
        SELECT c.passage_id, c.conversation_id, c.place, a.n, a.weight, (
            SELECT cos(pi() * min(x.code <~> a.code) / 384) FROM (SELECT unnest(k.codes || q.question_codes) AS code) x
        ) AS likeness
        FROM candidate c LEFT JOIN beside b ON b.passage_id = c.passage_id
        JOIN carmenta.token_codes k ON k.user_id = :user_id AND k.passage_id = c.passage_id
        LEFT JOIN carmenta.token_codes q ON q.user_id = :user_id AND q.passage_id = b.before
        CROSS JOIN asking a
    ),"""
"""How near the nearest token of a candidate, or of the question it answers, comes to each token of the query."""

CTES = {"beside": BESIDE, "matched": MATCHED}

"""Which words of a text are searched, and which does a question ask for? SQL functions that cut both alike."""

from carmenta_lab.schema.cutting import KEPT, PURE, SHORT, TEXTS, VECTOR, function
from carmenta_lab.schema.identifiers import PRODUCT
from carmenta_lab.schema.letters import AND_BLANK, GROUPED, HYPHEN, HYPHENS, LETTER, NUMBER, PART, SEAM

_PHRASE = VECTOR.replace("to_tsvector", "phraseto_tsquery")

FUNCTIONS: tuple[str, ...] = (
    *TEXTS,
    *function(
        "words_joined",
        "words tsvector, operator text",
        "tsquery",
        """
    BEGIN
        RETURN coalesce((
            SELECT string_agg('(' || part || ')', operator) FROM (
                SELECT string_agg('''' || replace(replace(w, '\\', '\\\\'), '''', '''''') || '''', operator) AS part
                FROM (
                    SELECT lexeme AS w, (row_number() OVER (ORDER BY positions[1], lexeme) - 1) / 256 AS n
                    FROM unnest(words) ORDER BY positions[1], lexeme LIMIT 1024
                ) numbered GROUP BY n ORDER BY n
            ) parts), '')::tsquery;
    END """,
        "The first 1,024 words joined by | or &: for each of them ts_rank_cd takes 64 kB for every row that it ranks.",
    ),
    *function(
        "any_word",
        "language text, content text",
        "tsquery",
        f"RETURN {PRODUCT}.words_joined({PRODUCT}.lexemes(language, content), '|')",
        "Whether a text has one of the words of a question of any length.",
        "sql",
    ),
    *function(
        "phrase",
        "language text, content text",
        "tsquery",
        f"RETURN {_PHRASE}",
        "Words between blanks that follow one another.",
        "sql",
    ),
    *function(
        "forms",
        "language text, word text",
        "tsquery",
        f"""
    DECLARE
        core text := btrim(word, '.,;:!?()[]{{}}<>*~#$&@+-''`|^=_' || chr(37));
        found tsquery := {PRODUCT}.phrase(language, {PRODUCT}.spaced(word));
        number text := substring(core, '{NUMBER}');
    BEGIN
        IF core ~ '/' THEN
            RETURN {PRODUCT}.words_joined({PRODUCT}.stems(language, {PRODUCT}.spaced(core)), '&');
        ELSIF core ~ '^[{LETTER}0-9]+(?:[{HYPHEN}][{LETTER}0-9]+)*$' THEN
            IF core ~ '[{HYPHEN}]' THEN
                found := found || {PRODUCT}.phrase(language, translate(core, {HYPHENS}, ''));
            END IF;
            IF core ~ '{SEAM}' THEN
                found := found || {PRODUCT}.phrase(
                    language, regexp_replace({PRODUCT}.spaced(core), '{PART}', '{AND_BLANK}', 'g'));
            END IF;
        ELSIF number IS NOT NULL AND core ~ '^[A-Za-z]?{NUMBER}$' THEN
            number := replace(regexp_replace(number, '{GROUPED}', '', 'g'), ',', '.');
            found := found || {PRODUCT}.phrase(language, number);
        END IF;
        RETURN found;
    END """,
        "One word of a folded question in the forms that a text may have: whole, in parts, joined.",
    ),
    *function(
        "websearch",
        "language text, content text",
        "tsquery",
        f"""
    DECLARE
        one text := {PRODUCT}.composed({SHORT});
        plain text := {PRODUCT}.folded(language, one);
        kept text := {KEPT};
        either tsquery := '';
        every tsquery := '';
        found tsquery;
        m text[];
    BEGIN
        IF octet_length(plain) > 8000 THEN  -- nobody writes that much syntax
            RETURN {PRODUCT}.words_joined({PRODUCT}.stems(language, {PRODUCT}.fitting({PRODUCT}.spaced(plain))),
                CASE WHEN plain ~* '\\yor\\y' THEN '|' ELSE '&' END);
        END IF;
        FOR m IN SELECT * FROM regexp_matches(plain, '(-?)"([^"]*)"|([^\\s"]+)', 'g') LOOP
            IF lower(m[3]) = 'or' THEN
                either := either || every;
                every := '';
                CONTINUE;
            ELSIF m[3] IS NOT NULL THEN
                found := {PRODUCT}.forms(language, m[3]);
            ELSE
                found := {PRODUCT}.phrase(language, {PRODUCT}.spaced(m[2]));
                IF m[2] ~ '{SEAM}' THEN
                    found := found || {PRODUCT}.phrase(
                        language, {PRODUCT}.spaced(regexp_replace(m[2], '{PART}', '{AND_BLANK}', 'g')));
                END IF;
            END IF;
            every := every && CASE WHEN m[1] = '-' OR m[3] ~ '^-[^-]' THEN !!found ELSE found END;
        END LOOP;
        IF kept IS NOT NULL AND one ~ '[^\\u0001-\\u007f]' THEN
            FOR m IN SELECT * FROM regexp_matches(one, kept, 'gi') LOOP
                every := every && {PRODUCT}.phrase(language, m[1]);
            END LOOP;
        END IF;
        RETURN either || every;
    END """,
        "A question in the syntax of web searches (all words, phrases in quotes, or, -not), its words cut as in texts.",
    ),
)

ASKED = f"""
CREATE OR REPLACE FUNCTION search.asked_lexemes(language text, content text) RETURNS tsvector
    LANGUAGE sql {PURE}
    RETURN CASE WHEN content ~ '[?？؟]' THEN {PRODUCT}.lexemes(language, (
        SELECT string_agg(s, ' ') FROM string_to_table(
            regexp_replace(left(content, 20000), '[.!。！\\n]|([?？؟])', E'\\\\1\\n', 'g'), E'\\n') s
        WHERE s ~ '[?？؟]$'
    )) END
"""
"""The words of the sentences that end in a question mark, of the first 20,000 characters; null where there is none."""

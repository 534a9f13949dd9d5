"""How is a text cut into the words people really write? SQL functions, linear in its length."""

from carmenta_lab.schema.identifiers import PRODUCT
from carmenta_lab.schema.letters import (
    AND_BLANK,
    BESIDE,
    CUTTING,
    FOLDED,
    GROUPED,
    HYPHEN,
    HYPHENS,
    INDEXED_CHARACTERS,
    JOINERS,
    LANGUAGES,
    LATIN,
    LETTER,
    LETTERS,
    NON_STARTERS,
    NOT_STOP,
    NUMBER,
    PART,
    PLAIN,
    SEAM,
    SEAMED,
    SPECIAL,
    STOP,
    UNSPACED,
)

_SAFE = "SET search_path = pg_catalog, pg_temp"
_STEPS = ("composed", "folded", "spaced", "other_words", "fitting", "cut", "forms")
PURE = "IMMUTABLE PARALLEL SAFE"


def _cases(rows: dict[str, str], rest: str) -> str:
    return f"CASE language {' '.join(f'WHEN {code!r} THEN {value}' for code, value in rows.items())} ELSE {rest} END"


def _replaced(what: str, by: dict[str, str]) -> str:
    for letter, letters in by.items():
        what = f"replace({what}, '{letter}', '{letters}')"
    return what


def _found(what: str, text: str, pattern: str) -> str:
    """The matches of a pattern that are not endless, each made into something, joined by blanks."""
    return (
        f"(SELECT string_agg({what}, ' ') FROM regexp_matches({text}, '({pattern})', 'g') m WHERE length(m[1]) <= 64)"
    )


_STOP_PATTERN = _cases({code: f"'\\m({words})\\M'" for code, (_, words) in STOP.items()}, "NULL")
_STOP_WORD = _cases({code: f"'{word}'" for code, (word, _) in STOP.items()}, "NULL")
KEPT = _cases({code: f"'\\m({words})\\M'" for code, words in NOT_STOP.items()}, "NULL")
_CONFIGURED = "to_tsvector('pg_catalog.{}'::pg_catalog.regconfig, content)"
VECTOR = _cases({code: _CONFIGURED.format(name) for code, name in LANGUAGES.items()}, _CONFIGURED.format("simple"))
SHORT = (
    f"CASE WHEN octet_length(content) <= {INDEXED_CHARACTERS} THEN content ELSE left(content, {INDEXED_CHARACTERS}) END"
)


def function(name: str, arguments: str, returns: str, body: str, comment: str, language: str = "plpgsql") -> list[str]:
    """Statements that make a function, or replace it.

    Those that others call pin the search path; the steps between run under it, since setting it takes longer than most.
    """
    types = ", ".join(argument.split()[1] for argument in arguments.split(", "))
    safe = "" if name in _STEPS else f" {_SAFE}"
    rest = f"sql {PURE}\n    {body}" if language == "sql" else f"plpgsql {PURE}{safe} AS $${body}$$"
    return [
        f"CREATE OR REPLACE FUNCTION {PRODUCT}.{name}({arguments}) RETURNS {returns}\n    LANGUAGE {rest}",
        f"COMMENT ON FUNCTION {PRODUCT}.{name}({types}) IS '{comment}'",
    ]


TEXTS: tuple[str, ...] = (
    *function(
        "composed",
        "content text",
        "text",
        f"""
    DECLARE
        t text := content;
    BEGIN
        IF t ~ '[^{PLAIN}{LATIN}]' THEN
            IF t ~ '[{NON_STARTERS}]{{24}}' THEN  -- putting n of them in order takes a time of n * n
                t := regexp_replace(t, '([{NON_STARTERS}]{{24}})[{NON_STARTERS}]+', '\\1', 'g');
            END IF;
            t := normalize(regexp_replace(t, '[{JOINERS}]+', '', 'g'), NFKC);
        END IF;
        RETURN t;
    END """,
        "A text in the form NFKC, without joiners and soft hyphens.",
    ),
    *function(
        "folded",
        "language text, content text",
        "text",
        f"""
    DECLARE
        stop_words text;
        t text := content;
    BEGIN
        IF t !~ '[^{PLAIN}]' THEN
            RETURN t;
        END IF;
        stop_words := {_STOP_PATTERN};
        IF stop_words IS NOT NULL THEN
            t := regexp_replace(t, stop_words, {_STOP_WORD}, 'gi');
        END IF;
        t := regexp_replace(normalize(t, NFKD), '[{FOLDED}]+', '', 'g');
        IF t ~ '[^{PLAIN}{LATIN}\\u0370-\\u05ff]' THEN
            t := normalize(t, NFKC);
        END IF;
        IF t ~ '[{"".join(LETTERS)}]' THEN
            t := {_replaced("t", LETTERS)};
        END IF;
        RETURN t;
    END """,
        "A composed text without accents; stop words with accents have become one without.",
    ),
    *function(
        "spaced",
        "content text",
        "text",
        f"""
    DECLARE
        t text := content;
    BEGIN
        IF t ~ '[0-9][.,''][0-9]{{3}}' THEN
            t := regexp_replace(t, '{GROUPED}', '', 'g');
        END IF;
        t := regexp_replace(t, '{CUTTING}', ' ', 'g');
        IF t ~ '[{UNSPACED}]' THEN
            t := regexp_replace(t, '{BESIDE}', ' ', 'g');
            t := regexp_replace(t, '(?<=[{UNSPACED}])([{UNSPACED}])(?=[{UNSPACED}])', '\\1 \\1', 'g');
        END IF;
        RETURN t;
    END """,
        "A folded text with blanks between its words; scripts without blanks in pairs of characters.",
    ),
    *function(
        "other_words",
        "language text, composed text, folded text",
        "text",
        f"""
    DECLARE
        kept text := {KEPT};
        found text := '';
    BEGIN
        IF folded ~ '[0-9][.,''][0-9]' THEN
            found := concat_ws(' ', found,
                {_found("replace(m[1], ',', '.')", f"regexp_replace(folded, '{GROUPED}', '', 'g')", NUMBER)},
                {_found("translate(m[1], '.,''', '   ')", "folded", "[0-9]+(?:[.,''][0-9]{3})+")});
        END IF;
        IF folded ~ '{SEAM}' THEN
            found := concat_ws(' ', found,
                {_found(f"regexp_replace(m[1], '{PART}', '{AND_BLANK}', 'g')", "folded", SEAMED)});
        END IF;
        IF folded ~ '[{LETTER}0-9][{HYPHEN}][{LETTER}0-9]' THEN
            found := concat_ws(' ', found,
                {_found(f"translate(m[1], {HYPHENS}, '')", "folded", f"[{LETTER}0-9]+(?:[{HYPHEN}][{LETTER}0-9]+)+")});
        END IF;
        IF kept IS NOT NULL AND composed ~ '[^\\u0001-\\u007f]' THEN
            found := concat_ws(' ', found,
                (SELECT string_agg(m[1], ' ') FROM regexp_matches(composed, kept, 'gi') m));
        END IF;
        RETURN found;
    END """,
        "What is searched beside the words of a text: parts of words, words joined, whole numbers.",
    ),
    *function(
        "fitting",
        "content text",
        "text",
        """
    DECLARE
        t text := content;
    BEGIN
        WHILE octet_length(t) > 250000 AND (
            SELECT sum(octet_length(w) + 6 + 2 * n) FROM (SELECT w, count(*) AS n
            FROM string_to_table(regexp_replace(t, '\\W+', ' ', 'g'), ' ') w GROUP BY w) every
        ) > 1000000 LOOP
            t := left(t, length(t) * 3 / 4);
        END LOOP;
        RETURN t;
    END """,
        "As much of a text as a tsvector holds: 1 MB of words, each with its length and two bytes a position.",
    ),
    *function(
        "cut",
        "language text, content text",
        "text",
        f"""
    DECLARE
        one text := {PRODUCT}.composed({SHORT});
        plain text := {PRODUCT}.folded(language, one);
        words text := {PRODUCT}.spaced(plain) || ' ' || {PRODUCT}.other_words(language, one, plain);
    BEGIN
        RETURN CASE WHEN octet_length(words) > 250000 THEN {PRODUCT}.fitting(words) ELSE words END;
    END """,
        "A text as the parser is given it: its words between blanks, then what is searched beside them.",
    ),
    *function(
        "stems",
        "language text, content text",
        "tsvector",
        f"RETURN {VECTOR}",
        "The words between blanks of a text, without stop words and endings.",
        "sql",
    ),
    *function(
        "cut_lexemes",
        "language text, content text",
        "tsvector",
        f"""
    DECLARE
        words text := {PRODUCT}.cut(language, content);
    BEGIN
        RETURN {PRODUCT}.stems(language, words);
    END """,
        "The words of any text.",
    ),
    *function(
        "lexemes",
        "language text, content text",
        "tsvector",
        f"""RETURN CASE WHEN octet_length(content) > {INDEXED_CHARACTERS} OR content ~ '{SPECIAL}'
        THEN {PRODUCT}.cut_lexemes(language, content) ELSE {PRODUCT}.stems(language, content) END""",
        "The words of a text or a question as they are searched; the parser alone cuts plain sentences.",
        "sql",
    ),
)

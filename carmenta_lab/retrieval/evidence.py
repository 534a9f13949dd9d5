"""Candidates by meaning and by words, then a weighted sum of signals: fixed weights, no training, one statement."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Literal, TypeAlias, cast

from sqlalchemy import BindParameter, Double, Select, bindparam, column, select, text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.retrieval.bm25 import BM25, COLUMNS, entries_of, lexemes, ranked, rows_at_most, share
from carmenta_lab.retrieval.retriever import (
    LIMIT,
    AtLeast,
    Limit,
    Need,
    SqlRetriever,
    Variant,
)
from carmenta_lab.retrieval.signals.signal import ALWAYS, CARRIED, PARAMETERS, Parameter, Signal, check
from carmenta_lab.retrieval.vector import VectorSearch, vectors_of
from carmenta_lab.schema.search.lexical import passage_features
from carmenta_lab.schema.search.passages import TOKEN_BITS, token_codes

Search: TypeAlias = Literal["vectors", "words"]

VECTORS, WORDS, LINK = "vector candidates", "word candidates", "memory link"
"""Parts that are no signals."""

LOOKED_AT = 50
"""How many of the best are compared with each other for near-duplicates."""
PUSHED = 10
"""What a near-duplicate loses: more than all signals together give."""

BELOW = 1e-6
"""How far a superseded memory stays below its successor at the least."""

FOUND: Mapping[Search, str] = {
    "vectors": "SELECT passage_id, source_id, unit, score AS nearness, NULL::float8 AS words FROM nearest",
    "words": "SELECT passage_id, source_id, unit, NULL::float8 AS nearness, score AS words FROM worded",
}
"""What each search contributes; one that is not named is not run."""

BESIDE = """
    LEFT JOIN LATERAL (
        SELECT (SELECT n.passage_id FROM search.passage_features n WHERE n.user_id = :user_id
            AND n.conversation_id = candidate.conversation_id AND n.place < (candidate.place >> 16) << 16
            AND (n.created_at IS NULL OR n.created_at <= :asked_at) ORDER BY n.place DESC LIMIT 1) AS before,
        (SELECT n.passage_id FROM search.passage_features n WHERE n.user_id = :user_id
            AND n.conversation_id = candidate.conversation_id AND n.place >= ((candidate.place >> 16) + 1) << 16
            AND (n.created_at IS NULL OR n.created_at <= :asked_at) ORDER BY n.place LIMIT 1) AS after
        OFFSET 0
    ) beside ON true"""
"""The last passage of the message before, and the first of the message after."""

CODES = """
    LEFT JOIN LATERAL (
        SELECT o.codes || (SELECT q.question_codes FROM search.token_codes q
            WHERE q.user_id = :user_id AND q.passage_id = beside.before) AS codes
        FROM search.token_codes o WHERE o.user_id = :user_id AND o.passage_id = candidate.passage_id LIMIT 1
    ) k ON true"""
"""The candidate's token codes, and those of the questions it answers."""

TOKENS = """
    spelled AS MATERIALIZED (
        SELECT array_agg(DISTINCT l) AS lexemes FROM unnest(:code_words) t (word) CROSS JOIN unnest({lexemes}) l
    ), used AS MATERIALIZED (
        SELECT lexemes[n] AS lexeme, sum(cardinality(entries))::float8 AS df
        FROM ({entries}) every CROSS JOIN spelled GROUP BY 1
    ), token AS MATERIALIZED (
        SELECT t.n, t.code, sqrt(ln(1 + (s.n - d.df + .5) / (d.df + .5))) AS rarity
        FROM unnest(:codes, :code_words) WITH ORDINALITY t (code, word, n)
        CROSS JOIN (
            SELECT coalesce(sum(passages), 0)::float8 AS n FROM search.lexical_statistics WHERE user_id = :user_id
        ) s
        CROSS JOIN LATERAL (
            SELECT min(coalesce(u.df, 0)) AS df FROM unnest({lexemes}) w (lexeme) LEFT JOIN used u USING (lexeme)
        ) d WHERE d.df IS NOT NULL
    ), spread AS MATERIALIZED (
        SELECT {own}, t.n, t.weight,
            (SELECT cos(pi() * min(x.code <~> t.code) / {bits}) FROM (SELECT unnest(c.codes) AS code) x) AS likeness
        FROM looked c LEFT JOIN (SELECT n, code, rarity / sum(rarity) OVER () AS weight FROM token) t ON true
    ), around AS MATERIALIZED (
        SELECT *, max(likeness) OVER (PARTITION BY n, coalesce(conversation_id, passage_id)
            ORDER BY coalesce(place >> 16, 0) RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS around FROM spread
    ), gathered AS MATERIALIZED (SELECT {own}, {late} FROM around GROUP BY {own}),"""
"""How near the nearest token of each candidate comes to each token of the question that is no stop word."""


_OF_TOKENS: tuple[Parameter, ...] = ("language", "codes", "code_words")
"""Parameters of that part."""


@dataclass(frozen=True)
class Evidence(SqlRetriever):
    """Rank by a weighted sum of signals over the candidates of a vector search and of BM25.

    Each finds `depth` candidates, or as many as hits are wanted, the vector search through its index where it has one
    and the user's vectors are many: the route says so. The messages from which found memories were learned join them.
    A memory and its message lift each other; a superseded memory stands below its successor; of the first 50, one
    that says nearly the same as a better one of its unit goes to the end.
    """

    signals: tuple[Signal, ...]
    vector: VectorSearch = field(default_factory=VectorSearch)
    words: BM25 = field(default_factory=lambda: BM25(view="answer"))
    depth: int = 60  # candidates of each search
    searches: tuple[Search, ...] = ("vectors", "words")  # which of the two find candidates
    near: float = 0.02  # cosine distance within which two passages say nearly the same; 0 keeps both in place
    link: float = 0.5  # how far a memory and its message lift each other: the share of what the other is better

    def __post_init__(self) -> None:
        """Refuse what one statement cannot hold."""
        check(self.signals)

    @property
    def units(self) -> tuple[str, ...]:
        """The units that the vector search and BM25 search."""
        return tuple(dict.fromkeys((*self.vector.units, *self.words.units)))

    @property
    def model(self) -> str:
        """The embedding model whose vectors are compared."""
        return self.vector.model

    @cached_property
    def needs(self) -> frozenset[Need]:
        """The question read, and the codes of its tokens where a signal compares them."""
        read: frozenset[Need] = frozenset({"vector", "question"})
        return read | {"tokens"} if any(signal.stage == "tokens" for signal in self.signals) else read

    def route(self, session: Session, query: Query) -> str:
        """The vector search's; UsageError when the user's passages have no token codes and a signal needs them."""
        if "tokens" in self.needs:
            some = [
                select(t.c.passage_id).where(t.c.user_id == query.user_id).limit(1).exists()
                for t in (passage_features, token_codes)
            ]
            if tuple(session.execute(select(*some)).one()) == (True, False):
                raise UsageError(
                    "this user's passages have no token codes: load the dataset with a strategy that needs them "
                    "(carmenta-lab load FOLDER --tokens), or search with evidence_lean."
                )
        return self.vector.route(session, query)

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """One SELECT: candidates, signals, sum."""
        return cast("Select[Any]", _statement(self, route, limit))

    def settings(self, route: str) -> Mapping[str, str]:
        """The settings of the vector search; an exact search keeps one plan, as planning takes as long as searching."""
        return {"plan_cache_mode": "force_generic_plan"} | dict(self.vector.settings(route))

    def variants(self) -> Mapping[str, Variant]:
        """Retrievers without one signal, without all that compare tokens, without either search, without the link.

        Where the best of the conversation was that of a signal switched off, it becomes that of the heaviest one left;
        it goes with it where none is left. One signal and one search stay at the least.
        """
        found = {}
        tokens = [signal for signal in self.signals if signal.stage == "tokens"]
        groups = {signal.name: [signal] for signal in self.signals}
        if len(tokens) > 1:
            groups["all of tokens"] = tokens
        for name, gone in groups.items():
            kept, note = _mended([signal for signal in self.signals if signal not in gone])
            if kept:
                found[name] = Variant(replace(self, signals=tuple(kept)), note)
        if len(self.searches) > 1:
            found[VECTORS] = Variant(replace(self, searches=("words",)), "candidates by words alone")
            found[WORDS] = Variant(replace(self, searches=("vectors",)), "candidates by vectors alone")
        if self.link:
            found[LINK] = Variant(replace(self, link=0.0))
        return found

    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The tables that the signals and the two searches read."""
        names = [signal.name for signal in self.signals]
        tokens = tuple(signal.name for signal in self.signals if signal.stage == "tokens")
        near = [VECTORS] * ("vectors" in self.searches) + [name for name in names if name in ("nearness", "context")]
        own = [name for name in names if name in ("conversation", "speaker", "speaking", "dates")]
        words = [WORDS] * ("words" in self.searches) + [f"rarity of words in {name}" for name in tokens[:1]]
        found = {
            vectors_of(self.model).name: tuple(near),
            "token_codes": tokens,
            "postings": tuple(words),
            "passage_features": (*own, "neighbours", "visibility"),
        }
        return {table: parts for table, parts in found.items() if parts}


def _mended(kept: list[Signal]) -> tuple[list[Signal], str]:
    """The signals, each that reads another reading one that is there, and what was changed."""
    others = [signal for signal in kept if signal.reads is None]
    mended: list[Signal] = []
    note = ""
    for signal in kept:
        if signal.reads is not None and signal.reads not in {other.name for other in others}:
            if not others:
                note = f"{signal.name} went with it"
                continue
            signal = signal.reading(max(others, key=lambda other: other.weight).name)
            note = f"{signal.name} is that of {signal.reads}"
        mended.append(signal)
    return mended, note


@cache
def _statement(retriever: Evidence, route: str, limit: Limit) -> Any:
    depth = AtLeast(retriever.depth)
    nearest = retriever.vector.statement(route, depth).cte("nearest")
    worded = text(ranked(retriever.words, depth, share()))
    known = worded.columns(*COLUMNS).cte("worded")
    sql = text(_sql(retriever, limit))
    used: dict[str, BindParameter[Any]] = dict(ALWAYS)
    if "tokens" in retriever.needs:
        used |= {name: PARAMETERS[name] for name in _OF_TOKENS}
    for signal in retriever.signals:
        used |= {name: PARAMETERS[name] for name in signal.parameters}
    if not isinstance(limit, int):
        used["limit"] = LIMIT
    parts = [column(prefix + signal.name, Double) for prefix in ("", "z:") for signal in retriever.signals]
    bound = sql.bindparams(*(bindparam(name, type_=p.type) for name, p in used.items()))
    return bound.columns(*COLUMNS, *parts).add_cte(nearest, known)


def _sql(retriever: Evidence, limit: Limit) -> str:
    signals, tokens = retriever.signals, "tokens" in retriever.needs
    table = f"search.{vectors_of(retriever.model).name}"
    joins = " ".join(dict.fromkeys(signal.join(table) for signal in signals if signal.join(table)))
    early = [signal for signal in signals if signal.stage == "candidate"]
    looked = "".join(f", coalesce({signal.sql()}, 0)::float8 AS {signal.name}" for signal in early)
    last = "looked"
    stages = ""
    if tokens:
        last = "gathered"
        own = ", ".join((*CARRIED, *(signal.name for signal in early)))
        late = ", ".join(f"coalesce({s.sql()}, 0)::float8 AS {s.name}" for s in signals if s.stage == "tokens")
        entries = entries_of("(SELECT lexemes FROM spelled)")
        stages = TOKENS.format(own=own, late=late, lexemes=lexemes("t.word"), entries=entries, bits=TOKEN_BITS)
    every = ", ".join(
        f"({s.sql()})::float8 AS {s.name}" if s.stage == "all" else f"candidate.{s.name}" for s in signals
    )
    total = " + ".join(f"{signal.weight} * v.{signal.name}" for signal in signals)
    parts = ", ".join(f"r.{signal.name}" for signal in signals)
    found = " UNION ALL ".join(FOUND[name] for name in retriever.searches)
    weighed = ", ".join(f'{signal.weight} * r.{signal.name} AS "z:{signal.name}"' for signal in signals)
    return f"""
    , memory AS MATERIALIZED (
        SELECT DISTINCT f.source_id, m.source_message_id, m.superseded_by
        FROM ({found}) f
        CROSS JOIN LATERAL (SELECT source_message_id, superseded_by FROM carmenta.memories k
            WHERE k.user_id = :user_id AND k.id = f.source_id LIMIT 1) m
        WHERE f.unit = 'memory'
    ), pool AS MATERIALIZED (
        SELECT passage_id, max(nearness) AS nearness, max(words) AS words FROM (
            SELECT passage_id, nearness, words FROM ({found}) f
            UNION ALL SELECT p.id, NULL, NULL FROM memory m CROSS JOIN LATERAL (
                SELECT id FROM search.passages p WHERE p.user_id = :user_id AND p.message_id = m.source_message_id
                UNION ALL
                SELECT id FROM search.passages p WHERE p.user_id = :user_id AND p.memory_id = m.superseded_by
            ) p
        ) every GROUP BY 1
    ), looked AS MATERIALIZED (
        SELECT {", ".join(f"candidate.{name}" for name in CARRIED)}{looked}{", k.codes" if tokens else ""}
        FROM pool f CROSS JOIN LATERAL (
            SELECT n.*, f.nearness, f.words, coalesce(k.source_message_id, n.source_id) AS learned, k.superseded_by
            FROM search.passage_features n LEFT JOIN carmenta.memories k
            ON n.unit = 'memory' AND k.user_id = :user_id AND k.id = n.source_id
            WHERE n.user_id = :user_id AND n.passage_id = f.passage_id
            AND (n.created_at IS NULL OR n.created_at <= :asked_at) LIMIT 1
        ) candidate {BESIDE} {CODES if tokens else ""} {joins}
    ), {stages} valued AS MATERIALIZED (
        SELECT passage_id, source_id, unit, learned, superseded_by, {every} FROM {last} candidate
    ), summed AS MATERIALIZED (SELECT v.*, {total} AS total FROM valued v),
    lifted AS MATERIALIZED (
        SELECT s.*, s.total + {retriever.link} * (max(s.total) OVER (PARTITION BY s.learned) - s.total) AS lifted
        FROM summed s
    ), ranked AS MATERIALIZED (
        SELECT r.*, CASE WHEN r.superseded_by IS NULL THEN r.lifted ELSE
            least(r.lifted, (SELECT max(s.lifted) FROM lifted s WHERE s.source_id = r.superseded_by) - {BELOW}) END
            AS score
        FROM lifted r ORDER BY score DESC, r.passage_id LIMIT {rows_at_most(limit)}
    ), placed AS MATERIALIZED (
        SELECT p.*, (SELECT e.embedding FROM {table} e WHERE p.place <= {LOOKED_AT} AND e.user_id = :user_id
            AND e.passage_id = p.passage_id) AS embedding
        FROM (SELECT r.*, row_number() OVER (ORDER BY score DESC, passage_id) AS place FROM ranked r) p
    )
    SELECT r.passage_id, r.source_id, r.unit, r.score - CASE WHEN EXISTS (
            SELECT FROM placed b WHERE b.place < r.place AND b.unit = r.unit AND b.source_id <> r.source_id
            AND (b.embedding <=> r.embedding) < {retriever.near}
        ) THEN {PUSHED} ELSE 0 END AS score, {parts}, {weighed}
    FROM placed r ORDER BY score DESC, r.passage_id"""

"""Which parts of a strategy earn their place? Each switched off in turn and held against the whole."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import pandas as pd
from sqlalchemy import text

from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation import parse
from carmenta_lab.experiment.compare import SEED, Terms, compared
from carmenta_lab.experiment.comparison import Comparison, differences
from carmenta_lab.experiment.explaining import parts_of
from carmenta_lab.experiment.named import Strategy, strategies_of
from carmenta_lab.experiment.questions import Questions, read_questions
from carmenta_lab.experiment.searching import ExecutedRun, encode, execute_in_turn
from carmenta_lab.experiment.tables import ablation_table
from carmenta_lab.postgres.connect import Database
from carmenta_lab.retrieval.retriever import Retriever, Variant


@dataclass(frozen=True)
class Ablation:
    """Tidy frames; `without` names what was switched off, differences are those to the whole strategy.

    >>> found = cl.ablate(lab, "sample_de", "hybrid_rrf", at_most=10)
    >>> found.parts("marlene-q01").columns.tolist()
    ['signal', 'raw', 'weighed']
    """

    strategy: str
    measure: str
    whole: float  # mean of the strategy as it is
    table: (
        pd.DataFrame
    )  # without, mean, difference, low, high, won, lost, tied, p, p_holm, time, note; the greatest loss first
    categories: pd.DataFrame  # without, category, difference, low, high, queries
    sizes: pd.DataFrame  # table, serves, megabytes, bytes_a_passage: of all datasets that are loaded
    comparison: Comparison = field(repr=False)  # the whole and every variant, as `compare` gives it

    def __repr__(self) -> str:
        return f"<Ablation of {self.strategy}: {self.measure} {self.whole:.3f}, {len(self.table)} parts switched off>"

    def __str__(self) -> str:
        return str(ablation_table(self))

    def _repr_html_(self) -> str:
        return ablation_table(self)._repr_html_()

    def parts(self, query_id: str, rank: int = 1) -> pd.DataFrame:
        """Each signal of one hit of the whole strategy: signal, raw, weighed (what it adds to the score).

        UsageError when it was not asked, or has no hit of that rank.
        """
        rankings = self.comparison.runs[self.strategy].run.rankings
        if query_id not in rankings:
            raise UsageError(
                f"the question {query_id!r} was not asked: give one of the {len(rankings)} of this ablation, such as "
                f"{next(iter(rankings))!r}; a smaller `at_most` asks fewer."
            )
        hits = rankings[query_id].hits
        if not 1 <= rank <= len(hits):
            raise UsageError(f"the question {query_id!r} has no hit of rank {rank}: it has {len(hits)}.")
        rows = [(part.name, part.raw, part.weighed) for part in parts_of(hits[rank - 1])]
        return pd.DataFrame(rows, columns=["signal", "raw", "weighed"])


def ablate(
    database: Database,
    dataset: str,
    strategy: Strategy = "evidence",
    measure: str = "ndcg@10",
    k: int = 10,
    seed: int = SEED,
    at_most: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Ablation:
    """Run a strategy over the judged questions of a loaded dataset, whole and without each of its parts.

    A strategy says itself which its parts are (`variants`): of a fusion what is fused; of a sum of signals the signals,
    all that read codes of single tokens together, either search for candidates, and the link between a memory and its
    message. Every question is put to all variants before the next, so that `time`, the median over the questions of a
    variant's latency to the whole's, is little moved by what else the machine does.

    Parameters:
        dataset: the name of a loaded one that has judged questions.
        strategy: a name, the path of a file, or a value.
        measure: what a part is worth in, such as "ndcg@10".
        k: hits a question, 1 to 1000, at least the depth of the measure.
        seed: of the intervals.
        at_most: so many judged questions are asked, evenly spread over their file; 0: all.
        progress: called with the number of questions answered since its last call.

    Raises:
        UsageError: for a strategy of one piece, and when `k` is below the depth of the measure.

    >>> found = cl.ablate(lab, "sample_de", "hybrid_rrf", measure="recall@10", at_most=10)
    >>> sorted(found.table.without)
    ['fulltext', 'vector']
    """
    parsed = parse(measure)
    if parsed.k is not None and parsed.k > k:
        raise UsageError(f"{parsed} looks at {parsed.k} hits and k is {k}: raise k to {parsed.k} or more.")
    [(name, whole)] = strategies_of(strategy).items()
    found = whole.variants()
    if not found:
        raise UsageError(f"{name} has no part that can be switched off: name one of several, such as evidence.")
    retrievers = {name: whole} | {part: each.retriever for part, each in found.items()}
    with database.owner_session() as session:
        questions = _spread(read_questions(session, dataset), at_most)
    encoded = encode(database, {name: whole}, questions.queries)[name]
    runs = execute_in_turn(database, retrievers, questions.queries, encoded, k, progress)
    result = compared(database, questions, retrievers, runs, Terms((parsed,), k, name, seed=seed))
    return Ablation(
        strategy=name,
        measure=str(parsed),
        whole=float(result.quality.set_index("strategy")["mean"][name]),
        table=_table(result, name, found),
        categories=_categories(result, name, seed),
        sizes=sizes(database, whole),
        comparison=result,
    )


def _spread(questions: Questions, at_most: int) -> Questions:
    """The questions, or so many of them; of those that have something relevant to be found."""
    judged = [q for q in questions.queries if any(grade > 0 for _, grade in questions.judgements[q.query_id].values())]
    if not 0 < at_most < len(judged):
        return questions
    kept = tuple(judged[place * len(judged) // at_most] for place in range(at_most))
    return replace(questions, queries=kept, judgements={q.query_id: questions.judgements[q.query_id] for q in kept})


def _table(result: Comparison, whole: str, found: Mapping[str, Variant]) -> pd.DataFrame:
    means = result.quality.set_index("strategy")["mean"]
    table = result.differences.drop(columns=["baseline", "measure"])
    table = table.rename(columns={"strategy": "without", "mean": "difference"})
    table.insert(1, "mean", table.without.map(means))
    table["time"] = [_time(result.runs[name], result.runs[whole]) for name in table.without]
    table["note"] = [found[name].note for name in table.without]
    return table.sort_values("difference", kind="stable", ignore_index=True)


def _time(variant: ExecutedRun, whole: ExecutedRun) -> float:
    return median(variant.latency_ms[query] / spent for query, spent in whole.latency_ms.items())


def _categories(result: Comparison, whole: str, seed: int) -> pd.DataFrame:
    parts = []
    for category, scores in result.scores.groupby("category", sort=False):
        part = differences(scores, whole, seed, "query")
        part = part.assign(category=category, queries=scores.query_id.nunique())
        parts.append(part.rename(columns={"strategy": "without", "mean": "difference"}))
    return pd.concat(parts, ignore_index=True)[["without", "category", "difference", "low", "high", "queries"]]


def sizes(database: Database, whole: Retriever) -> pd.DataFrame:
    """What the tables that a strategy reads take on disk, their indexes and what is stored beside rows included.

    table, serves, megabytes, bytes_a_passage; the table of texts, which every strategy needs, comes last.
    """
    serves = {table: parts for table, parts in whole.tables().items() if table != "passages"}
    serves["passages"] = (*whole.tables().get("passages", ()), "the texts themselves")
    rows = []
    with database.owner_session() as session:
        passages = max(1, session.scalar(text("SELECT count(*) FROM search.passages")) or 0)
        for table, parts in serves.items():
            size = session.scalar(text("SELECT pg_total_relation_size(:t)"), {"t": f'search."{table}"'}) or 0
            rows.append((table, ", ".join(parts), size / 1e6, size / passages))
    return pd.DataFrame(rows, columns=["table", "serves", "megabytes", "bytes_a_passage"])

"""Strategies against each other on the questions of a dataset: quality with intervals, latency, circumstances."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation import Measure, parse, score, unjudged
from carmenta_lab.experiment import comparison as frames
from carmenta_lab.experiment.circumstances import circumstances
from carmenta_lab.experiment.comparison import Comparison
from carmenta_lab.experiment.kept import EarlierRun, read_earlier, store
from carmenta_lab.experiment.named import Strategy, sent, strategies_of, title_of
from carmenta_lab.experiment.questions import Questions, read_questions
from carmenta_lab.experiment.searching import ExecutedRun, encode
from carmenta_lab.experiment.workers import run_all
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Progress
from carmenta_lab.retrieval.retriever import Retriever, kinds

__all__ = ["Comparison", "compare"]

SEED = 7


def compare(
    database: Database,
    dataset: str,
    strategies: Strategy | Sequence[Strategy],
    measures: str | Sequence[str] = ("ndcg@10", "recall@10"),
    k: int = 10,
    *,
    baseline: Strategy | None = None,
    resample: Literal["query", "user"] = "query",
    seed: int = SEED,
    keep: bool = True,
    executor: Executor | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Comparison:
    """Run strategies over the judged questions of a loaded dataset.

    Printed, the result is a table of strategies by measures, with what differs beyond chance. Deterministic but for
    latency and for what an approximate index finds.

    Parameters:
        dataset: the name of a loaded one that has judged questions.
        strategies: names, paths, values or functions, one or several.
        measures: such as "ndcg@10", "recall@10", "mrr"; the number is the depth.
        k: hits a question, 1 to 1000, at least the depth of every measure.
        baseline: what the others are paired with, the first unless another is named. The JSON file of an earlier run
            is held against this one as well, each strategy against itself (`changes`).
        resample: intervals are bootstrapped over questions, or over users (wider: they speak about other users).
        seed: of the bootstrap.
        keep: whether runs, hits and scores are stored in the lab.
        executor: runs the strategies in processes of their own; results are the same, and latency then tells how busy
            the machine was.
        progress: called with a strategy's name, the questions done since its last call, and how many there are.

    Raises:
        UsageError: when `k` is below the depth of a measure, for an unknown name, and when an earlier run does not fit.

    >>> result = cl.compare(lab, "sample_de", strategies=["vector_exact", "bm25"], measures="ndcg@10")
    >>> result.quality.columns.tolist()
    ['strategy', 'measure', 'mean', 'low', 'high']
    """
    retrievers = strategies_of(strategies)
    parsed = _checked(retrievers, [measures] if isinstance(measures, str) else measures, k)
    if resample not in ("query", "user"):
        raise UsageError(f"resample is 'query' or 'user', not {resample!r}.")
    base, earlier = _baseline(baseline, retrievers)
    if earlier is not None:
        earlier.check(dataset, list(retrievers), [str(measure) for measure in parsed], k)
    with database.owner_session() as session:
        questions = read_questions(session, dataset)
    if earlier is not None:
        earlier.check_questions(questions)
    total = len(questions.queries)
    encoded = encode(database, retrievers, questions.queries)
    given = sent(strategies, retrievers)
    runs = run_all(
        database, given, questions.queries, encoded, k, executor, lambda name, done: progress(name, done, total)
    )
    terms = Terms(tuple(parsed), k, base, resample, seed, earlier)
    result = compared(database, questions, retrievers, runs, terms)
    if keep:
        store(database, result)
    return result


@dataclass(frozen=True)
class Terms:
    """The terms on which strategies are compared."""

    measures: tuple[Measure, ...]
    k: int  # hits a question
    baseline: str  # the title of the strategy that the others are paired with
    resample: Literal["query", "user"] = "query"  # what intervals are drawn over
    seed: int = SEED
    earlier: EarlierRun | None = None  # the run that each strategy is held against as well


def compared(
    database: Database,
    questions: Questions,
    retrievers: dict[str, Retriever],
    runs: dict[str, ExecutedRun],
    terms: Terms,
) -> Comparison:
    """The comparison of retrievers, given by title, that have run over the same questions."""
    scores = _scores(runs, retrievers, questions, terms.measures)
    everything = questions.qrels({"message", "memory", "document"})
    configs = {name: repr(retriever) for name, retriever in retrievers.items()}
    resample, seed, earlier = terms.resample, terms.seed, terms.earlier
    how = {
        "k": terms.k,
        "seed": seed,
        "resample": resample,
        "baseline": terms.baseline,
        "unjudged_queries": unjudged(everything),
        "earlier": str(earlier.path) if earlier is not None else None,
    }
    before = earlier.scores if earlier is not None else scores.head(0)
    return Comparison(
        dataset=questions.dataset,
        queries=len(everything) - unjudged(everything),
        strategies=tuple(retrievers),
        quality=frames.quality(scores, seed, resample),
        users=frames.by(scores, "user", seed),
        categories=frames.by(scores, "category", seed),
        differences=frames.differences(scores, terms.baseline, seed, resample),
        changes=frames.changes(scores, before, seed, resample),
        latency=frames.latency(runs, retrievers, questions),
        routes=frames.routes(runs),
        scores=scores,
        circumstances=circumstances(database, questions, configs) | how,
        runs=runs,
        questions=questions,
    )


def _checked(strategies: Mapping[str, Retriever], measures: Sequence[str], k: int) -> list[Measure]:
    """The measures; UsageError when nothing is to be compared or `k` is too small."""
    if not strategies:
        raise UsageError("no strategy to compare: name at least one.")
    if not measures:
        raise UsageError("no measure to compare by: name at least one, such as ndcg@10.")
    parsed = [parse(name) for name in dict.fromkeys(measures)]
    for measure in parsed:
        if measure.k is not None and measure.k > k:
            raise UsageError(f"{measure} looks at {measure.k} hits and k is {k}: raise k to {measure.k} or more.")
    return parsed


def _baseline(given: Strategy | None, retrievers: dict[str, Retriever]) -> tuple[str, EarlierRun | None]:
    """The strategy that the others are paired with, and the earlier run if a file is given."""
    first = next(iter(retrievers))
    if given is None:
        return first, None
    name = title_of(given, retrievers)
    if name in retrievers:
        return name, None
    if isinstance(given, str | Path) and (str(given).endswith(".json") or Path(given).exists()):
        return first, read_earlier(Path(given))
    raise UsageError(
        f"the baseline {name} is neither among the strategies ({', '.join(retrievers)}) nor the JSON file of a run."
    )


def _scores(
    runs: dict[str, ExecutedRun], retrievers: dict[str, Retriever], questions: Questions, measures: Sequence[Measure]
) -> pd.DataFrame:
    """strategy, query_id, user, category, measure, value; each strategy by the judged kinds that it searches."""
    rows = [
        (name, found.query_id, found.measure, found.value)
        for name, executed in runs.items()
        for found in score(questions.qrels(kinds(retrievers[name])), executed.run, measures)
    ]
    return frames.labelled(pd.DataFrame(rows, columns=["strategy", "query_id", "measure", "value"]), questions)

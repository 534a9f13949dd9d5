"""Every figure is readable, on real results and on awkward ones; every diagram is true to the metadata."""

import re
from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from sqlalchemy import text

from carmenta_lab import figures
from carmenta_lab.context import Block, Context, Dropped, assemble
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.experiment import Comparison, compare
from carmenta_lab.experiment.ablation import Ablation
from carmenta_lab.figures.page import Page, page, plain, safe
from carmenta_lab.postgres import Database
from carmenta_lab.schema import DOMAINS, metadata
from carmenta_lab.schema.diagram import mermaid, shows, tables_of

SMALLEST = 8.0
MEASURE = "ndcg@10"


def problems(figure: Figure) -> list[str]:
    """What keeps a person from reading a figure: unnamed axes, small letters, texts cut off or covering each other."""
    figure.draw_without_rendering()
    shown = [text for text in _texts(figure) if text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    canvas = figure.bbox.padded(1)
    found = [f"below {SMALLEST:g} pt: {t.get_text()!r}" for t in shown if t.get_fontsize() < SMALLEST]
    found += [f"unlabelled {name}" for axes in figure.axes for name in _unlabelled(axes)]
    found += [f"outside the canvas: {text!r}" for text, box in boxes if not _within(box, canvas)]
    found += [f"{a!r} covers {b!r}" for (a, one), (b, other) in combinations(boxes, 2) if _overlap(one, other)]
    notes = [(note.get_text(), note.get_window_extent()) for note in shown if isinstance(note, Annotation)]
    for axes in figure.axes:
        marks = [mark for line in axes.lines if line.get_marker() not in ("None", None) for mark in _marks(line)]
        found += [f"{text!r} covers a mark" for text, box in notes for mark in marks if _overlap(box, mark)]
    return found


def _texts(figure: Figure) -> list[Text]:
    """All texts that are drawn: of tick labels only those within the limits of their axis."""
    axes = [axes for axes in figure.axes if axes.axison]
    every = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    ticks = {id(label) for axis in every for label in [*axis.get_majorticklabels(), *axis.get_minorticklabels()]}
    labels = {id(label): label for one in axes for axis in (one.xaxis, one.yaxis) for label in _drawn_labels(axis)}
    off = {
        id(text)
        for one in figure.axes
        if not one.axison
        for axis in (one.xaxis, one.yaxis)
        for text in axis.findobj(Text)
    }
    rest = [text for text in figure.findobj(Text) if id(text) not in ticks | off and text.get_visible()]
    return [*labels.values(), *rest]


def _drawn_labels(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [tick for tick in axis.get_major_ticks() if low - slack <= tick.get_loc() <= high + slack]
    return [text for tick in ticks for text in (tick.label1, tick.label2) if text.get_visible() and text.get_text()]


def _unlabelled(axes: Axes) -> list[str]:
    if not axes.axison:
        return []
    pairs = [("x axis", axes.xaxis), ("y axis", axes.yaxis)]
    return [name for name, axis in pairs if _drawn_labels(axis) and not axis.get_label_text().strip()]


def _within(box: Bbox, canvas: Bbox) -> bool:
    return box.x0 >= canvas.x0 and box.y0 >= canvas.y0 and box.x1 <= canvas.x1 and box.y1 <= canvas.y1


def _overlap(one: Bbox, other: Bbox) -> bool:
    """Whether they share more than a pixel in both directions."""
    both = Bbox.intersection(one, other)
    return both is not None and both.width > 1 and both.height > 1


def _marks(line: Line2D) -> list[Bbox]:
    size = line.get_markersize() / 2 * line.get_figure(root=True).dpi / 72
    points = line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
    return [Bbox.from_extents(x - size, y - size, x + size, y + size) for x, y in points]


@pytest.fixture(scope="module")
def comparison(sample: Database) -> Comparison:
    names = ["vector_exact", "fulltext", "fulltext_or", "hybrid_rrf"]
    return compare(sample, "sample", names, [MEASURE, "recall@10"], 10, keep=False)


def multiplied(comparison: Comparison, names: list[str], p50_ms: list[float], mean: list[float]) -> Comparison:
    """A comparison of other strategies: frames of the given length, categories and runs as they were."""
    numbers = pd.DataFrame({"strategy": names, "measure": MEASURE, "mean": mean})
    quality = numbers.assign(low=[max(0, value - 0.02) for value in mean], high=[value + 0.02 for value in mean])
    differences = quality.iloc[1:].assign(baseline=names[0], mean=0.0, low=-0.01, high=0.01)
    kinds = ["single-hop", "a category with quite a long name", "temporal", "", "x", "$y_1$", "knowledge-update", "h"]
    rows = [(name, kind, MEASURE, value, 5) for name, value in zip(names, mean, strict=True) for kind in kinds]
    base = comparison.scores[comparison.scores.strategy == "vector_exact"]
    drawn = np.random.default_rng(7).random((len(names), len(base)))
    scores = pd.concat([base.assign(strategy=name, value=drawn[place]) for place, name in enumerate(names)])
    return replace(
        comparison,
        strategies=tuple(names),
        quality=quality,
        differences=differences,
        categories=pd.DataFrame(rows, columns=["strategy", "category", "measure", "mean", "queries"]),
        latency=pd.DataFrame({"strategy": names, "p50_ms": p50_ms}),
        scores=scores,
        circumstances=comparison.circumstances | {"baseline": names[0]},
        runs=dict.fromkeys(names, comparison.runs["vector_exact"]),
    )


LONG = [f"strategy_with_a_name_that_nobody_would_type_{number}" for number in range(12)]
FOURTEEN = [
    *("vector_exact", "vector_hnsw", "vector_ivfflat", "vector_halfvec", "vector_binary", "fulltext", "fulltext_or"),
    *("trigram", "bm25", "hybrid_rrf", "hybrid_zscore", "late_interaction", "evidence_lean", "evidence"),
]
AWKWARD = {
    "one": (["only"], [3.0], [0.4]),
    "twelve": (LONG, [float(n + 1) for n in range(12)], [0.3 + 0.01 * n for n in range(12)]),
    "twelve alike": (LONG, [5.0] * 12, [0.35] * 12),
    "twelve crowded": (LONG, [5.0 + 0.01 * n for n in range(12)], [0.35 + 0.001 * n for n in range(12)]),
    "twelve spread": (LONG, [1.7**n for n in range(12)], [0.08 * n for n in range(12)]),
    "fourteen": (FOURTEEN, [1.2, 1.5, 1.4, 1.3, 1.6, 5, 2.3, 9, 1.1, 3, 3.3, 25, 8, 31], [0.03 * n for n in range(14)]),
    "thousandfold": (["fast", "slow"], [0.2, 900.0], [0.0, 1.0]),
    "all at zero": (["none", "nothing"], [1.0, 1.0], [0.0, 0.0]),
}


DRAWN = [figures.quality, figures.quality_against_latency, figures.by_category, figures.wins_and_losses]


@pytest.mark.parametrize("draw", DRAWN)
def test_a_comparison_of_the_sample_is_readable(draw, comparison: Comparison) -> None:
    assert problems(draw(comparison, MEASURE)) == []


PAIRS = [(draw, case) for draw in DRAWN for case in AWKWARD if (draw, case) != (figures.wins_and_losses, "one")]


@pytest.mark.parametrize(("draw", "case"), PAIRS)
def test_an_awkward_comparison_is_readable(draw, case: str, comparison: Comparison) -> None:
    assert problems(draw(multiplied(comparison, *AWKWARD[case]), MEASURE)) == []


def ablation_of(comparison: Comparison, names: list[str], means: list[float]) -> Ablation:
    """A result of that many parts in the categories of `multiplied`."""
    other = multiplied(comparison, ["whole", *names], [1.0] * (len(names) + 1), [0.4] * (len(names) + 1))
    signs = [(0, 0) if mean == 0 else (3, 2) for mean in means]
    table = pd.DataFrame({"without": names, "difference": means, "won": [w for w, _ in signs]})
    table = table.assign(lost=[lost for _, lost in signs], low=table.difference - 0.02, high=table.difference + 0.02)
    kinds = other.categories.rename(columns={"strategy": "without", "mean": "difference"})
    kinds = kinds[kinds.without != "whole"].assign(difference=np.linspace(-0.4, 0.3, len(names) * 8), low=-1, high=0.1)
    return Ablation("whole", MEASURE, 0.4, table, kinds, pd.DataFrame(), other)


@pytest.mark.parametrize("draw", [figures.ablation, figures.ablation_by_category])
@pytest.mark.parametrize(
    ("names", "means"),
    [
        (["only"], [0.0]),
        (LONG, [0.01 * n - 0.06 for n in range(12)]),
        (LONG, [0.0] * 12),
        (["a", "b"], [-0.9, 0.0001]),
    ],
    ids=["one", "twelve", "nothing changes", "far apart"],
)
def test_an_ablation_is_readable(draw, names: list[str], means: list[float], comparison: Comparison) -> None:
    assert problems(draw(ablation_of(comparison, names, means))) == []


def test_marks_of_an_ablation_follow_the_interval(comparison: Comparison) -> None:
    found = figures.ablation(ablation_of(comparison, ["missed", "same", "off"], [-0.1, 0.0, 0.1]))
    markers = {line.get_ydata()[0]: line.get_marker() for line in found.axes[0].lines if len(line.get_ydata()) == 1}
    assert markers == {0: "v", 1: "o", 2: "^"}
    shown = [text.get_text() for text in found.axes[0].texts]
    assert shown == ["-0.100  [-0.120, -0.080]", "no question changes", "+0.100  [+0.080, +0.120]"]


def test_bars_are_the_sorted_differences_and_the_tally_is_that_of_the_table(comparison: Comparison) -> None:
    figure = figures.wins_and_losses(comparison, MEASURE)
    by_name = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}
    assert set(by_name) == set(comparison.strategies[1:])
    for row in comparison.differences[comparison.differences.measure == MEASURE].itertuples():
        heights = [bar.get_height() for bar in by_name[row.strategy].patches]
        assert heights == sorted(heights, reverse=True)
        assert np.mean(heights) == pytest.approx(row.mean)
        tally = f"won {row.won} · lost {row.lost} · tied {row.tied}\n{row.mean:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        assert by_name[row.strategy].get_xlabel() == tally


def test_the_baseline_alone_has_nothing_to_win(comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="only the baseline only was compared"):
        figures.wins_and_losses(multiplied(comparison, *AWKWARD["one"]), MEASURE)


def test_the_evidence_of_every_fortieth_question_is_readable(comparison: Comparison) -> None:
    for query in comparison.questions.queries[::40]:
        assert problems(figures.evidence(comparison, query.query_id)) == []


@pytest.mark.parametrize("case", ["one", "twelve"])
def test_the_evidence_under_many_strategies_and_deep_is_readable(case: str, comparison: Comparison) -> None:
    other = multiplied(comparison, *AWKWARD[case])
    query = comparison.questions.queries[0].query_id
    assert problems(figures.evidence(other, query)) == []
    deep = replace(other, circumstances=other.circumstances | {"k": 200})
    assert problems(figures.evidence(deep, query)) == []


def test_evidence_is_filled_where_it_was_found(comparison: Comparison) -> None:
    ranking = comparison.runs["vector_exact"].run.rankings
    judged = comparison.questions.judgements
    hit, query = next(
        (hit, query)
        for query in ranking
        for hit in ranking[query].hits
        if judged[query].get(hit.source_id, ("", 0))[1] > 0
    )
    alone = replace(comparison, strategies=("vector_exact",))
    texts = {t.get_text(): t.get_position() for t in figures.evidence(alone, query).axes[0].texts}
    letter = next(text for text, position in texts.items() if position == (hit.rank, 0))
    assert letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_the_top_hits_stand_side_by_side_with_the_letters_of_the_evidence(
    comparison: Comparison, sample: Database
) -> None:
    question = comparison.questions.queries[0]
    with sample.user_session(question.user_id) as session:
        table = figures.top_hits(session, comparison, question.query_id, rows=3)
    assert list(table.columns) == list(comparison.strategies)
    assert table.index.tolist() == [1, 2, 3]
    found = figures.evidence_letters(comparison, question.query_id)
    for place, hit in enumerate(comparison.runs["vector_exact"].run.rankings[question.query_id].hits[:3]):
        marked = table.vector_exact.iloc[place].startswith(f"({found.get(hit.source_id, ('?', 0))[0]}) ")
        assert marked == (hit.source_id in found)


def test_marks_follow_the_paired_difference_and_not_the_intervals(comparison: Comparison) -> None:
    other = multiplied(comparison, ["base", "up", "down", "same"], [1.0] * 4, [0.4] * 4)
    signs = pd.DataFrame({"low": [0.01, -0.03, -0.01], "high": [0.03, -0.01, 0.01]}, index=other.differences.index)
    figure = figures.quality(replace(other, differences=other.differences.assign(**signs)), MEASURE)
    markers = {line.get_ydata()[0]: line.get_marker() for line in figure.axes[0].lines if len(line.get_ydata()) == 1}
    assert markers == {0: "D", 1: "^", 2: "v", 3: "o"}


def test_values_stand_in_the_category_figure_and_the_best_is_bold(comparison: Comparison) -> None:
    other = multiplied(comparison, ["low", "high"], [1.0, 1.0], [0.25, 0.75])
    texts = figures.by_category(other, MEASURE).axes[0].texts
    assert {(text.get_text(), text.get_fontweight()) for text in texts} == {("0.25", "normal"), ("0.75", "bold")}


def test_an_unknown_measure_or_question_is_refused(comparison: Comparison) -> None:
    with pytest.raises(UnknownName, match=r"'ndcg@5'.*ndcg@10, recall@10"):
        figures.quality(comparison, "ndcg@5")
    with pytest.raises(UnknownName, match="question of this comparison 'zz'"):
        figures.evidence(comparison, "zz")


def test_the_conversations_of_the_sample_are_readable(sample: Database) -> None:
    with sample.owner_session() as session:
        frame = figures.read_conversations(session, "sample")
        counts = session.scalar(text("SELECT counts FROM lab.datasets WHERE name = 'sample'"))
    assert (len(frame), frame.messages.sum()) == (counts["conversations"], counts["messages"])
    assert problems(figures.conversations_over_time(frame)) == []


def conversations(count: int, users: int, hours: float = 1.0) -> pd.DataFrame:
    start = pd.Timestamp("2025-03-14T09:00Z") + pd.to_timedelta(np.arange(count) * 7.0, unit="h")
    return pd.DataFrame(
        {
            "user": [f"user {number % users}" for number in range(count)],
            "conversation": [f"c{number}" for number in range(count)],
            "title": [f"about {number}" for number in range(count)],
            "started_at": start,
            "last_message_at": start + pd.Timedelta(hours=hours),
            "messages": np.arange(count) + 1,
        }
    )


@pytest.mark.parametrize(
    "frame",
    [
        conversations(1, 1, hours=0),
        conversations(12, 3, hours=500),
        conversations(46, 2, hours=500),
        conversations(300, 80),
        conversations(12, 3).assign(
            user="$a$ 漢字 \n a name that goes on for much longer than anybody would read it 🙂"
        ),
        pytest.param(conversations(2000, 200, hours=90), marks=pytest.mark.slow),
    ],
    ids=["one", "few", "packed", "many users", "a strange name", "crowd"],
)
def test_any_number_of_conversations_is_readable(frame: pd.DataFrame) -> None:
    assert problems(figures.conversations_over_time(frame)) == []


def test_a_conversation_without_a_time_is_left_out_and_counted() -> None:
    frame = conversations(3, 1)
    frame.loc[1, ["started_at", "last_message_at"]] = None
    figure = figures.conversations_over_time(frame)
    assert "1 conversation without a time left out" in figure.get_supxlabel()
    frame[["started_at", "last_message_at"]] = None
    with pytest.raises(UsageError, match="none of 3 conversations has a time"):
        figures.conversations_over_time(frame)
    with pytest.raises(UsageError, match="lacks the columns messages; found: user"):
        figures.conversations_over_time(frame.drop(columns="messages"))


def context(messages: int, budget: int, reasons: int, tokens: int = 12) -> Context:
    said = [Block("user", "message", "m", tokens, tokens * (1 + n % 2), (f"m{n}",), "") for n in range(messages)]
    blocks = (
        Block("system", "profile", "p", 40, 40, ("p",), ""),
        *said,
        Block("user", "memory", "k", 9, 9, ("k1",), ""),
        Block("user", "passage", "k", 9, 9, ("d1",), ""),
        Block("user", "query", "q", 5, 5, ("q",), ""),
    )
    why = [f"{'because of a rather long-winded circumstance ' * 2}{chr(97 + n)}" for n in range(reasons)]
    dropped = tuple(Dropped(f"m{n}", "memory", 1000 * n, why[n]) for n in range(reasons))
    return Context(blocks, dropped, sum(block.tokens for block in blocks), budget, "mission_order")


@pytest.mark.parametrize(
    "given",
    [context(0, 64, 0), context(1, 200_000, 1), context(300, 4000, 3), context(20, 303, 15)],
    ids=["nothing left out", "a large budget", "300 messages", "15 reasons"],
)
def test_an_awkward_context_is_readable(given: Context) -> None:
    assert problems(figures.tokens_by_block(given)) == []
    assert problems(figures.conversation_shown(given)) == []


@pytest.mark.parametrize("budget", [300, 2000, 8000])
def test_a_context_of_the_sample_is_readable(budget: int, comparison: Comparison, sample: Database) -> None:
    query = comparison.questions.queries[0]
    with sample.user_session(query.user_id) as session:
        found = assemble(session, query, budget_tokens=budget)
    assert problems(figures.conversation_shown(found)) == []
    figure = figures.tokens_by_block(found)
    assert problems(figure) == []
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == found.tokens


def test_reasons_that_differ_in_a_number_or_an_id_share_a_row() -> None:
    dropped = tuple(Dropped(f"k{n}", "memory", 10, f"superseded by nora-k{n}") for n in range(4))
    figure = figures.tokens_by_block(replace(context(1, 100, 0), dropped=dropped))
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["superseded by …"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["4 memories: 40"]


def bad_figure() -> Page:
    figure = page("Bad", "caption", 5, 4)
    figure.set_layout_engine("none")
    axes = figure.subplots()
    axes.set_xticks([0, 0.01, 1], ["a long label", "another long label", "far"])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.text(0.5, 0.5, "tiny", fontsize=5)
    axes.annotate("out", (1, 0.5), xytext=(300, 0), textcoords="offset points")
    axes.plot([0.3], [0.3], "o", markersize=9)
    axes.annotate("on it", (0.3, 0.3))
    return figure


def test_the_checker_sees_what_is_bad() -> None:
    found = problems(bad_figure())
    assert [line for line in found if line.startswith("below 8 pt")] == ["below 8 pt: 'tiny'"]
    assert {"unlabelled x axis", "unlabelled y axis", "outside the canvas: 'out'", "'on it' covers a mark"} <= set(
        found
    )
    assert "'a long label' covers 'another long label'" in found


def test_a_figure_shows_itself_as_png_and_leaves_nothing_in_pyplot() -> None:
    figure = page("One", "a caption " * 40, 6, 3)
    plain(figure.subplots(), "x", "y", grid="both")
    png, size = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size == {"width": 600, "height": 300}
    assert problems(figure) == []
    assert matplotlib.pyplot.get_fignums() == []


def test_a_text_from_the_data_is_made_drawable() -> None:
    assert safe("a  b\nc") == "a b c"
    assert safe("$5 and $6") == r"\$5 and \$6"
    assert safe("漢🙂 é") == "□□ é"
    assert safe("x" * 50 + "end", 20) == "x" * 13 + "…" + "xxxend"


def test_every_table_is_in_the_diagram_of_one_domain() -> None:
    every = [table.key for domain in DOMAINS for table in tables_of(domain)]
    assert sorted(every) == sorted(metadata.tables)
    assert [table.key for table in tables_of()] == every


@pytest.mark.parametrize("domain", [*DOMAINS, None])
def test_a_diagram_has_the_form_of_mermaid_and_every_column_and_relation(domain: str | None) -> None:
    column = r"        [a-z][\w()\[\]]* \w+( (PK|FK|UK)(, (FK|UK))*)?"
    forms = (r"erDiagram|    direction LR", r"    \w+ \{", column, r"    \}")
    relation = r"    \w+ (\|\||\|o)--(o\{|o\|) \w+ : \w+"
    directive, *lines = mermaid(domain).splitlines()
    assert re.fullmatch(r"%%\{init: \{.*\}\}%%", directive)
    assert [line for line in lines if not re.fullmatch("|".join((*forms, relation)), line)] == []
    shown = [c for t in tables_of(domain) for c in t.columns if t.schema == "lab" or c.name != "user_id"]
    assert sum(bool(re.fullmatch(forms[2], line)) for line in lines) == len(shown)
    keys = sum(shows(key, tables_of(domain)) for table in tables_of(domain) for key in table.foreign_key_constraints)
    assert sum(bool(re.fullmatch(relation, line)) for line in lines) == keys


def test_relations_say_how_many_there_may_be() -> None:
    lines = [line.strip() for line in mermaid("memory").splitlines()]
    assert "messages |o--o{ memories : source_message_id" in lines
    assert not [line for line in lines if line.startswith("users")]
    assert "users ||--o| profiles : user_id" in mermaid()
    assert "users ||--o{ memories : user_id" in mermaid()
    assert "memories |o--o{ memories : superseded_by" in lines
    assert "uuid message_id FK" in lines
    assert "timestamptz updated_at" in lines


def test_an_unknown_domain_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"domain 'memroy'. Did you mean 'memory'\?"):
        mermaid("memroy")

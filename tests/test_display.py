"""What is returned reads well, printed and in a notebook, and nothing that people wrote can steer either."""

from uuid import UUID

import pytest

from carmenta_lab.display import Cell, Table
from carmenta_lab.ingest.load import LoadReport
from carmenta_lab.ingest.reconcile import Changes
from carmenta_lab.postgres import Database
from carmenta_lab.records import Hit, HitText, Query, Ranking
from carmenta_lab.retrieval import search, with_texts
from carmenta_lab.strategies import load as strategy


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


P, Q = UUID(int=1), UUID(int=2)
HITS = (
    Hit(P, P, "message", 1, 2.5, {"late": 0.5, "z:late": 1.25, "dates": 0.0, "z:dates": 0.0}),
    Hit(Q, Q, "memory", 2, 1.0),
)


def test_a_table_aligns_numbers_and_marks_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(["name", "n"], [["one", Cell("9", best=True)], ["other", "1,000"]], "counts", ["a note"])
    assert str(table).splitlines() == [
        "counts",
        "",
        " name       n",
        " ────────────",
        " one       9*",
        " other  1,000",
        "",
        "a note",
    ]
    html = table._repr_html_()
    assert "<strong>9</strong>" in html
    assert '<th scope="col" style="text-align:right' in html
    assert "a note" in html


def test_what_people_wrote_is_text_and_nothing_else() -> None:
    table = Table(["<i>"], [["<script>" * 40], ["[red]x\x1b[31m"]], "<b>")
    html = table._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "\x1b" not in str(table)
    assert "[red]x" in str(table)


def test_a_long_text_is_cut_in_print_and_whole_in_html() -> None:
    table = Table(["text"], [["word " * 100 + "last"]])
    assert "last" not in str(table)
    assert "…" in str(table)
    assert "<details>" in table._repr_html_()
    assert "last" in table._repr_html_()


def test_a_table_without_rows_has_its_heads() -> None:
    assert str(Table(["a", "b"], [])).split() == ["a", "b", "─" * 4]


def test_a_ranking_shows_what_each_part_adds_and_that_no_text_was_asked_for() -> None:
    ranking = Ranking("q1", HITS, "exact", "cut short")
    assert repr(ranking) == "<Ranking of 'q1': 2 hits, route='exact', note='cut short'>"
    text = str(ranking)
    assert "q1: 2 hits, route exact" in text
    assert "late +1.250" in text
    assert "dates" not in text
    assert f"memory   {Q}" in text
    assert text.endswith("cut short")


def test_a_hit_whose_text_is_gone_says_so() -> None:
    ranking = Ranking("q1", HITS, texts={P: HitText("m1", "the <key>", "Ann", None)})
    assert "m1" in str(ranking)
    assert "(changed or deleted since the search)" in str(ranking)
    assert "the &lt;key&gt;" in ranking._repr_html_()


def test_a_ranking_carries_its_texts_once_they_are_asked_for(sample: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from carmenta_lab.names import find_user

    nora = find_user(sample, "nora")
    with sample.user_session(nora) as session:
        found = search(session, strategy("hybrid_rrf"), Query("q1", nora, "Where did we park the bikes?"), 5)
        shown = with_texts(session, found)
    assert found.texts == {}
    assert shown.hits == found.hits
    assert set(shown.texts) == {hit.passage_id for hit in found.hits}
    for hit in shown.hits:
        said = shown.texts[hit.passage_id]
        assert not said.text.startswith("[")
        assert said.source.startswith("nora")
        assert said.source in str(shown)
        monkeypatch.setenv("COLUMNS", "80")
        assert said.source in str(shown)
        if hit.source_kind == "message":
            assert said.author
            assert not said.text.startswith(f"{said.author}: ")


def test_a_database_prints_its_name_and_version_and_no_engine(sample: Database) -> None:
    with sample.app_session() as session:
        session.connection()
    assert repr(sample).startswith(f"<Database {sample.name!r} on PostgreSQL 1")
    assert "Engine" not in repr(sample)


def test_a_load_report_is_its_lines_and_a_table(tmp_path: object) -> None:
    from pathlib import Path

    from carmenta_lab.datasets import Reject

    changes = Changes(messages={"added": 1_200, "updated": 0, "deleted": 1}, votes={"added": 0, "updated": 0})
    rejects = [Reject("messages.jsonl", n, "<not JSON>") for n in range(1, 8)]
    report = LoadReport("mine", Path("/x/mine"), changes=changes, rejects=rejects, mended={"times": 2}, embedded=3)
    assert repr(report) == "<LoadReport of 'mine': 1,201 rows changed, 7 lines rejected>"
    assert str(report).splitlines() == report.lines()
    html = report._repr_html_()
    assert "1,200" in html
    assert "votes" not in html
    assert "passages embedded: 3" in html
    assert "7 lines rejected" in html
    assert "messages.jsonl:5: &lt;not JSON&gt;" in html
    assert "messages.jsonl:6" not in html


@pytest.mark.parametrize("columns", [1, 8, 12])
def test_a_table_wider_than_the_terminal_is_folded_and_loses_nothing(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    heads = ["strategy", *(f"category {n} (31)" for n in range(columns))]
    rows = [[name, *("0.123",) * columns] for name in ("late_interaction", "evidence_lean")]
    lines = str(Table(heads, rows)).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" late_interaction") for line in lines)
    assert "".join("".join(lines).split()).count("3") >= 2 * columns
    if columns < 12:
        assert "\n".join(lines).count("0.123") == 2 * columns

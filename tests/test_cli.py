"""The command line as people use it: output, JSON, exit codes, and one sentence for each mistake."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factory import message, query, write
from sqlalchemy import text

from carmenta_lab import cli
from carmenta_lab.postgres.lab import find_logins
from carmenta_lab.postgres.migrate import heads

Command = Callable[..., tuple[int, str, str]]


def _run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        for name in ("CARMENTA_HOME", "CARMENTA_DATABASE", "CARMENTA_DATABASE_URL", "CARMENTA_DIRECT_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            if name.startswith("CARMENTA_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["carmenta-lab", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), out, err

    return run


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sample_environment: dict[str, str]
) -> Command:
    """The program on the loaded sample, which it leaves as it is."""
    return _run(monkeypatch, capsys, sample_environment)


@pytest.fixture
def own_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_environment: dict[str, str]
) -> Command:
    """The program on a copy of the loaded sample."""
    return _run(monkeypatch, capsys, own_environment)


@pytest.fixture
def fresh(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_environment: dict[str, str]
) -> Command:
    """The program on an empty database."""
    return _run(monkeypatch, capsys, empty_environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small dataset with one bad line."""
    lines = [
        message("m1", "The spare key is under the blue pot.", user="ann", author="Ann"),
        message("m2", "I moved the key to the shed.", user="ann", author="Ann"),
    ]
    messages = "".join(json.dumps(line) + "\n" for line in lines) + "not json\n"
    return write(
        tmp_path / "keys", messages=messages, queries=[query("q1", "Where is the key?", "ann")], qrels="q1\tm2\t2\n"
    )


def test_help_of_every_command_has_an_example(command: Command) -> None:
    for words in (
        ["datasets"],
        ["users"],
        ["strategies"],
        ["policies"],
        ["run"],
        ["load"],
        ["search"],
        ["compare"],
        ["explain"],
        ["import"],
        ["context"],
        ["bench"],
    ):
        code, out, _ = command(*words, "--help")
        assert code == 0
        assert "Example" in out, words
    for word in ("up", "down", "status", "url", "reset", "migrate", "rebuild", "index"):
        code, out, _ = command("db", word, "--help")
        assert code == 0
        assert "Example" in out, word


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("search", "key", "--user", "nobody"), "unknown user 'nobody'"),
        (("search", "", "--user", "nora"), "the query is empty"),
        (("search", "x", "--user", "nora", "--k", "0"), "k must be 1 to 1000"),
        (("search", "x", "--user", "nora", "--strategy", "vector_exakt"), "Did you mean 'vector_exact'"),
        (("search", "x", "--user", "nora", "--strategy", "nowhere.py"), "there is no strategy file"),
        (("load", "no-such-folder"), "unknown dataset"),
        (("load", "sample", "--reject-scope", "file"), "Invalid value for"),
        (("compare", "--measures", "ndgc@10"), "unknown measure"),
        (("compare", "--measures", "ndcg@50"), "raise k"),
        (("compare", "--resample", "word"), "Invalid value for"),
        (("compare", "--strategies", "fulltext", "--baseline", "bm52"), "neither among the strategies"),
        (("compare", "--strategies", "fulltext", "--baseline", "none.json"), "baseline none.json cannot be read"),
        (("compare", "--strategies", "fulltext", "--fail-if-worse", "2"), "--fail-if-worse expects 0 to 1"),
        (("compare", "--strategies", "fulltext", "--measures", ","), "no measure to compare by"),
        (("explain", "where is it"), "no loaded question has the id"),
        (("explain", "x", "--user", "nora", "--strategies", ","), "no strategy to explain"),
        (("explain", "x", "--user", "nora", "--k", "0"), "k must be 1 to 1000"),
        (("import", "csv", "a", "b"), "unknown format 'csv'"),
        (("import", "locomo", "none.json", "made"), "there is no none.json"),
        (("context", "--user", "nora", "--query", "x", "--conversation", "c99"), "unknown conversation"),
        (("run", "05_nothing"), "unknown notebook"),
        (("run", "03_retrieval", "-p", "kk=3"), "unknown parameter"),
        (("run", "03_retrieval", "-p", "k=three"), "must be of the type int"),
        (("run", "03_retrieval", "-p", "k"), "expects name=value"),
        (("run", "03_retrieval", "-p", "k=1;print(1)"), "must be of the type int"),
        (("db", "migrate", "0012"), "unknown revision"),
        (("db", "migrate", "product@base"), "search and lab stand on product"),
        (("db", "migrate", "base", "--sql"), "no SQL to print"),
        (("db", "reset"), "nothing was confirmed"),
        (("db", "reset", "--confirm", "carmenta_"), "is not its name"),
        (("db", "migrate", "base"), "nothing was dropped"),
        (("db", "url", "--role", "root"), "Invalid value for"),
        (("users", "nothing"), "unknown loaded dataset 'nothing'"),
        (("frobnicate",), "No such command"),
    ],
)
def test_a_wrong_word_gets_one_sentence_and_exit_code_2(command: Command, words: tuple[str, ...], says: str) -> None:
    code, out, err = command(*words)
    assert code == 2
    assert says in err.replace("\n", " ")
    assert "Traceback" not in err + out


def test_a_wrong_environment_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(monkeypatch, capsys, {"CARMENTA_DATABASE_URL": "mysql://u@h/db"})
    code, _, err = run("db", "up")
    assert (code, "expected a URL like postgresql://" in err) == (2, True)
    run = _run(monkeypatch, capsys, {"CARMENTA_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/db"})
    code, _, err = run("db", "up")
    assert (code, "nothing listens there" in err) == (1, True)
    run = _run(monkeypatch, capsys, {"CARMENTA_DATABASE_URL": "postgresql://u:p@127.0.0.1:6543/db"})
    code, _, err = run("db", "up")
    assert (code, "CARMENTA_DIRECT_URL" in err) == (1, True)


def test_a_folder_is_loaded_searched_compared_and_shown(fresh: Command, folder: Path, tmp_path: Path) -> None:
    code, out, _ = fresh("load", str(folder), "--json")
    report = json.loads(out)
    assert code == 0
    assert report["changes"]["messages"] == {"added": 2, "updated": 0, "deleted": 0}
    assert report["rejects"] == [next(r for r in report["rejects"] if r.startswith("messages.jsonl:3: not JSON"))]
    assert stat.S_IMODE(Path(report["rejects_file"]).stat().st_mode) == 0o600
    code, out, _ = fresh("load", str(folder), "--json")
    assert json.loads(out)["unchanged"] is True

    code, out, _ = fresh("search", "where is the key", "--user", "ann", "--k", "1", "--json")
    hits = json.loads(out)["hits"]
    assert code == 0
    assert [hit["source_kind"] for hit in hits] == ["message"]
    assert set(hits[0]) == {"rank", "score", "source", "source_kind", "created_at", "author", "text", "parts"}

    result = tmp_path / "out.json"
    strategies = ["vector_exact", "fulltext_or"]
    code, out, _ = fresh(
        "compare", "--dataset", str(folder), "--strategies", ",".join(strategies), "--json", str(result)
    )
    found = json.loads(result.read_text())
    assert code == 0
    assert "95 %" in out
    assert (found["dataset"], found["queries"], list(found["strategies"])) == ("keys", 1, strategies)
    entry = found["strategies"]["vector_exact"]
    assert set(entry["ndcg@10"]) == {"mean", "low", "high"}
    assert set(entry["latency_ms"]) == {"p50", "p95"}
    assert entry["rows_returned"] == 2
    assert found["circumstances"]["postgres"]

    code, out, _ = fresh("context", "--user", "ann", "--query", "Where is the key?", "--budget", "200", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["tokens"] <= 200
    assert [set(block) for block in shown["blocks"]] == [{"role", "text", "tokens", "sources"}] * len(shown["blocks"])
    assert shown["blocks"][-1]["text"].endswith("Where is the key?")
    assert all(set(entry) == {"source", "tokens", "reason"} for entry in shown["dropped"])


def test_compare_prints_nothing_but_json_when_asked(command: Command) -> None:
    code, out, _ = command("compare", "--strategies", "fulltext", "--json", "-")
    assert code == 0
    assert json.loads(out)["dataset"] == "sample"


def test_a_baseline_file_gates_with_exit_code_1_and_a_sentence(command: Command, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    words = ("compare", "--strategies", "fulltext_or", "--measures", "ndcg@10")
    assert command(*words, "--json", str(kept))[0] == 0
    gate = ("--baseline", str(kept), "--fail-if-worse", "0.02")
    code, out, err = command(*words, *gate)
    assert (code, err.strip()) == (0, "")
    assert "difference to itself in" in out
    found = json.loads(kept.read_text())
    scores = found["strategies"]["fulltext_or"]["scores"]
    scores["ndcg@10"] = [None if value is None else value + 0.05 for value in scores["ndcg@10"]]
    kept.write_text(json.dumps(found))
    code, _, err = command(*words, *gate)
    assert code == 1
    assert "ndcg@10 of fulltext_or is 0.050 lower than in" in err.replace("\n", " ")


def test_a_loaded_question_is_explained_with_the_ranks_of_its_evidence(command: Command) -> None:
    words = ("explain", "nora-q15", "--strategies", "vector_exact,hybrid_rrf", "--k", "3")
    code, out, _ = command(*words, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["query"]["id"], found["judged"], found["depth"]) == ("nora-q15", True, 200)
    for name in ("vector_exact", "hybrid_rrf"):
        hits = found["strategies"][name]["hits"]
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        ranks = {(e["source_kind"], e["source"]): e["ranks"][name] for e in found["evidence"]}
        for hit in hits:
            assert ranks.get((hit["source_kind"], hit["source"]), hit["rank"]) == hit["rank"]
    assert set(found["strategies"]["hybrid_rrf"]["hits"][0]["parts"]) == {"vector", "fulltext"}
    assert any(isinstance(rank, int) for e in found["evidence"] for rank in e["ranks"].values())
    code, out, _ = command(*words)
    assert code == 0
    assert "ranks of the evidence (of the first 200)" in out
    assert "evidence in green" in out


def test_a_question_in_words_is_explained_without_evidence(command: Command) -> None:
    code, out, _ = command("explain", "where is the bike", "--user", "nora", "--strategies", "fulltext_or", "--json")
    found = json.loads(out)
    assert (code, found["judged"], found["evidence"], found["depth"]) == (0, False, [], 5)
    assert found["strategies"]["fulltext_or"]["route"] == "fulltext"


def test_a_published_set_is_imported_and_loads(fresh: Command, tmp_path: Path) -> None:
    said = [{"speaker": "Ida", "dia_id": "D1:1", "text": "I bought a red boat."}]
    talk = {"session_1": said, "session_1_date_time": "1:56 pm on 8 May, 2023"}
    asked = [{"question": "What did Ida buy?", "answer": "a boat", "evidence": ["D1:1"], "category": 4}]
    source, made = tmp_path / "locomo.json", tmp_path / "made"
    source.write_text(json.dumps([{"sample_id": "c1", "conversation": talk, "qa": asked}]))
    code, out, _ = fresh("import", "locomo", str(source), str(made))
    assert code == 0
    assert "messages: 1\n" in out
    code, out, _ = fresh("compare", "--dataset", str(made), "--strategies", "vector_exact", "--json", "-")
    assert json.loads(out)["strategies"]["vector_exact"]["ndcg@10"]["mean"] == 1


def test_a_strategy_file_outside_the_package_is_compared(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "only_memories.py"
    path.write_text(
        "from carmenta_lab.retrieval.vector import VectorSearch\nSTRATEGY = VectorSearch(units=('memory',))\n"
    )
    code, out, _ = command("compare", "--strategies", f"vector_exact,{path}", "--json", "-")
    found = json.loads(out)["strategies"]
    assert code == 0
    assert list(found) == ["vector_exact", "only_memories"]
    assert 0 < found["only_memories"]["coverage"] < 1


def test_an_index_is_built_shown_and_dropped(own_command: Command) -> None:
    name = "ann_halfvec_embeddings_all_minilm_l6_v2"
    code, out, err = own_command("db", "index", "--kind", "halfvec", "--memory", "1")
    assert (code, out.startswith(f"{name}: hnsw, ")) == (0, True)
    assert "maintenance_work_mem is 1 MB, so the build is several times slower: give it 3 MB." in err
    code, out, err = own_command("db", "index", "--user", "nora", "--concurrently")
    assert (code, out.startswith("ann_halfvec_"), "maintenance" in err) == (0, True, False)
    found = json.loads(own_command("db", "status", "--json")[1])["indexes"]
    assert len(found) == 2
    assert found[name].startswith("hnsw, ")
    assert own_command("db", "index", "--kind", "halfvec", "--drop")[:2] == (0, f"{name}: dropped\n")
    assert len(json.loads(own_command("db", "status", "--json")[1])["indexes"]) == 1
    code, _, err = own_command("db", "index", "--model", "nothing/at-all")
    assert (code, "there is no table search.embeddings_nothing_at_all to index" in err) == (2, True)
    assert own_command("db", "index", "--kind", "flat")[0] == 2


def test_status_says_what_is_there(command: Command) -> None:
    code, out, _ = command("db", "status", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["running"] is True
    assert found["datasets"]["sample"]["users"] == 3


def _name(environment: dict[str, str]) -> str:
    """The database's name in an environment."""
    by_url = environment.get("CARMENTA_DATABASE_URL", "").rpartition("/")[2].partition("?")[0]
    return environment.get("CARMENTA_DATABASE") or by_url


def test_reset_says_what_goes_and_empties_and_migrates(own_command: Command, own_environment: dict[str, str]) -> None:
    name = _name(own_environment)
    code, out, err = own_command("db", "reset")
    assert (code, f"confirm with --confirm {name}" in err.replace("\n", " ")) == (2, True)
    assert "1 dataset, 3 users, 52 conversations, 1,275 messages" in out
    assert (
        json.loads(own_command("db", "status", "--json")[1])["datasets"]["sample"]["users"] == 3
    )  # nothing was dropped
    assert own_command("db", "reset", "--confirm", name)[0] == 0
    assert json.loads(own_command("db", "status", "--json")[1])["datasets"] == {}
    code, out, _ = own_command("db", "reset", "--confirm", name, "--empty")
    assert (code, out.splitlines()[-1]) == (0, f"database {name} is empty")
    found = json.loads(own_command("db", "status", "--json")[1])
    assert (found["revisions"], "datasets" in found) == ({}, False)
    head = heads()
    steps = "".join(f"{branch}: base -> {revision}\n" for branch, revision in head.items())
    assert own_command("db", "migrate")[:2] == (0, steps)
    assert own_command("db", "migrate")[:2] == (0, "nothing to do\n")
    assert own_command("db", "migrate", "search@base")[:2] == (0, f"search: {head['search']} -> base\n")
    assert set(json.loads(own_command("db", "status", "--json")[1])["revisions"]) == {"product", "lab"}


def test_reset_by_url_asks_in_the_same_way(
    own_command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, url, _ = own_command("db", "url", "--role", "owner")
    by_url = _run(monkeypatch, capsys, {"CARMENTA_DATABASE_URL": url.strip()})
    code, out, err = by_url("db", "reset")
    assert code == 2
    assert "--confirm carmenta_" in err
    assert "1,275 messages" in out
    _, out, _ = by_url("db", "status", "--json")
    assert json.loads(out)["datasets"]["sample"]["users"] == 3  # nothing was dropped


def test_on_a_terminal_the_name_is_asked_for(
    own_command: Command, own_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, code in (("no", 2), (_name(own_environment), 0)):
        monkeypatch.setattr("typer.prompt", lambda _, answer=answer: answer)
        assert own_command("db", "reset")[0] == code
    assert json.loads(own_command("db", "status", "--json")[1])["datasets"] == {}


def test_a_database_from_before_the_branches_is_refused_by_every_command_and_reset_works(
    own_command: Command, own_environment: dict[str, str]
) -> None:
    name = _name(own_environment)
    assert own_command("db", "status")[0] == 0
    with find_logins().database() as database, database.owner.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA search CASCADE")
        connection.exec_driver_sql("DROP TABLE lab.alembic_version")
        connection.exec_driver_sql("UPDATE carmenta.alembic_version SET version_num = '0019'")
    for words in (
        ("db", "migrate"), ("db", "up"), ("db", "url"), ("db", "rebuild"), ("db", "index"), ("load", "sample"),
        ("search", "x", "--user", "nora"), ("compare",), ("run", "01_schema"),
    ):  # fmt: skip
        code, _, err = own_command(*words)
        assert (code, f"db reset --confirm {name}`" in err.replace("\n", " ")) == (1, True), words
    assert f"db reset --confirm {name}`" in json.loads(own_command("db", "status", "--json")[1])["problem"]
    assert own_command("db", "reset", "--confirm", name)[0] == 0
    assert json.loads(own_command("db", "status", "--json")[1])["revisions"] == heads()


def test_status_of_a_database_that_is_not_there_makes_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sample_environment: dict[str, str]
) -> None:
    if "CARMENTA_DATABASE_URL" in sample_environment:
        pytest.skip("a database by URL is never made")
    run = _run(monkeypatch, capsys, sample_environment | {"CARMENTA_DATABASE": "carmenta_nowhere"})
    for _ in range(2):
        found = json.loads(run("db", "status", "--json")[1])
        assert "does not exist" in found["problem"]


def test_vectors_that_only_a_folder_gives_are_asked_about_before_they_go(
    fresh: Command, empty_environment: dict[str, str], tmp_path: Path
) -> None:
    """And the folder's next load brings them again, though nothing in it has changed."""
    folder = write(tmp_path / "given", messages=[message("m1", "the spare key")])
    (folder / "embeddings").mkdir()
    np.save(folder / "embeddings" / "some-model.npy", np.ones((1, 3), np.float32))
    code, _, err = fresh("load", str(folder))
    assert (code, err.strip()) == (0, "")
    name = _name(empty_environment)
    for words in (("db", "migrate", "search@base"), ("db", "rebuild")):
        code, out, err = fresh(*words)
        assert (code, f"--confirm {name}" in err.replace("\n", " ")) == (2, True), words
        assert "1 of some-model" in out.replace("\n", " ")
    code, out, _ = fresh("db", "rebuild", "--confirm", name)
    assert code == 0
    assert "lost: 1 vectors of some-model" in out
    with find_logins().database() as database, database.owner_session() as session:
        count = text("SELECT count(*) FROM search.embeddings_some_model")
        assert json.loads(fresh("load", str(folder), "--json")[1])["unchanged"] is False
        assert session.scalar(count) == 1
    assert json.loads(fresh("load", str(folder), "--json")[1])["unchanged"] is True
    code, out, _ = fresh("db", "migrate", "search@base", "--confirm", name)
    assert (code, out.endswith(f"search: {heads()['search']} -> base\n")) == (0, True)
    assert json.loads(fresh("load", str(folder), "--json")[1])["unchanged"] is False
    with find_logins().database() as database, database.owner_session() as session:
        assert session.scalar(count) == 1


def test_the_sql_of_a_migration_is_printed_without_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = _run(monkeypatch, capsys, {"CARMENTA_HOME": str(tmp_path / "nothing")})
    code, out, _ = run("db", "migrate", "--sql")
    assert code == 0
    assert "CREATE TABLE carmenta.messages" in out
    assert not (tmp_path / "nothing").exists()


def test_lists_say_what_is_there_what_it_is_and_what_it_needs(command: Command) -> None:
    code, out, _ = command("datasets", "--json")
    found = {one["name"]: one for one in json.loads(out)}
    assert code == 0
    assert found["sample"]["what"] == "three lives with an assistant, judged"
    assert (found["sample"]["users"], found["sample"]["needs"]) == (3, "")
    assert found["sample_de"]["needs"] == "carmenta-lab load sample_de"
    assert found["sample_de"]["loaded_from"] is None

    code, out, _ = command("users", "sample", "--json")
    people = json.loads(out)
    assert [one["name"] for one in people] == ["nora", "priya", "tomasz"]
    assert sum(one["questions"] for one in people) == found["sample"]["questions"]
    assert all(one["messages"] > 100 and one["dataset"] == "sample" for one in people)
    assert json.loads(command("users", "--json")[1]) == people

    needs = {one["name"]: one["needs"] for one in json.loads(command("strategies", "--json")[1])}
    assert needs["bm25"] == ""
    assert needs["vector_exact"] == "vectors of all-MiniLM-L6-v2"
    assert needs["evidence"].endswith("token codes (load --tokens)")
    policies = {one["name"]: one for one in json.loads(command("policies", "--json")[1])}
    assert policies["retrieved_first"]["needs"].startswith("evidence: ")
    assert policies["recent_only"]["needs"] == ""
    assert policies["naive_top_k"]["what"] == "Are the ten nearest vectors enough? What most tutorials build."


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("datasets",), "three lives"),
        (("users",), "tomasz"),
        (("strategies",), "trigram"),
        (("policies",), "recent_only"),
    ],
)
def test_lists_are_tables_unless_json_is_asked_for(command: Command, words: tuple[str, ...], says: str) -> None:
    code, out, _ = command(*words)
    assert code == 0
    assert says in " ".join(out.split())


def test_the_version_is_that_of_the_package(command: Command) -> None:
    from importlib.metadata import version

    assert command("--version")[:2] == (0, f"carmenta-lab {version('carmenta-lab')}\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("search --strategy vector_h", ["vector_halfvec", "vector_hnsw"]),
        ("compare --strategies bm25,hybrid_b", ["bm25,hybrid_bm25"]),
        ("explain --strategies hybrid_bm25,hybrid_b", []),
        ("context --policy retrieved_", ["retrieved_first", "retrieved_first_lean"]),
        ("compare-contexts --policies everything,rec", ["everything,recent_only"]),
        ("load sample", ["sample", "sample_de"]),
        ("users sample_", ["sample_de"]),
        ("bench ing", ["ingest_growth", "ingest", "ingest_vectors"]),
    ],
)
def test_a_shell_completes_names(
    words: str, offered: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_CARMENTA_LAB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"carmenta-lab {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    assert command()[1].split() == offered


def test_without_a_strategy_or_policy_the_best_that_the_data_allow_is_taken(command: Command) -> None:
    asked = ("which allergy does Saga have", "--user", "nora", "--json")
    assert json.loads(command("search", *asked)[1])["strategy"] == "evidence"
    shown = json.loads(command("explain", *asked)[1])
    assert list(shown["strategies"]) == ["vector_exact", "evidence"]
    assert "policy retrieved_first\n" in command("context", "--user", "nora", "--query", asked[0])[1]


def test_without_codes_of_tokens_the_lean_ones_are_the_best(fresh: Command, folder: Path) -> None:
    assert fresh("load", str(folder))[0] == 0
    asked = ("where is the key", "--user", "ann")
    assert json.loads(fresh("search", *asked, "--json")[1])["strategy"] == "evidence_lean"
    assert "policy retrieved_first_lean\n" in fresh("context", "--user", "ann", "--query", asked[0])[1]

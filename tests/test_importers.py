"""Published sets become dataset folders that load without a reject; what was wrong in them is repaired and told."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from carmenta_lab import importers
from carmenta_lab.datasets import FILES, Document, Judgement, Message, QueryLine, Vote, read
from carmenta_lab.errors import CarmentaError, DatasetError, UnknownName, UsageError
from carmenta_lab.importers import Options, Writer, formats, import_dataset
from carmenta_lab.importers import elements as elements_of
from carmenta_lab.importers.elements import elements
from carmenta_lab.importers.formats.beir import label
from carmenta_lab.importers.writing import COUNTED
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database

LOCOMO = [
    {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ida",
            "speaker_b": "Jon",
            "session_2": [{"speaker": "Jon", "dia_id": "D2:1", "text": "The boat is sold."}],
            "session_2_date_time": "12:05 am on 3 June, 2023",
            "session_1": [
                {"speaker": "Ida", "dia_id": "D1:1", "text": "I bought a boat."},
                {"speaker": "Jon", "dia_id": "D1:2", "text": "Look!", "blip_caption": "a photo of a red boat"},
                {"speaker": "Jon", "dia_id": "D1:3", "text": "", "blip_caption": "a harbour"},
                {"speaker": "Ida", "dia_id": "D1:4", "text": " "},
            ],
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_3_date_time": "9:00 am on 1 July, 2023",
        },
        "qa": [
            {"question": "What did Ida buy?", "answer": "a boat", "evidence": ["D1:1"], "category": 4},
            {"question": "When?", "answer": 2023, "evidence": ["D1:1; D2:1"], "category": 2},
            {"question": "Which colour?", "answer": "red", "evidence": ["D:1:02", "D", "D9:9"], "category": 1},
            {"question": "Who sold it?", "answer": "Jon", "evidence": [], "category": 3},
            {"question": "Who sank it?", "adversarial_answer": "Jon", "evidence": ["D2:1"], "category": 5},
        ],
    }
]

LONGMEMEVAL = [
    {
        "question_id": "e1",
        "question_type": "single-session-user",
        "question": "What degree do I have?",
        "answer": 7,
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1", "answer_1", "s1"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00", "some day"],
        "haystack_sessions": [
            [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": ""}],
            [
                {"role": "user", "content": "I studied law.", "has_answer": True},
                {"role": "assistant", "content": "Noted.", "has_answer": False},
            ],
            [{"role": "user", "content": "Bye."}],
        ],
        "answer_session_ids": ["answer_1"],
    },
    {
        "question_id": "e2_abs",
        "question_type": "multi-session",
        "question": "What is my cat called?",
        "answer": "You did not mention a cat.",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21"],
        "haystack_sessions": [[{"role": "user", "content": "I have a dog.", "has_answer": True}]],
        "answer_session_ids": ["s1"],
    },
    {
        "question_id": "e3",
        "question_type": "temporal-reasoning",
        "question": "When did I move?",
        "answer": "in June",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1"],
        "haystack_dates": ["2023/06/20 (Tue) 02:21"],
        "haystack_sessions": [[{"role": "user", "content": "I moved today.", "has_answer": True}]],
        "answer_session_ids": ["s1"],
    },
]

CORPUS = [
    {"_id": "MED-10", "title": "Statins", "text": "Statins lower cholesterol.", "metadata": {}},
    {"_id": "MED_10", "title": "", "text": "Another paper."},
    {"_id": "empty", "title": "", "text": ""},
    {"_id": "title only", "title": "Only a title", "text": ""},
]


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def beir(path: Path) -> Path:
    (path / "qrels").mkdir(parents=True)
    (path / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in CORPUS))
    queries = [{"_id": "q1", "text": "Do statins help?"}, {"_id": "q2", "text": "What else?"}]
    (path / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    rows = ["query-id\tcorpus-id\tscore", "q1\tMED-10\t2", "q1\tMED_10\t-1", "q1\tgone\t1", "q9\tMED-10\t1"]
    (path / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n")
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "locomo": lambda path: written(path / "locomo.json", LOCOMO),
    "longmemeval": lambda path: written(path / "longmemeval.json", LONGMEMEVAL),
    "beir": lambda path: beir(path / "set"),
}


def imported(form: str, path: Path, options: Options | None = None) -> tuple[Path, Writer]:
    folder = path / "made"
    return folder, import_dataset(form, SOURCES[form](path), folder, options)


def records(folder: Path, kind: type) -> list[Any]:
    return [found[1] for found in read(folder, kind)]  # a Reject is no pair and fails here


def judged(folder: Path) -> list[tuple[str, str, int]]:
    return [(line.query_id, line.target_id, line.relevance) for line in records(folder, Judgement)]


@pytest.mark.parametrize(
    ("form", "counts"),
    [
        ("locomo", {"users": 1, "conversations": 2, "messages": 4}),
        ("longmemeval", {"users": 3, "conversations": 5, "messages": 6}),
        ("beir", {"users": 1, "documents": 3}),
    ],
)
def test_an_imported_folder_loads_without_a_reject(
    form: str, counts: dict[str, int], database: Database, tmp_path: Path
) -> None:
    folder, writer = imported(form, tmp_path)
    report = load(database, str(folder))
    assert [str(reject) for reject in report.rejects] == []
    assert {kind: report.changes[kind]["added"] for kind in counts} == counts
    assert {kind: writer.counts[kind] for kind in counts} == counts
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# made\n\nMade of {importers.load(form).what}")
    assert str(tmp_path) not in readme
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".import")) == []


def test_locomo_keeps_ids_authors_times_and_captions(tmp_path: Path) -> None:
    folder, _ = imported("locomo", tmp_path)
    first, second, third, fourth = records(folder, Message)
    assert (first.message_id, first.conversation_id, first.user_id) == ("conv-1:D1:1", "conv-1/s1", "conv-1")
    assert (first.author, first.role, first.created_at.isoformat()) == ("Ida", "user", "2023-05-08T13:56:00+00:00")
    assert second.text == "Look! [shares a photo of a photo of a red boat]"
    assert third.text == "[shares a photo of a harbour]"
    assert (fourth.message_id, fourth.created_at.isoformat()) == ("conv-1:D2:1", "2023-06-03T00:05:00+00:00")


def test_locomo_repairs_evidence_and_tells_what_cannot_be(tmp_path: Path) -> None:
    folder, writer = imported("locomo", tmp_path)
    assert judged(folder) == [
        ("conv-1:q1", "conv-1:D1:1", 1),
        ("conv-1:q2", "conv-1:D1:1", 1),
        ("conv-1:q2", "conv-1:D2:1", 1),
        ("conv-1:q3", "conv-1:D1:2", 1),
    ]
    assert writer.repairs == [
        "conv-1: D1:4 is empty or there twice; left out",
        "conv-1:q2: the evidence 'D1:1; D2:1' is read as D1:1, D2:1",
        "conv-1:q3: the evidence 'D:1:02' is read as D1:2",
        "conv-1:q3: the evidence 'D' names no message; left out",
        "conv-1:q3: there is no message D9:9; left out",
    ]
    readme = (folder / "README.md").read_text()
    assert all(f"- {repair}\n" in readme for repair in writer.repairs)
    assert "- questions without judgements: 2\n" in readme


def test_locomo_keeps_adversarial_questions_without_judgements_or_leaves_them_out(tmp_path: Path) -> None:
    kept, _ = imported("locomo", tmp_path)
    asked = records(kept, QueryLine)
    assert [query.category for query in asked] == ["single_hop", "temporal", "multi_hop", "open_domain", "adversarial"]
    assert [query.answers for query in asked] == [("a boat",), ("2023",), ("red",), ("Jon",), ()]
    import_dataset("locomo", tmp_path / "locomo.json", tmp_path / "other", Options(adversarial=False))
    fewer = records(tmp_path / "other", QueryLine)
    assert fewer == asked[:-1]


def test_longmemeval_gives_every_question_a_user_a_time_and_marked_turns(tmp_path: Path) -> None:
    folder, writer = imported("longmemeval", tmp_path)
    first, abstains, late = records(folder, QueryLine)
    assert (first.user_id, first.category, first.answers) == ("e1", "single-session-user", ("7",))
    assert first.asked_at.isoformat() == "2023-05-30T23:40:00+00:00"
    assert (abstains.category, abstains.answers) == ("abstention", ())
    assert late.asked_at is None
    assert judged(folder) == [("e1", "e1/answer_1:1", 1), ("e3", "e3/s1:1", 1)]
    messages = records(folder, Message)
    assert [message.conversation_id for message in messages][:4] == ["e1/s1", "e1/answer_1", "e1/answer_1", "e1/s1#2"]
    assert messages[3].created_at is None
    assert writer.repairs == [
        "e1/s1:2 is empty; left out",
        "e1: the session s1 is there twice; the second is s1#2",
        "e1: no time of session s1 can be read from 'some day'; it has none",
        "e3: evidence is dated 2023-06-20T02:21:00+00:00, after the question (2023-05-30T23:40:00+00:00); "
        "asked_at left out",
    ]


def test_beir_documents_have_a_path_each_and_only_judged_questions_are_kept(tmp_path: Path) -> None:
    folder, writer = imported("beir", tmp_path)
    documents = records(folder, Document)
    assert [(d.document_id, d.path, d.name) for d in documents] == [
        ("MED-10", "corpus.MED_2d_10", "Statins"),
        ("MED_10", "corpus.MED_5f_10", "MED_10"),
        ("title only", "corpus.title_20_only", "Only a title"),
    ]
    assert [query.query_id for query in records(folder, QueryLine)] == ["q1"]
    assert judged(folder) == [("q1", "MED-10", 2), ("q1", "MED_10", 0)]
    assert writer.repairs == [
        "test.tsv:3: the score -1 counts as 0",
        "corpus.jsonl:3: no text; left out",
        "question q1: the document gone is not in the corpus; left out",
        "the judged question q9 is not in queries.jsonl; left out",
    ]


def test_labels_differ_where_ids_do() -> None:
    ids = ["a-b", "a_b", "a_2d_b", "x" * 300, "x" * 301, "é", ""]
    assert len({label(one) for one in ids}) == len(ids)
    assert max(len(label(one)) for one in ids) <= 200


def test_a_list_is_read_an_element_at_a_time_wherever_the_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list.json"
    value = [{"n": number, "text": 'a "quoted" ] , [ text \\ é' * number} for number in range(20)]
    for chunk in (1, 7, 64, 10_000):
        monkeypatch.setattr(elements_of, "CHUNK", chunk)
        for indent in (None, 2):
            path.write_text(json.dumps(value, indent=indent))
            assert list(elements(path)) == list(enumerate(value, 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", r"does not begin with a JSON list: expected \[, found '\{'"),
        ("", "found ''"),
        ('[{"conversation": {}, "qa": []}', "element 2 is no whole JSON"),
        ('[{"conversation": {}, "qa": []}, {"a": ]', "element 2 is no whole JSON"),
        ("[1]", "element 1 is of the type int; an object is expected"),
        ('[{"a": 1}]', "no sample of LoCoMo"),
        ('[{"conversation": {"session_1": [3]}, "qa": []}]', "cannot be read as LoCoMo's JSON, after 1 lines: A"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused_and_nothing_is_left(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "locomo.json").write_text(text)
    with pytest.raises(DatasetError, match=says):
        import_dataset("locomo", tmp_path / "locomo.json", tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["locomo.json"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    source = SOURCES["locomo"](tmp_path)
    cases: list[tuple[tuple[str, Path, Path], type[CarmentaError], str]] = [
        (("locomoo", source, tmp_path / "made"), UnknownName, "Did you mean 'locomo'"),
        (("locomo", tmp_path / "none.json", tmp_path / "made"), UsageError, "there is no .*none.json"),
        (("locomo", source, tmp_path), UsageError, "is there already and not empty"),
        (("beir", tmp_path, tmp_path / "made"), UsageError, "is no BEIR folder with the split test: there is no"),
        (("longmemeval", source, tmp_path / "made"), DatasetError, "is no question of LongMemEval"),
    ]
    for given, error, says in cases:
        with pytest.raises(error, match=says):
            import_dataset(*given)
    uneven = [LONGMEMEVAL[0] | {"haystack_dates": []}]
    with pytest.raises(DatasetError, match="differ in length: 3, 0, 3"):
        import_dataset("longmemeval", written(tmp_path / "uneven.json", uneven), tmp_path / "made")


CHATS = "chat,who,when,said\nboat,me,2024-05-01T10:00:00+02:00,Where is the key?\nboat,Ida,,\nboat,Ida,,In the tin.\n"


@pytest.mark.parametrize("inside", [False, True], ids=["by its path", "in the folder of the formats"])
def test_the_format_that_the_readme_shows_is_one_file_and_loads_without_a_reject(
    inside: bool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(importers.__file__).parent / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    place = tmp_path / "formats"
    place.mkdir()
    (place / "chats_csv.py").write_text(code)
    (tmp_path / "chats.csv").write_text(CHATS)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(place)])
    form = "chats_csv" if inside else str(place / "chats_csv.py")
    writer = import_dataset(form, tmp_path / "chats.csv", tmp_path / "chats")
    assert "chats_csv" in importers.names()
    assert writer.repairs == ["row 3: nothing was said; left out"]
    report = load(database, str(tmp_path / "chats"))
    assert (report.rejects, report.changes["messages"]["added"]) == ([], 2)
    assert str(tmp_path) not in (tmp_path / "chats" / "README.md").read_text()


def test_a_format_that_is_none_is_told_so_and_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = written(tmp_path / "some.json", [])
    head = "from carmenta_lab.importers import Format\nmade = lambda read: Format('a list', 'none', read)\n"
    cases = {
        "1 / 0": (UsageError, r"cannot be executed: ZeroDivisionError: division by zero, at .*mine0\.py:3\."),
        "exit(3)": (UsageError, "cannot be executed: SystemExit: 3"),
        "FORMAT = 7": (UsageError, "defines no FORMAT"),
        "FORMAT = made(lambda s, w, o: 1 / 0)": (
            DatasetError,
            r"be read as a list, after 0 lines: ZeroDivisionError: .*, at .*mine3\.py:3\.",
        ),
        "FORMAT = made(lambda s, w, o: w.line('votes.json'))": (
            DatasetError,
            "no file of a dataset",
        ),
    }
    for number, (code, (error, says)) in enumerate(cases.items()):
        path = tmp_path / f"mine{number}.py"
        path.write_text(head + code)
        with pytest.raises(error, match=says):
            import_dataset(str(path), source, tmp_path / "made")
    with pytest.raises(UsageError, match="there is no format file"):
        import_dataset("nowhere.py", source, tmp_path / "made")
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name != "__pycache__") == [".json", *[".py"] * 5]


def test_lines_of_every_file_of_a_dataset_can_be_written_and_a_time_as_it_is(tmp_path: Path) -> None:
    assert sorted(COUNTED) == sorted(FILES)
    with Writer(written(tmp_path / "some.json", []), tmp_path / "made", "mine", "a list", "none") as writer:
        at = datetime(2024, 5, 1, tzinfo=UTC)
        writer.line("votes.jsonl", user_id="u", message_id="m", is_upvoted=False, created_at=at)
    assert [vote.created_at for vote in records(tmp_path / "made", Vote)] == [at]
    assert writer.counts == {"votes": 1}


def test_half_a_character_is_written_so_that_it_loads(tmp_path: Path) -> None:
    sample = json.loads(json.dumps(LOCOMO))
    sample[0]["conversation"]["session_2"][0]["text"] = "broken \ud83d emoji, Größe"
    import_dataset("locomo", written(tmp_path / "locomo.json", sample), tmp_path / "made")
    assert records(tmp_path / "made", Message)[-1].text == "broken \ufffd emoji, Größe"

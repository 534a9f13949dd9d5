"""Do the files of a dataset become exactly the records and rejects that the format promises?"""

import json
import os
import re
import stat
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import GeneratorType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carmenta_lab import resources
from carmenta_lab.datasets import (
    FILES,
    Artifact,
    Conversation,
    Document,
    Feedback,
    Judgement,
    Memory,
    Message,
    Profile,
    QueryLine,
    Record,
    Reject,
    Tag,
    Vote,
    content_hash,
    find,
    flatten,
    names,
    read,
    write_rejects,
)
from carmenta_lab.datasets.kinds import KINDS
from carmenta_lab.datasets.lines import MAX_LINE_BYTES, numbered_lines
from carmenta_lab.errors import DatasetError, UnknownName, UsageError

AT = "2024-03-01T08:30:00Z"
LINES: dict[type[Record], dict[str, Any]] = {
    Message: {
        "message_id": "m1",
        "conversation_id": "c1",
        "user_id": "ada",
        "role": "user",
        "author": "Ada",
        "created_at": AT,
        "text": "The key is under the mat.",
    },
    Conversation: {"conversation_id": "c1", "user_id": "ada"},
    Document: {
        "document_id": "d1",
        "user_id": "ada",
        "path": "home.flat",
        "name": "Lease",
        "text": "Rent is due on the first.",
        "source_type": "note",
        "created_at": AT,
    },
    Memory: {
        "memory_id": "k1",
        "user_id": "ada",
        "category": "personal",
        "text": "Lives in Leeds.",
        "confidence": 0.9,
        "created_at": AT,
    },
    Profile: {"user_id": "ada", "text": "Ada mends clocks."},
    QueryLine: {"query_id": "q1", "user_id": "ada", "text": "Where is the key?"},
    Artifact: {
        "artifact_id": "a1",
        "user_id": "ada",
        "created_at": AT,
        "kind": "text",
        "title": "Plan",
        "content": "",
    },
    Vote: {"user_id": "ada", "message_id": "m1", "is_upvoted": True, "created_at": AT},
    Feedback: {
        "user_id": "ada",
        "message_id": "m1",
        "signal": "copy",
        "value": 1,
        "weight": -0.5,
        "created_at": AT,
    },
    Tag: {"user_id": "ada", "tag": "home", "target_type": "document", "target_id": "d1"},
}
NOTHING = object()


def write(folder: Path, content: bytes, name: str = "messages.jsonl") -> Path:
    (folder / name).write_bytes(content)
    return folder


def line(kind: type[Record] = Message, /, **changes: Any) -> bytes:
    """A good line of that kind with some fields changed, or left out where the change is NOTHING."""
    fields = {name: value for name, value in (LINES[kind] | changes).items() if value is not NOTHING}
    return json.dumps(fields).encode() + b"\n"


def one(folder: Path, content: bytes, kind: type[Record] = Message) -> Any:
    """The only outcome of a file with that content: a record or a Reject."""
    (outcome,) = list(read(write(folder, content, kind.FILE), kind))
    return outcome if isinstance(outcome, Reject) else outcome[1]


def reason(folder: Path, content: bytes, kind: type[Record] = Message) -> str:
    outcome = one(folder, content, kind)
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


# --- what is read


@pytest.mark.parametrize("kind", LINES)
def test_a_line_with_only_its_required_fields_is_a_record(kind: type[Record], tmp_path: Path) -> None:
    record = one(tmp_path, line(kind), kind)
    for name, value in LINES[kind].items():
        assert getattr(record, name) == (datetime.fromisoformat(AT) if name == "created_at" else value)


REQUIRED = [(kind, field.name) for kind in LINES for field in msgspec.structs.fields(kind) if field.required]


@pytest.mark.parametrize(("kind", "name"), [*REQUIRED, (Message, "text")])
def test_every_required_field_is_missed_and_named(kind: type[Record], name: str, tmp_path: Path) -> None:
    either = (kind, name) == (Message, "text")
    expected = "text, parts: neither is given, one is needed" if either else f"{name}: missing"
    assert reason(tmp_path, line(kind, **{name: NOTHING}), kind) == expected


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in LINES for name in LINES[kind]])
def test_every_required_field_of_another_type_is_named(kind: type[Record], name: str, tmp_path: Path) -> None:
    assert reason(tmp_path, line(kind, **{name: [1]}), kind).startswith(f"{name}: expected ")


def test_every_kind_of_file_is_tried_here() -> None:
    assert set(KINDS) == {*LINES, Judgement}


def test_all_fields_of_a_message_arrive(tmp_path: Path) -> None:
    attachment = {"name": "a.png", "media_type": "image/png", "bucket": "b", "key": "k/a.png", "size": 3}
    extra = {"position": 4, "parent_id": "m0", "attachments": [attachment], "content_for_llm": "Key: mat."}
    message = one(tmp_path, line(**extra, model="m", language="de"))
    assert (message.position, message.parent_id, message.content_for_llm) == (4, "m0", "Key: mat.")
    assert (message.model, message.language) == ("m", "de")
    assert msgspec.to_builtins(message.attachments) == (attachment | {"sha256": None},)


def test_a_message_without_a_time_keeps_none(tmp_path: Path) -> None:
    assert one(tmp_path, line(created_at=None)).created_at is None


def test_null_in_an_optional_field_counts_as_left_out(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Yes."}]
    assert one(tmp_path, line(text=None, parts=parts, attachments=None, language=None)).text == "Yes."
    assert one(tmp_path, line(QueryLine, answers=None, category=None), QueryLine).answers == ()


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    assert one(tmp_path, line(mood={"deep": [1, 2]})).message_id == "m1"


def test_line_numbers_count_blank_lines_and_endings_of_both_kinds(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + line().replace(b"\n", b"\r\n") + b"\n  \r\n" + line(role="bot") + line().rstrip()
    outcomes = list(read(write(tmp_path, content), Message))
    assert [item.line if isinstance(item, Reject) else item[0] for item in outcomes] == [1, 4, 5]
    assert isinstance(outcomes[1], Reject)


def test_a_missing_file_and_an_empty_one_yield_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path, Vote)) == []
    assert list(read(write(tmp_path, b"", "votes.jsonl"), Vote)) == []
    assert list(read(write(tmp_path, b"", "qrels.tsv"), Judgement)) == []


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "votes.jsonl").mkdir()
    with pytest.raises(DatasetError, match=r"votes\.jsonl cannot be read: Is a directory\."):
        list(read(tmp_path, Vote))


def test_reading_is_a_stream(tmp_path: Path) -> None:
    stream = read(write(tmp_path, line()), Message)
    assert isinstance(stream, GeneratorType)
    with (tmp_path / "messages.jsonl").open("ab") as file:
        file.write(line(message_id="m2") * 20_000)
    tracemalloc.start()
    count = sum(1 for _ in stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_001
    assert peak < 2 * 2**20  # all the records together take ten times as much


# --- times


@pytest.mark.parametrize(
    "given_time",
    [
        "2024-03-01T08:30:00Z",
        "2024-03-01t08:30:00z",
        "2024-03-01 10:30:00+02:00",
        "2024-03-01 08:30:00+00",
        "2024-03-01T08:30Z",
        "2024-03-01T14:00:00.000000+0530",
        "20240301T083000Z",
    ],
)
def test_iso_8601_with_a_zone_is_the_same_instant(given_time: str, tmp_path: Path) -> None:
    assert one(tmp_path, line(created_at=given_time)).created_at == datetime(2024, 3, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize("given_time", ["2024-03-01T08:30:00", "2024-03-01 08:30", "2024-03-01"])
def test_a_time_without_zone_is_refused(given_time: str, tmp_path: Path) -> None:
    expected = f"created_at: has no zone; expected ISO 8601 with an offset or Z, found {given_time!r}"
    assert reason(tmp_path, line(created_at=given_time)) == expected
    assert "asked_at: has no zone" in reason(tmp_path, line(QueryLine, asked_at=given_time), QueryLine)


@pytest.mark.parametrize(
    "given_time",
    [
        "2024-02-30T00:00:00Z",
        "2024-03-01T25:00:00Z",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "infinity",
        "yesterday",
        "",
        1709281800,
    ],
)
def test_an_impossible_time_is_refused(given_time: str | int, tmp_path: Path) -> None:
    expected = "created_at: expected a time in ISO 8601 with zone, in the years 1 to 9999"
    assert reason(tmp_path, line(created_at=given_time)) == f"{expected}, found {given_time!r}"


@pytest.mark.parametrize("given_time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-02:00"])
def test_a_time_that_leaves_the_years_in_utc_is_refused(given_time: str, tmp_path: Path) -> None:
    outcome = one(tmp_path, line(created_at=given_time))
    assert outcome.reason.startswith("created_at: not within the years 1 to 9999 in UTC")
    assert outcome.ids == {"message_id": "m1", "conversation_id": "c1", "user_id": "ada"}
    assert isinstance(one(tmp_path, line(created_at=given_time[:19] + "Z")), Message)


# --- values


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (Message, {"role": "bot"}, "role: unknown value, found 'bot'; known: user, assistant, system, tool"),
        (Message, {"text": " \n\u00a0"}, "text: is empty"),
        (Message, {"text": ""}, "text: is empty"),
        (Message, {"parts": [{"type": "text", "text": "x"}]}, "text, parts: both are given, only one may be"),
        (Message, {"message_id": ""}, "message_id: expected str of length >= 1, found ''"),
        (Message, {"position": -1}, "position: expected int >= 0, found -1"),
        (Message, {"position": 2**31}, "position: expected int <= 2147483647, found 2147483648"),
        (Message, {"position": True}, "position: expected int | null, got bool"),
        (Message, {"attachments": [{"name": "a"}]}, "attachments[0].media_type: missing"),
        (Message, {"language": "English"}, "language: is no language code of two small letters (ISO 639-1)"),
        (Message, {"language": "en\n"}, "language: is no language code"),
        (Memory, {"confidence": 1.01}, "confidence: expected float <= 1.0, found 1.01"),
        (Memory, {"confidence": -0.01}, "confidence: expected float >= 0.0, found -0.01"),
        (Memory, {"category": "hobby"}, "category: unknown value, found 'hobby'; known: personal, project, "),
        (Memory, {"created_at": "yesterday"}, "created_at: expected a time in ISO 8601"),
        (Document, {"text": "\t"}, "text: is empty"),
        (Document, {"tags": ["a", " "]}, "tags[1]: is empty"),
        (Conversation, {"status": "gone"}, "status: unknown value, found 'gone'; known: active, background"),
        (Conversation, {"visibility": "all"}, "visibility: unknown value, found 'all'; known: private, public"),
        (Conversation, {"folder": "a b"}, "folder: is no path: 1 to 100 labels"),
        (Feedback, {"weight": 1.5}, "weight: expected float <= 1.0, found 1.5"),
        (Feedback, {"signal": "smile"}, "signal: unknown value, found 'smile'; known: regeneration, "),
        (Artifact, {"kind": "film"}, "kind: unknown value, found 'film'; known: text, code, sheet, image, "),
        (Tag, {"target_type": "user"}, "target_type: unknown value, found 'user'; known: conversation, "),
        (Vote, {"is_upvoted": 1}, "is_upvoted: expected bool, got int"),
    ],
)
def test_a_wrong_value_is_named_and_shown(
    kind: type[Record], changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    assert reason(tmp_path, line(kind, **changes), kind).startswith(expected)


@pytest.mark.parametrize("path", ["a", "Home.flat_2.lease", "a" * 255 + ".b", ".".join(["x"] * 100)])
def test_a_path_of_labels_is_kept(path: str, tmp_path: Path) -> None:
    assert one(tmp_path, line(Document, path=path), Document).path == path


@pytest.mark.parametrize(
    "path",
    ["", "a..b", ".a", "a.", "a/b", "a b", "a-b", "café", "a.*", "a\n", "a" * 256, ".".join(["x"] * 101)],
)
def test_a_path_that_ltree_would_refuse_is_refused_with_a_hint(path: str, tmp_path: Path) -> None:
    found = reason(tmp_path, line(Document, path=path), Document)
    assert found.startswith("path: is no path: 1 to 100 labels of A-Z a-z 0-9 _ (up to 255 each) joined by dots")


def test_a_path_too_long_for_an_index_is_refused(tmp_path: Path) -> None:
    path = ".".join(["x" * 200] * 5)  # 1,004 characters
    assert reason(tmp_path, line(Document, path=path), Document).startswith("path: expected str of length <= 1000")


# --- lines that are no records at all


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{'message_id': 1}\n", "not JSON: "),
        (b'{"message_id": "m1"\n', "not JSON: "),
        (line()[:40], "not JSON: "),
        (line().rstrip() + b" {}\n", "not JSON: "),
        (line(text="a\0b").replace(b"\\u0000", b"\0"), "not JSON: "),
        (line(text="a<b").replace(b"<", b"\xff"), "not UTF-8: invalid start byte at byte "),
        (line(unknown="a<b").replace(b"<", b"\xed\xa0\x80"), "not UTF-8: invalid continuation byte at byte "),
        (b'["m1"]\n', "expected an object, found list"),
        (b"null\n", "expected an object, found NoneType"),
    ],
)
def test_what_is_no_json_object_in_utf_8_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    assert reason(tmp_path, content).startswith(expected)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
def test_a_number_that_jsonb_or_python_cannot_hold_is_refused(number: str, tmp_path: Path) -> None:
    parts = f'"parts": [{{"type": "text", "text": "x", "n": {number}}}]'
    content = line().replace(b'"text": "The key is under the mat."', parts.encode())
    outcome = one(tmp_path, content)
    assert re.match(r"not JSON: |parts\[0\]\[\.\.\.\]: (number|integer value) out of range", outcome.reason)
    assert outcome.ids["conversation_id"] == "c1"


@pytest.mark.parametrize("depth", [501, 5_000, 500_000])
@pytest.mark.parametrize("name", ["parts", "unknown"])
def test_nesting_beyond_500_levels_is_refused(name: str, depth: int, tmp_path: Path) -> None:
    nested = b"[" * (depth - 1) + b"]" * (depth - 1)
    content = line(**{name: 0}).replace(b": 0", b": " + nested)
    assert reason(tmp_path, content) == "nested deeper than 500 levels"


def test_nesting_of_500_levels_is_read(tmp_path: Path) -> None:
    levels = 500 - 3  # the line, the list of parts, the part
    nested = b'"parts": [{"text": "x", "deep": ' + b"[" * levels + b"]" * levels + b"}]"
    content = line().replace(b'"text": "The key is under the mat."', nested)
    assert one(tmp_path, content).text == "x"


def test_many_brackets_in_a_text_are_no_nesting(tmp_path: Path) -> None:
    assert one(tmp_path, line(text="[{" * 2000)).text == "[{" * 2000


def test_a_text_of_10_mb_is_read(tmp_path: Path) -> None:
    assert len(one(tmp_path, line(text="word " * 2_000_000)).text) == 10_000_000


def test_a_line_beyond_the_limit_is_refused_within_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "messages.jsonl").open("wb") as file:
        file.write(line(text="start ")[:-3])
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b'"}\n' + line(message_id="m2"))
    tracemalloc.start()
    long, after = list(read(tmp_path, Message))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(long, Reject)
    assert long.reason == f"longer than {MAX_LINE_BYTES} bytes"
    assert long.ids == {"message_id": "m1", "conversation_id": "c1", "user_id": "ada"}
    assert len(long.raw) == 10_000
    assert not isinstance(after, Reject)
    assert (after[0], after[1].message_id) == (2, "m2")
    assert peak < 3 * MAX_LINE_BYTES


def test_a_line_at_the_limit_is_whole_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * MAX_LINE_BYTES + b"\n" + b"b" * (MAX_LINE_BYTES + 1) + b"\nc\n" + b"d" * MAX_LINE_BYTES)
    assert [(number, whole) for number, _, whole in numbered_lines(path)] == [
        (1, True),
        (2, False),
        (3, True),
        (4, True),
    ]


# --- mending


def test_nul_characters_are_taken_out_everywhere(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a\0b"}, {"type": "data-x", "k\0": ["\0c"]}]
    message = one(tmp_path, line(text=NOTHING, parts=parts, message_id="m\0" + "1"))
    assert (message.text, message.message_id) == ("ab", "m1")
    assert message.parts == [{"type": "text", "text": "ab"}, {"type": "data-x", "k": ["c"]}]
    assert reason(tmp_path, line(text="\0")) == "text: is empty"


def test_an_escaped_backslash_before_u0000_is_no_nul(tmp_path: Path) -> None:
    assert one(tmp_path, line(text=r"write \u0000 or \ud800 \\u0000")).text == r"write \u0000 or \ud800 \\u0000"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(categories=["Cs", "Lu", "So", "Cc", "Po"], include_characters='\0\\"u\ud83d\ude00')))
def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path, given_text: str) -> None:
    encoded = line(text="x" + given_text)
    read_back = str(json.loads(encoded)["text"])
    assert one(tmp_path, encoded).text == re.sub("[\ud800-\udfff]", "\ufffd", read_back).replace("\0", "")


# --- round trips and rubbish

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
TIMES = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
MESSAGES = st.builds(
    Message,
    message_id=IDS,
    conversation_id=IDS,
    user_id=IDS,
    role=st.sampled_from(["user", "assistant", "system", "tool"]),
    author=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    created_at=st.none() | TIMES,
    text=WORDS,
    position=st.none() | st.integers(0, 2**31 - 1),
    parent_id=st.none() | IDS,
    model=st.none() | WORDS,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(MESSAGES, max_size=5))
def test_messages_survive_the_way_through_a_file(tmp_path: Path, messages: list[Message]) -> None:
    write(tmp_path, b"".join(msgspec.json.encode(message) + b"\n" for message in messages))
    assert list(read(tmp_path, Message)) == list(enumerate(messages, start=1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from([*LINES]), data=st.data())
def test_no_value_in_any_field_stops_the_reading(tmp_path: Path, kind: type[Record], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(kind.__struct_fields__))
    content = line(kind, **{name: data.draw(JSON)}) + line(kind)
    assert len(list(read(write(tmp_path, content, kind.FILE), kind))) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(), st.binary())
def test_no_bytes_stop_the_reading(tmp_path: Path, before: bytes, within: bytes) -> None:
    content = before + b"\n" + line().replace(b"under", within) + b"\n" + line(message_id="last")
    *_, last = read(write(tmp_path, content), Message)
    assert not isinstance(last, Reject)
    assert last[1].message_id == "last"


# --- judgements

HEADER = b"query_id\ttarget_id\trelevance\n"


def test_judgements_are_read_below_their_header(tmp_path: Path) -> None:
    write(tmp_path, b"\xef\xbb\xbf" + HEADER + b"q1\tm1\t2\r\n\nq 1\tm:\x002\t0", "qrels.tsv")
    assert list(read(tmp_path, Judgement)) == [
        (2, Judgement(query_id="q1", target_id="m1", relevance=2)),
        (4, Judgement(query_id="q 1", target_id="m:2", relevance=0)),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"q1\tm1", "expected 3 columns separated by tabs, found 2"),
        (b"q1 m1 1", "expected 3 columns separated by tabs, found 1"),
        (b"q1\t0\tm1\t1", "expected 3 columns separated by tabs, found 4"),
        (b"q1\tm1\t-1", "relevance: expected an integer from 0, found '-1'"),
        (b"q1\tm1\t1.0", "relevance: expected an integer from 0, found '1.0'"),
        (b"q1\tm1\t 1", "relevance: expected an integer from 0, found ' 1'"),
        (b"q1\tm1\t", "relevance: expected an integer from 0, found ''"),
        (b"q1\tm1\t2147483648", "relevance: expected int <= 2147483647, found 2147483648"),
        (b"q1\tm1\t" + b"9" * 5000, "relevance: expected an integer from 0, found '99999999999999999999'"),
        (b"\tm1\t1", "query_id: expected str of length >= 1, found ''"),
        (b"q\xff\tm1\t1", "not UTF-8: invalid start byte at byte 2 of the line"),
    ],
)
def test_a_bad_judgement_is_refused(row: bytes, expected: str, tmp_path: Path) -> None:
    bad, good = list(read(write(tmp_path, HEADER + row + b"\nq1\tm1\t1\n", "qrels.tsv"), Judgement))
    assert isinstance(bad, Reject)
    assert bad.reason == expected
    assert not isinstance(good, Reject)


@pytest.mark.parametrize("first", [b"q1\tm1\t1\n", b"query-id\tcorpus-id\tscore\n", b"query_id target_id relevance\n"])
def test_judgements_without_their_header_are_one_sentence(first: bytes, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"qrels\.tsv:1: expected the header line query_id<tab>target_id"):
        list(read(write(tmp_path, first + b"q1\tm1\t1\n", "qrels.tsv"), Judgement))


# --- parts


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "Hello"}, "Hello"),
        ({"type": "reasoning", "text": "Hm."}, ""),
        ({"type": "step-start"}, ""),
        ({"type": "data-weather", "data": {"c": 3}}, ""),
        ({"type": "source-url", "url": "https://example.org"}, ""),
        ({"type": "novelty", "text": "kept"}, "kept"),
        ({"text": "typeless"}, "typeless"),
        ({"type": 5, "text": 5}, ""),
        ({}, ""),
        (
            {"type": "tool-getWeather", "state": "output-available", "input": {"city": "Köln"}, "output": [3]},
            '[tool getWeather] input: {"city":"Köln"} -> output: [3]',
        ),
        ({"type": "tool-now", "state": "input-available", "input": {}}, "[tool now] input: {}"),
        ({"type": "tool-now", "state": "input-streaming"}, "[tool now]"),
        (
            {"type": "tool-now", "state": "output-error", "input": 1, "errorText": "late"},
            "[tool now] input: 1 -> error: late",
        ),
        ({"type": "dynamic-tool", "toolName": "mcp", "output": "a\nb"}, "[tool mcp] output: a\nb"),
        (
            {"type": "tool-invocation", "toolInvocation": {"toolName": "f", "args": {"a": 1}, "result": False}},
            '[tool f] input: {"a":1} -> output: false',
        ),
        ({"type": "tool-invocation"}, ""),
        ({"type": "tool-call", "toolName": "f", "args": [1]}, "[tool f] input: [1]"),
        ({"type": "tool-result", "toolName": "f", "result": {"ok": True}}, '[tool f] output: {"ok":true}'),
        ({"type": "file", "filename": "lease.pdf", "mediaType": "application/pdf"}, "[file lease.pdf]"),
        ({"type": "file", "mediaType": "image/png", "url": "data:..."}, "[file image/png]"),
        ({"type": "file"}, "[file]"),
    ],
)
def test_a_part_reads_as(part: dict[str, Any], expected: str) -> None:
    assert flatten([part]) == expected


def test_parts_keep_their_order_between_blank_lines() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " "}, {"type": "file"}, {"text": "b"}]
    assert flatten(parts) == "a\n\n[file]\n\nb"
    assert flatten([]) == ""


def test_each_side_of_a_tool_call_is_cut_at_500_characters() -> None:
    flat = flatten([{"type": "tool-f", "input": "i" * 500, "output": "o" * 501}])
    assert flat == f"[tool f] input: {'i' * 500} -> output: {'o' * 500}…"


def test_a_message_of_parts_keeps_them_and_their_text(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Yes."}, {"type": "text", "text": "No."}]
    message = one(tmp_path, line(text=NOTHING, parts=parts))
    assert (message.text, message.parts) == ("Yes.\n\nNo.", parts)


@pytest.mark.parametrize("parts", [[], [{"type": "step-start"}], [{"type": "text", "text": " "}]])
def test_parts_without_anything_to_read_are_refused(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    expected = "parts: empty text, no part holds anything to read"
    assert reason(tmp_path, line(text=NOTHING, parts=parts)) == expected


def test_a_text_part_without_a_string_is_refused(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]
    assert reason(tmp_path, line(text=NOTHING, parts=parts)) == "parts[1].text: expected a string, found int"
    assert reason(tmp_path, line(text=NOTHING, parts=["a"])) == "parts[0]: expected object, got str"


# --- rejects


def test_a_reject_says_where_why_whose_and_what(tmp_path: Path) -> None:
    content = line(role="bot")
    outcome = one(tmp_path, b"\n\n" + content)
    assert str(outcome) == f"messages.jsonl:3: {outcome.reason}"
    assert outcome.ids == {"message_id": "m1", "conversation_id": "c1", "user_id": "ada"}
    assert outcome.raw == content.rstrip()


def test_the_ids_of_a_broken_line_are_the_first_of_their_names(tmp_path: Path) -> None:
    broken = line(text=NOTHING, parts=[{"type": "data-x", "message_id": "m9"}], n=float("nan"))
    assert one(tmp_path, broken).ids == {"message_id": "m1", "conversation_id": "c1", "user_id": "ada"}


def test_the_ids_of_a_broken_line_are_not_those_in_its_text(tmp_path: Path) -> None:
    broken = line(message_id='m"é', text='so "conversation_id": "c9" it says')
    moved = b'{"text"' + broken.rstrip()[1:].split(b'"text"')[1][:-1] + b", " + broken[1:].split(b', "text"')[0]
    assert one(tmp_path, moved).ids == {"message_id": 'm"é', "conversation_id": "c1", "user_id": "ada"}


def test_rejects_are_appended_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    first = Reject("messages.jsonl", 3, "role: unknown", {}, b"a\xffb\n\xc3\xa9")
    before = os.umask(0)
    try:
        assert write_rejects(path, [first]) == 1
        path.chmod(0o644)
        assert write_rejects(path, iter([first, Reject("votes.jsonl", 9, "x")])) == 2
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entries = [json.loads(entry) for entry in path.read_text().splitlines()]
    assert entries[0] == {"file": "messages.jsonl", "line": 3, "reason": "role: unknown", "raw": "a\\xffb\né"}
    assert [entry["line"] for entry in entries] == [3, 3, 9]


def test_without_rejects_no_file_is_made(tmp_path: Path) -> None:
    assert write_rejects(tmp_path / "rejects.jsonl", []) == 0
    assert list(tmp_path.iterdir()) == []


def test_rejects_to_nowhere_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rejects cannot be written to .*: No such file or directory"):
        write_rejects(tmp_path / "no" / "rejects.jsonl", [Reject("votes.jsonl", 1, "x")])


def test_a_device_keeps_its_mode(tmp_path: Path) -> None:
    before = Path(os.devnull).stat().st_mode
    assert write_rejects(Path(os.devnull), [Reject("votes.jsonl", 1, "x")]) == 1
    assert Path(os.devnull).stat().st_mode == before


# --- folders


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's data with the datasets `sample` and `notes`, in an otherwise empty working directory."""
    for folder, content in (("sample", "messages.jsonl"), ("notes", "documents.jsonl"), ("other", "README.md")):
        (tmp_path / "project" / folder).mkdir(parents=True)
        (tmp_path / "project" / folder / content).touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(resources, "datasets", lambda: tmp_path / "project")
    return tmp_path / "project"


def test_a_dataset_is_found_by_name_and_by_path(shelf: Path) -> None:
    assert find("sample") == find(shelf / "sample") == find("../project/notes/../sample/") == shelf / "sample"
    assert names() == ["notes", "sample"]


def test_datasets_here_are_found_as_well(shelf: Path) -> None:
    here = shelf.parent / "here"
    for folder in (here / "data" / "mine", here / "loose"):
        folder.mkdir(parents=True)
        (folder / "messages.jsonl").touch()
    assert names() == ["mine", "notes", "sample"]
    assert (find("mine"), find("loose")) == (here / "data" / "mine", here / "loose")
    os.chdir(here / "loose")
    assert find(".") == here / "loose"


def test_a_link_keeps_its_own_name(shelf: Path) -> None:
    (shelf / "current").symlink_to(shelf / "sample")
    assert find("current").name == "current"


def test_an_unknown_name_lists_the_known_ones(shelf: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset 'sampel'\. Did you mean 'sample'\? Known: notes, sample\."):
        find("sampel")


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("./sample", r"there is no folder \./sample; known by name: notes, sample\."),
        ("", "the dataset's name is empty"),
        ("x" * 5000, "unknown dataset"),
        ("a\0b", "unknown dataset"),
        ("../project/sample/messages.jsonl", "is a file; give the folder that holds it"),
        (5, "a dataset is given by name or by the path of its folder, not as 5"),
    ],
)
@pytest.mark.usefixtures("shelf")
def test_what_is_no_folder_is_one_sentence(given_name: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        find(given_name)


def test_a_folder_without_messages_and_documents_is_no_dataset(shelf: Path) -> None:
    with pytest.raises(DatasetError, match=r"other holds neither messages\.jsonl nor documents\.jsonl"):
        find(shelf / "other")


def test_the_hash_follows_the_known_files_alone(tmp_path: Path) -> None:
    first = content_hash(write(tmp_path, line()))
    assert first == content_hash(write(tmp_path, b"read me", "README.md"))
    assert re.fullmatch("[0-9a-f]{64}", first)
    seen = {first} | {content_hash(write(tmp_path, b"x", name)) for name in FILES if name != "messages.jsonl"}
    assert len(seen) == len(FILES)
    assert content_hash(write(tmp_path, line() + b"\n")) not in seen


def test_the_hash_tells_apart_what_moves_between_files(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    write(folders[0], b"x", "votes.jsonl")
    write(folders[1], b"x", "tags.jsonl")
    write(folders[2], b"xtags.jsonl", "votes.jsonl")
    write(write(folders[3], b"x", "votes.jsonl"), b"", "tags.jsonl")
    assert len({content_hash(folder) for folder in folders}) == 4

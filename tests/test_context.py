"""Assembly of contexts: packing as pure functions, reading on a small dataset made here."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import factory
import psycopg
import pytest
from factory import write
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

import carmenta_lab
from carmenta_lab.context import BundledCounter, Context, Policy, Share, Tier, assemble, policies, reading
from carmenta_lab.context.compress import Gists, Repeats
from carmenta_lab.context.conversation import named
from carmenta_lab.context.material import Material, MessageText, RetrievedText
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import rooms
from carmenta_lab.context.reading import read_messages
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.statement import driver
from carmenta_lab.records import Query

USER = UUID(int=1)
MISSION = policies.load("mission_order")


@dataclass(frozen=True)
class WordCounter:
    """A token a word: hand-countable."""

    name: str = "words"
    overhead: int = 0
    additive: bool = True

    def count(self, texts: Any) -> list[int]:
        return [len(text.split()) for text in texts]


def in_full(messages: int, last: int) -> Policy:
    """The mission's order, with only the last messages untouched and older ones as they are stored."""
    return replace(MISSION, tiers=(Tier(last), Tier(messages - last, 0.5)), compression="stored")


def said(number: int, text: str | None, role: Any = "user", **more: Any) -> MessageText:
    return MessageText((UUID(int=number),), (f"m{number}",), role, text, **more)


def found(number: int, text: str, rank: int = 1, kind: Any = "memory", **more: Any) -> RetrievedText:
    return RetrievedText(UUID(int=1000 + number), f"k{number}", kind, "Memory: ", text, rank, 1 / rank, **more)


def packed(material: Material, budget: int, policy: Policy = MISSION, overhead: int = 0) -> Context:
    return pack(material, policy, budget, WordCounter(overhead=overhead), "test")


def sources(context: Context) -> list[str]:
    return [source for block in context.blocks for source in block.sources]


def reasons(context: Context) -> dict[str, str]:
    return {dropped.source: dropped.reason for dropped in context.dropped}


class Counting(BundledCounter):
    """The bundled counter, noting what it is asked for."""

    asked: set[str] = set()  # noqa: RUF012

    def count(self, texts: Any) -> list[int]:
        self.asked.update(texts)
        return super().count(texts)


QUERY = Query("q", USER, "which tea")  # two words

TEXTS = st.text(alphabet=st.sampled_from("ab 1\n.ü猫🙂"), max_size=60)
SAID = st.builds(
    MessageText,
    st.uuids().map(lambda key: (key,)),
    TEXTS.map(lambda name: (name,)),
    st.sampled_from(["system", "user", "assistant"]),
    st.none() | TEXTS,
    st.none() | TEXTS,
    author=st.none() | st.sampled_from(["Ann", "Bob"]),
    length_bytes=st.integers(0, 9999),
    is_result=st.booleans(),
    compressed_by=st.just("as stored"),
    created_at=st.none(),
    tokens=st.none(),
    head=st.just(""),
)
DAYS = st.datetimes(datetime(2025, 1, 1), datetime(2025, 1, 3), timezones=st.just(UTC))
FOUND = st.builds(
    lambda one, day: one._replace(created_at=day, date=f"[{day.date()}] " if day else ""),
    st.builds(
        RetrievedText,
        st.uuids(),
        TEXTS,
        st.sampled_from(["memory", "passage"]),
        st.sampled_from(["", "Ann: "]),
        TEXTS,
        st.integers(1, 50),
        st.floats(0, 1),
        created_at=st.none(),
        made_from=st.none(),
        obsolete=st.sampled_from(["", "", "superseded by k2"]),
        tokens=st.none(),
        whole=st.booleans(),
        date=st.just(""),
    ),
    st.none() | DAYS,
)
MATERIAL = st.builds(
    Material,
    st.just(Query("q", USER, "a 1")),
    st.none() | TEXTS,
    st.just("p"),
    st.lists(SAID, max_size=25, unique_by=lambda one: one[0]).map(tuple),
    st.lists(FOUND, max_size=15, unique_by=lambda one: one.id).map(tuple),
)
SHARES = st.tuples(st.floats(0, 1 / 3), st.floats(1 / 3, 1)).map(lambda pair: Share(*pair))


@settings(max_examples=200, deadline=None)
@given(
    MATERIAL,
    st.integers(10, 400) | st.integers(10, 200_000),
    st.tuples(SHARES, SHARES, SHARES),
    st.integers(0, 4),
    st.sampled_from(["sentences", "stored"]),
)
def test_the_budget_is_never_exceeded(
    material: Material, budget: int, shares: tuple[Share, Share, Share], overhead: int, compression: Any
) -> None:
    tiers = (Tier(3), Tier(5, 0.6), Tier(20, 0.3))
    policy = replace(MISSION, profile=shares[0], conversation=shares[1], retrieved=shares[2], tiers=tiers)
    policy = replace(policy, compression=compression, order=("profile", "retrieved", "conversation"))
    counter = replace(BundledCounter(), overhead=overhead)
    context = pack(material, policy, budget, counter)
    assert context.tokens == sum(block.tokens for block in context.blocks) <= budget
    assert sum(counter.count([message["content"] for message in context.as_messages()])) <= context.tokens
    assert context.blocks[-1].kind == "query"
    assert all(block.text.strip() for block in context.blocks)
    assert context == pack(material, policy, budget, counter)


@settings(max_examples=200, deadline=None)
@given(MATERIAL, st.integers(10, 400))
def test_everything_considered_stands_or_is_listed_as_left_out(material: Material, budget: int) -> None:
    context = packed(material, budget)
    accounted = [key for one in (*context.blocks, *context.dropped) for key in one.ids]
    blank = [one.ids[0] for one in material.messages if one.text is not None and not one.text.strip()]
    expected = [*(one.ids[0] for one in material.messages), *(one.id for one in material.retrieved)]
    assert sorted([*accounted, *blank]) == sorted(expected)
    assert "q" in sources(context)
    profile = [one for one in (*context.blocks, *context.dropped) if one.kind == "profile"]
    assert len(profile) == bool(material.profile and material.profile.strip())


@settings(max_examples=100, deadline=None)
@given(MATERIAL, st.integers(10, 400))
def test_the_messages_alternate_and_the_system_comes_first(material: Material, budget: int) -> None:
    roles = [message["role"] for message in packed(material, budget).as_messages()]
    assert all(first != second for first, second in pairwise(roles))
    assert "system" not in roles[1:]
    assert roles[-1] == "user"
    assert roles[roles[0] == "system"] == "user"


def openai_faults(messages: list[dict[str, Any]]) -> list[str]:
    """What the chat completions API, or a template that demands turns, would refuse."""
    roles = [message.get("role") for message in messages]
    faults = [f"keys {sorted(message)}" for message in messages if set(message) != {"role", "content"}]
    faults += [f"role {role}" for role in roles if role not in ("system", "user", "assistant")]
    faults += ["empty content" for m in messages if not isinstance(m["content"], str) or not m["content"].strip()]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    faults += ["turns"] * (talk != [("user", "assistant")[n % 2] for n in range(len(talk))])
    return faults + ["the last word is not the user's"] * (talk[-1:] != ["user"])


def anthropic_faults(request: dict[str, Any]) -> list[str]:
    """What the messages API would refuse: the system is a parameter of its own and the user speaks first."""
    faults = [f"key {key}" for key in request if key not in ("system", "messages")]
    faults += ["empty system"] * ("system" in request and not str(request["system"]).strip())
    faults += ["a system message"] * any(message["role"] == "system" for message in request["messages"])
    return faults + openai_faults(request["messages"])


@settings(max_examples=100, deadline=None)
@given(MATERIAL, st.integers(10, 400), st.booleans())
def test_both_lists_have_the_shapes_that_the_apis_document(material: Material, budget: int, early: bool) -> None:
    policy = replace(MISSION, order=("profile", "retrieved", "conversation")) if early else MISSION
    context = packed(material, budget, policy)
    assert openai_faults(context.as_messages()) == []
    assert anthropic_faults(context.as_anthropic()) == []
    said = [message["content"] for message in context.as_messages() if message["role"] != "system"]
    assert [message["content"] for message in context.as_anthropic()["messages"]] == said


def test_the_checkers_see_what_is_wrong() -> None:
    user, assistant = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    assert openai_faults([assistant, user]) == ["turns"]
    assert openai_faults([user, assistant]) == ["the last word is not the user's"]
    assert openai_faults([{"role": "tool", "content": " "}, user]) == ["role tool", "empty content", "turns"]
    assert "a system message" in anthropic_faults({"messages": [{"role": "system", "content": "x"}, user]})


def test_a_result_of_a_tool_never_stands_without_its_call() -> None:
    call, result = "[tool look] input: far away", "[tool look] output: a ship"
    talk = (said(1, "look there"), said(2, call, "assistant"), said(3, result, "assistant", is_result=True))
    context = packed(Material(QUERY, messages=talk), 100)
    assert [block.sources for block in context.blocks] == [("m1",), ("m2", "m3"), ("q",)]
    assert context.blocks[1].text == f"{call}\n\n{result}"
    tight = packed(Material(QUERY, messages=talk), 2 + 6)  # the result alone would fit
    assert not any("ship" in block.text for block in tight.blocks)
    lost = packed(Material(QUERY, messages=talk[2:]), 100)
    assert reasons(lost) == {"m3": "a tool's result whose call lies before the messages considered"}


def test_an_assistant_that_would_speak_first_is_quoted_by_name() -> None:
    talk = (said(1, "good day", "assistant", author="Carmenta"), said(2, "hello"))
    context = packed(Material(QUERY, messages=talk), 100)
    assert [(block.role, block.text) for block in context.blocks[:2]] == [
        ("user", "Carmenta: good day"),
        ("user", "hello"),
    ]
    tight = packed(Material(QUERY, messages=talk), 2 + 3)  # three words and no room for the name
    assert sources(tight) == ["m2", "q"]
    assert reasons(tight)["m1"].startswith("a chat begins with the user")


def test_memories_and_passages_both_keep_a_share() -> None:
    facts = tuple(found(n, f"fact {n} said at length", n + 1) for n in range(20))  # 6 words each, the best ranks
    texts = tuple(found(100 + n, f"part {n} of a page", 21 + n, "passage") for n in range(20))
    context = packed(Material(QUERY, retrieved=facts + texts), 2 + 60)
    kinds = [block.kind for block in context.blocks]
    assert kinds.count("passage") == 3  # 18 of the 60 tokens are kept for passages, six a hit
    assert kinds.count("memory") == 7
    alone = packed(Material(QUERY, retrieved=facts), 2 + 60)
    assert [block.kind for block in alone.blocks].count("memory") == 10  # nobody else wants it


def test_facts_that_disagree_stand_with_dates_and_the_newest_last() -> None:
    def day(number: int) -> dict[str, Any]:
        return {"created_at": datetime(2025, 3, number, tzinfo=UTC), "date": f"[2025-03-{number:02d}] "}

    facts = (
        found(1, "Rent is 900.", 1, **day(9)),
        found(2, "Rent is 800.", 2, **day(3)),
        found(3, "Rent is due.", 3, **day(9)),
    )
    context = packed(Material(QUERY, retrieved=facts), 100)
    assert [block.text for block in context.blocks[:-1]] == [
        "[2025-03-03] Memory: Rent is 800.",
        "[2025-03-09] Memory: Rent is due.",
        "Memory: Rent is 900.",
    ]
    assert context.tokens == 2 + (5 + 5 + 4)


@given(st.integers(0, 500), st.tuples(*[st.integers(0, 500)] * 3), st.tuples(SHARES, SHARES, SHARES))
def test_rooms_keep_the_floors_and_never_exceed_what_there_is(
    available: int, demands: tuple[int, ...], shares: tuple[Share, ...]
) -> None:
    granted = rooms(available, demands, shares)
    assert sum(granted) == min(available, sum(demands))
    for room, demand, share in zip(granted, demands, shares, strict=True):
        assert min(demand, int(available * share.floor)) <= room <= demand


def test_rooms_serve_the_shares_before_the_rest() -> None:
    # floors 10, 10; shares 50, 30; the remaining 20 to the first
    assert rooms(100, (200, 200), (Share(0.1, 0.5), Share(0.1, 0.3))) == [70, 30]


@settings(max_examples=60, deadline=None)
@given(st.integers(1000, 3000), st.lists(st.integers(1, 50), min_size=120, max_size=120), st.integers(0, 30))
def test_most_of_the_budget_is_used_when_there_is_enough_to_say(budget: int, lengths: list[int], memories: int) -> None:
    texts = [" ".join([f"w{number}"] * length) for number, length in enumerate(lengths)]
    talk = tuple(said(number, text, ("user", "assistant")[number % 2]) for number, text in enumerate(texts))
    facts = tuple(found(number, f"fact number {number}", number + 1) for number in range(memories))
    context = packed(Material(QUERY, None, "", talk, facts), budget, replace(MISSION, tiers=(Tier(10), Tier(190, 0.9))))
    enough = sum(lengths) + 4 * memories + 2 >= budget
    assert not enough or context.tokens >= 0.95 * budget


def test_the_order_is_profile_conversation_memories_query() -> None:
    talk = (said(1, "hello there"), said(2, "good day", "assistant"))
    context = packed(Material(QUERY, "likes tea", "p", talk, (found(1, "green tea"),)), 100)
    assert [block.kind for block in context.blocks] == ["profile", "message", "message", "memory", "query"]
    assert context.as_messages() == [
        {"role": "system", "content": "likes tea"},
        {"role": "user", "content": "hello there"},
        {"role": "assistant", "content": "good day"},
        {"role": "user", "content": "Memory: green tea\n\nwhich tea"},
    ]


def test_only_older_messages_are_compressed() -> None:
    talk = tuple(said(number, "one two three", compressed="one") for number in range(3))
    context = packed(Material(QUERY, messages=talk), 100, in_full(50, 1))
    assert [(b.text, b.tokens, b.tokens_before) for b in context.blocks[:-1]] == [
        ("one", 1, 3),
        ("one", 1, 3),
        ("one two three", 3, 3),
    ]
    assert "compressed from 3 to 1" in context.blocks[0].why


def test_an_older_message_without_a_shorter_text_stays_in_full() -> None:
    talk = (said(1, "one two"), said(2, "two", compressed="two and more"), said(3, "three"))
    context = packed(Material(QUERY, messages=talk), 100, in_full(50, 0))
    assert [block.text for block in context.blocks[:-1]] == ["one two", "two", "three"]


def test_a_recent_message_is_compressed_when_it_does_not_fit_in_full() -> None:
    talk = (said(1, "w " * 50, compressed="short form"),)
    context = packed(Material(QUERY, messages=talk), 20)
    assert context.blocks[0].text == "short form"


def test_the_oldest_messages_go_first_and_leave_no_hole() -> None:
    talk = tuple(said(number, "w " * length) for number, length in enumerate([1, 9, 6, 6]))
    context = packed(Material(QUERY, messages=talk), 2 + 14)
    assert sources(context) == ["m2", "m3", "q"]
    assert reasons(context) == dict.fromkeys(["m0", "m1"], "newer messages fill the conversation's tokens")


def test_a_message_longer_than_the_room_is_passed_over() -> None:
    talk = (said(1, "a b"), said(2, "w " * 99), said(3, "c d"))
    context = packed(Material(QUERY, messages=talk), 20)
    assert sources(context) == ["m1", "m3", "q"]
    assert reasons(context)["m2"] == "longer than the conversation's 18 tokens"


def test_a_message_that_was_not_fetched_is_listed_or_stands_compressed() -> None:
    talk = (said(1, None, length_bytes=640_000), said(2, None, compressed="in short", length_bytes=640_000))
    context = packed(Material(QUERY, messages=talk), 50)
    assert sources(context) == ["m2", "q"]
    assert "640,000 bytes" in reasons(context)["m1"]


def test_the_query_is_not_said_twice() -> None:
    context = packed(Material(QUERY, messages=(said(1, "hello"), said(2, "Which tea?"))), 50)
    assert sources(context) == ["m1", "q"]
    assert reasons(context) == {"m2": "is the query itself"}


def test_a_memory_leaves_when_its_source_message_is_in_full_and_stays_when_it_is_compressed() -> None:
    talk = (said(1, "one two three", compressed="one"), said(2, "four"))
    facts = (found(1, "from the first", made_from=UUID(int=1)), found(2, "from the second", 2, made_from=UUID(int=2)))
    context = packed(Material(QUERY, messages=talk, retrieved=facts), 100, in_full(50, 1))
    assert sources(context) == ["m1", "m2", "k1", "q"]
    assert reasons(context) == {"k2": "its source message stands in full"}


def test_a_passage_of_a_message_in_full_leaves() -> None:
    hit = RetrievedText(UUID(int=1), "m1", "passage", "Ann: ", "tea", 1, 0.9)
    context = packed(Material(QUERY, messages=(said(1, "tea"),), retrieved=(hit,)), 100)
    assert [block.kind for block in context.blocks] == ["message", "query"]
    assert reasons(context) == {"m1": "stands in full in the conversation"}


def test_obsolete_and_repeated_memories_leave_with_the_reason() -> None:
    facts = (
        found(1, "The flat is sold.", 1, obsolete="superseded by k2"),
        found(2, "The flat is let.", 2),
        found(3, "the flat is LET", 3),
    )
    context = packed(Material(QUERY, retrieved=facts), 100)
    assert sources(context) == ["k2", "q"]
    assert reasons(context) == {"k1": "superseded by k2", "k3": "says what another block says"}


def test_what_was_retrieved_is_chosen_by_rank_and_shown_with_the_newest_last() -> None:
    def day(number: int) -> datetime:
        return datetime(2025, 1, number, tzinfo=UTC)

    facts = (found(1, "b", 1, created_at=day(9)), found(2, "c", 2, created_at=day(3)), found(3, "d", 3))
    context = packed(Material(QUERY, retrieved=facts), 2 + 4)
    assert sources(context) == ["k2", "k1", "q"]  # of two words each, two fit
    assert reasons(context) == {"k3": "longer than the 0 tokens left"}
    assert sources(packed(Material(QUERY, retrieved=facts), 100)) == ["k3", "k2", "k1", "q"]


def test_what_memories_do_not_use_goes_to_the_conversation() -> None:
    talk = tuple(said(number, "w " * 10) for number in range(10))
    facts = (found(1, "w " * 39, made_from=UUID(int=9)),)  # 40 words, reserved until its source stands in full
    context = packed(Material(QUERY, messages=talk, retrieved=facts), 102)
    assert [source for source in sources(context) if source.startswith("m")] == [f"m{number}" for number in range(10)]


def test_a_profile_too_long_leaves_its_room_to_others() -> None:
    context = packed(Material(QUERY, "w " * 90, "p", (said(1, "w " * 60),)), 100)
    assert sources(context) == ["m1", "q"]
    assert reasons(context)["p"].startswith("longer than the profile's")
    talk = tuple(said(number, "w " * 10) for number in range(6))
    facts = tuple(found(number, f"fact {number} of twelve", number + 1) for number in range(12))  # 5 words each
    context = packed(Material(QUERY, "w " * 90, "p", talk, facts), 102)
    # of 100: shares 50 and 30, the remaining 20 to the conversation first, which needs 10 of them
    assert [block.kind for block in context.blocks].count("message") == 6
    assert [block.kind for block in context.blocks].count("memory") == 8


def test_the_overhead_of_every_block_is_counted() -> None:
    talk = (said(1, "one"), said(2, "two", "assistant"))
    assert packed(Material(QUERY, messages=talk), 100, overhead=3).tokens == (1 + 3) + (1 + 3) + (2 + 3)


def test_a_budget_too_small_for_the_query_names_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"budget of 1 tokens is too small: the query alone takes 2"):
        packed(Material(QUERY), 1)


def test_authors_are_named_where_they_share_a_role() -> None:
    talk = (said(1, "hi", author="Ann"), said(2, "hey", author="Bob"), said(3, "yes", "assistant", author="Carmenta"))
    assert [one.head + (one.text or "") for one in named(talk)] == ["Ann: hi", "Bob: hey", "yes"]


def test_a_late_system_message_speaks_in_the_users_role() -> None:
    talk = (said(1, "be kind", "system"), said(2, "hi"), said(3, "be brief", "system"))
    assert [(one.role, one.head + (one.text or "")) for one in named(talk)] == [
        ("system", "be kind"),
        ("user", "hi"),
        ("user", "System: be brief"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("The flat is let.", "the flat is LET", True),
        ("Ann likes a green tea.", "Ann liked green teas", True),
        ("Tom called Ann", "Ann called Tom", False),
        ("Ann does not like tea", "Ann does like tea", False),
        ("rent 4,400", "rent 4,500", False),
        ("Nora likes tea", "I doubt that Nora likes tea", False),
        ("a b c d e f g h", "x a b c d e f g h y", True),
        ("?", "!", True),
    ],
)
def test_only_the_same_words_are_a_repetition(one: str, other: str, expected: bool) -> None:
    assert Repeats([(other, "en")], Gists()).repeats(one, "en") is expected


def test_json_holds_what_the_command_line_promises() -> None:
    material = Material(QUERY, messages=(said(1, "w " * 99), said(2, "hi")))
    assert packed(material, 10).to_json() == {
        "tokens": 3,
        "blocks": [
            {"role": "user", "text": "hi", "tokens": 1, "sources": ["m2"]},
            {"role": "user", "text": "which tea", "tokens": 2, "sources": ["q"]},
        ],
        "dropped": [{"source": "m1", "tokens": 99, "reason": "longer than the conversation's 8 tokens"}],
    }


def test_html_escapes_and_explain_lists_everything() -> None:
    talk = (said(1, "<b>bold</b> & co"), said(2, "<script>" * 60), said(3, "w " * 999))
    context = packed(Material(QUERY, messages=talk), 60)
    html = context._repr_html_()
    assert "&lt;b&gt;bold" in html
    assert "<script>" not in html
    assert "left out: 1" in html
    assert repr(context).startswith(f"<Context: {context.tokens} of 60 tokens, policy test")
    assert "<b>bold</b> & co" in str(context)
    assert str(context).endswith("left out: 1")
    lines = context.explain().splitlines()
    assert lines[0] == f"{context.tokens} of 60 tokens, policy test"
    assert len(lines) == 1 + len(context.blocks) + 1 + len(context.dropped)


@pytest.mark.parametrize("name", policies.names())
def test_a_policy_file_says_its_question_and_loads(name: str) -> None:
    assert isinstance(policies.load(name), Policy)


PACKAGE = Path(carmenta_lab.__file__).parent


def test_the_readme_names_every_file_and_every_policy_with_its_question() -> None:
    readme = (PACKAGE / "context/README.md").read_text()
    files = {path.name for path in (PACKAGE / "context").glob("*.py")} - {"__init__.py"}
    assert files == {*re.findall(r"^\| `(\w+\.py)` \|", readme, re.MULTILINE)}
    for name in policies.names():
        assert f"| `{name}` | {import_module(f'carmenta_lab.context.policies.{name}').__doc__} |" in readme


def test_the_policy_of_the_readme_makes_a_context(loaded: "Loaded", tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (PACKAGE / "context/README.md").read_text(), re.S)
    file = tmp_path / "mine.py"
    file.write_text(code)
    context = loaded.context(policy=str(file))
    assert context.policy == "mine"
    assert {"message", "query"} <= {block.kind for block in context.blocks}


def test_a_policy_may_lie_outside_the_package(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from carmenta_lab.context import Policy\nPOLICY = Policy(strategy=None, k=3)\n")
    assert policies.load(str(file)).k == 3
    assert policies.title(str(file)) == "mine"
    for written, sentence in {
        "": "{file} defines no POLICY",
        "\nPOLICY = 1\n": r"POLICY of {file} \({file}:2\) is no policy but a int: assign",
        "from carmenta_lab.context import Policy as POLICY": r"\({file}:1\) is the class Policy",
        "x = 1\n1 / 0\n": r"the policy mine.py cannot be executed: ZeroDivisionError: division by zero, at {file}:2\.",
        "\nexit('bye')": r"cannot be executed: SystemExit: bye, at {file}:2\.",
        "def broken(:": r"cannot be executed: SyntaxError: .*, at {file}:1\.",
    }.items():
        file.write_text(written)
        with pytest.raises(UsageError, match=sentence.format(file=file)):
            policies.load(str(file))
    with pytest.raises(UsageError, match="there is no policy file"):
        policies.load(str(tmp_path / "none.py"))


def test_an_unknown_policy_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'mission_order'\? Known: .*mission_order"):
        policies.load("mission_oder")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"k": 0}, "k must be 1 to 1000"),
        ({"k": "60"}, "k must be 1 to 1000, not '60'"),
        ({"conversation": 0.5}, r"conversation must be a share of the budget, Share\(floor, share\), not 0\.5"),
        ({"tiers": (Tier(10_001),)}, "hold 10000 messages at most, not 10001"),
        ({"memories": 0.8}, "memories=0.8, passages=0.3"),
        ({"order": ("conversation", "profile", "retrieved")}, "must begin with the profile"),
        ({"profile": Share(0.9, 0.9)}, "floors must add up to 1"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        replace(MISSION, **change)


def test_a_share_below_its_floor_is_refused() -> None:
    with pytest.raises(UsageError, match="floor <= share"):
        Share(0.5, 0.4)


@pytest.mark.parametrize(("messages", "keep"), [(-1, 1.0), (3, 0.0), (3, 1.1)])
def test_a_tier_that_cannot_be_kept_is_refused(messages: int, keep: float) -> None:
    with pytest.raises(UsageError, match="0 < keep <= 1"):
        Tier(messages, keep)


def test_tiers_go_from_the_newest_back() -> None:
    policy = replace(MISSION, tiers=(Tier(2), Tier(1, 0.6), Tier(3, 0.3)))
    assert policy.messages == 6
    assert [policy.keep(age) for age in range(7)] == [1, 1, 0.6, 0.3, 0.3, 0.3, 0.3]


# --- on a database ---------------------------------------------------------------------------------------------------


def message(key: str, conversation: str, minute: int, said: str, role: str = "user", **more: Any) -> dict[str, Any]:
    more = {"user": "ann", "author": None} | more
    return factory.message(key, said, conversation, role=role, created_at=factory.at(minute), **more)


def memory(key: str, minute: int, said: str, **more: Any) -> dict[str, Any]:
    return factory.memory(key, said, "ann", created_at=factory.at(minute), **more)


MESSAGES = [
    message("a1", "old", 1, "I moved to Lisbon in spring."),
    message("a2", "old", 2, "How is the flat?", "assistant"),
    message("b1", "new", 60, "Plan my week, please."),
    message("b2", "new", 61, "Gladly. What is fixed?", "assistant", content_for_llm="Asked what is fixed."),
    message("b3", "new", 62, "Yoga on Monday.", parent_id="b2"),
    message("b4", "new", 63, "Monday it is.", "assistant", parent_id="b3"),
    message("b5", "new", 64, "Yoga on Tuesday.", parent_id="b2"),
    message("b6", "new", 65, "Tuesday then.", "assistant", parent_id="b5"),
    message("b7", "new", 66, "Thanks a lot!"),
    message("c1", "other", 5, "The parcel went to Porto by train.", user="bob"),
    message("c2", "other", 6, "When will it arrive?", "assistant", user="bob"),
]
MEMORIES = [
    memory("k1", 3, "Ann lives in Lisbon.", source_message_id="a1"),
    memory("k2", 4, "Ann does yoga on Mondays.", superseded_by="k3"),
    memory("k3", 64, "Ann does yoga every Tuesday evening.", source_message_id="b5"),
    memory("k4", 90, "Ann gave up yoga for swimming."),
]


@dataclass(frozen=True)
class Loaded:
    """The small dataset under a name of its own."""

    database: Database
    ids: Ids

    def id(self, kind: str, given_: str) -> UUID:
        return self.ids.of(kind, given_)

    def execute(self, statement: str, kind: str, given_: str) -> None:
        with self.database.owner_session() as session:
            session.execute(text(statement), {"id": self.id(kind, given_)})

    def context(self, user: str = "ann", minute: int | None = None, ask: str = "When is yoga?", **more: Any) -> Context:
        asked_at = None if minute is None else factory.NOON + timedelta(minutes=minute)
        query = Query("q", self.id("user", user), ask, asked_at=asked_at)
        with self.database.user_session(query.user_id) as session:
            return assemble(session, query, **{"policy": "mission_order"} | more)


@pytest.fixture
def loaded(database: Database, tmp_path: Path) -> Loaded:
    profile = {"user_id": "ann", "text": "Ann is a translator."}
    write(tmp_path, messages=MESSAGES, memories=MEMORIES, profiles=[profile])
    name = f"context-{uuid4()}"
    assert not load(database, tmp_path, name).rejects
    return Loaded(database, Ids(name))


def of_kind(context: Context, *kinds: str) -> list[str]:
    return [source for block in context.blocks if block.kind in kinds for source in block.sources]


class Seen(list[str]):
    """Statements in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = False  # whether the last one waits for its round trip
        self.with_another: list[str] = []  # what went in the round trip of the one before


@contextmanager
def statements(session: Session) -> Iterator["Seen"]:
    """What the session's connection executes, whoever asks for it."""
    seen = Seen()

    class Noted(psycopg.Cursor[Any]):  # type: ignore[misc]
        def execute(self, query: Any, *given: Any, **more: Any) -> Any:
            if self.connection.info.pipeline_status and seen.sent:
                seen.with_another.append(str(query))
            seen.append(str(query))
            done = super().execute(query, *given, **more)
            seen.sent = bool(self.connection.info.pipeline_status)
            return done

    raw = driver(session)
    before = raw.cursor_factory
    raw.cursor_factory = Noted
    try:
        yield seen
    finally:
        raw.cursor_factory = before


def test_the_latest_conversation_is_shown_along_its_last_branch(loaded: Loaded) -> None:
    context = loaded.context()
    assert context.blocks[0].text == "Ann is a translator."
    assert of_kind(context, "message") == ["b1", "b2", "b5", "b6", "b7"]
    assert [message["role"] for message in context.as_messages()] == ["system", *["user", "assistant"] * 2, "user"]


def test_superseded_memories_and_those_said_in_full_are_left_out(loaded: Loaded) -> None:
    context = loaded.context()
    assert of_kind(context, "memory") == ["k1", "k4"]
    left = reasons(context)
    assert (left["k2"], left["k3"]) == ("superseded by k3", "its source message stands in full")
    shown = [block.text for block in context.blocks if block.kind in ("memory", "passage")]
    assert "Memory: Ann lives in Lisbon." in shown  # the day is said once, before its first hit
    assert [said.startswith("[2025-03-14] ") for said in shown] == [True] + [False] * (len(shown) - 1)


def test_the_past_is_seen_as_it_was(loaded: Loaded) -> None:
    context = loaded.context(minute=63)
    assert of_kind(context, "message") == ["b1", "b2", "b3", "b4"]  # the branch of that time
    assert of_kind(context, "memory") == ["k1", "k2"]  # k2 was not superseded yet
    assert of_kind(loaded.context(minute=30), "message") == ["a1", "a2"]  # the conversation of that time
    assert [block.kind for block in loaded.context(minute=0).blocks] == ["profile", "query"]


def test_an_older_message_stands_as_its_compressed_text(loaded: Loaded) -> None:
    context = loaded.context(policy=in_full(50, 1))
    assert [block.text for block in context.blocks if block.kind == "message" and block.place == 1] == [
        "Asked what is fixed."
    ]


def test_only_the_last_messages_are_read(loaded: Loaded) -> None:
    assert of_kind(loaded.context(policy=in_full(2, 1)), "message") == ["b6", "b7"]
    assert of_kind(loaded.context(policy=replace(MISSION, tiers=())), "message") == []


def test_a_conversation_may_be_named(loaded: Loaded) -> None:
    context = loaded.context(conversation_id=loaded.id("conversation", "old"))
    assert of_kind(context, "message") == ["a1", "a2"]
    assert reasons(context)["k1"] == "its source message stands in full"


def test_a_user_without_memories_gets_passages_that_do_not_stand_already(loaded: Loaded) -> None:
    context = loaded.context(user="bob", ask="parcel to Porto", policy=in_full(1, 1))
    assert of_kind(context, "message") == ["c2"]
    assert of_kind(context, "passage") == ["c1"]
    assert reasons(context) == {"c2": "stands in full in the conversation"}
    assert context.blocks[-2].rank == 1


def test_a_replaced_message_is_no_passage(loaded: Loaded) -> None:
    policy = replace(MISSION, tiers=())
    context = loaded.context(policy=policy)
    assert reasons(context)["b3"] == "replaced by b5"
    assert "b5" in of_kind(context, "passage")


@pytest.mark.parametrize("table", ["messages", "conversations", "memories"])
def test_deleted_rows_are_not_seen(loaded: Loaded, table: str) -> None:
    kind, given_ = {"messages": ("message", "b7"), "conversations": ("conversation", "new")}.get(
        table, ("memory", "k4")
    )
    loaded.execute(f"UPDATE carmenta.{table} SET deleted_at = now() WHERE id = :id", kind, given_)
    context = loaded.context()
    expected = {
        "messages": (["b1", "b2", "b5", "b6"], ["k1", "k4"]),
        "conversations": (["a1", "a2"], ["k3", "k4"]),
        "memories": (["b1", "b2", "b5", "b6", "b7"], ["k1"]),
    }[table]
    assert (of_kind(context, "message"), of_kind(context, "memory")) == expected
    assert given_ not in reasons(context)


def test_a_deleted_message_keeps_its_branch(loaded: Loaded) -> None:
    loaded.execute("UPDATE carmenta.messages SET deleted_at = now() WHERE id = :id", "message", "b2")
    assert of_kind(loaded.context(), "message") == ["b1", "b5", "b6", "b7"]


def test_rejected_and_expired_memories_are_left_out(loaded: Loaded) -> None:
    loaded.execute("UPDATE carmenta.memories SET review_status = 'rejected' WHERE id = :id", "memory", "k1")
    loaded.execute("UPDATE carmenta.memories SET valid_to = '2025-03-15Z' WHERE id = :id", "memory", "k4")
    left = reasons(loaded.context())
    assert (left["k1"], left["k4"]) == ("rejected in review", "no longer valid")
    assert "k4" in of_kind(loaded.context(minute=100), "memory")


def test_memories_that_are_all_deleted_give_way_to_passages(loaded: Loaded) -> None:
    for key in ("k1", "k2", "k3", "k4"):
        loaded.execute("UPDATE carmenta.memories SET deleted_at = now() WHERE id = :id", "memory", key)
    assert "a1" in of_kind(loaded.context(), "passage")


def test_a_message_beyond_any_budget_is_not_fetched(loaded: Loaded) -> None:
    loaded.execute("UPDATE carmenta.messages SET content = repeat('word ', 9000) WHERE id = :id", "message", "b6")
    context = loaded.context(budget_tokens=100)
    assert reasons(context)["b6"] == "longer than the whole budget (45,000 bytes), not counted"
    assert context.tokens <= 100


@pytest.mark.parametrize(("minute", "expected"), [(30, 2), (None, 3)])
def test_three_round_trips_beside_the_search(loaded: Loaded, minute: int | None, expected: int) -> None:
    # the old conversation has no branches: one round trip for profile and tail, one for the hits; the new one has
    loaded.context(minute=minute)  # so that everything is counted
    asked_at = None if minute is None else datetime(2025, 3, 1, 0, minute, tzinfo=UTC)
    query = Query("q", loaded.id("user", "ann"), "When is yoga?", asked_at=asked_at)
    with (
        loaded.database.app_session() as session,
        as_user(session, query.user_id),
        statements(session) as seen,
    ):
        assemble(session, query, policy="mission_order")
    others = [statement for statement in seen if "set_config" not in statement and "<=>" not in statement]
    reads = [statement for statement in others if not statement.lstrip().startswith("UPDATE")]
    assert len([statement for statement in reads if statement not in seen.with_another]) == expected <= 3
    assert len(others) - len(reads) == (minute is None)  # memories that it shows are marked as used, now
    assert not any("SELECT *" in statement or "embedding" in statement for statement in reads)


def test_the_tail_is_read_through_the_index(loaded: Loaded) -> None:
    user = loaded.id("user", "ann")
    values = {"user_id": user, "asked_at": datetime(2026, 1, 1, tzinfo=UTC), "messages": 50, "bytes": 10_000}
    values |= {"counter": "any", "conversation_id": None}
    for tail, scans in ((reading.plain("latest", 50), 1), (reading.BRANCHED["latest"], 2)):
        with loaded.database.user_session(user) as session:
            raw = driver(session)
            raw.execute("SELECT set_config('enable_seqscan', 'off', true)")
            plan = "\n".join(row[0] for row in raw.execute(f"EXPLAIN {tail.text}", values))
        assert plan.count("Index Scan Backward using ix_messages_conversation") == scans


def test_a_plain_tail_is_what_going_back_along_the_branch_finds(loaded: Loaded) -> None:
    with loaded.database.user_session(loaded.id("user", "ann")) as session:
        for at in range(70):
            for messages in (1, 2, 3, 50):
                query = Query(
                    "q", loaded.id("user", "ann"), "?", asked_at=datetime(2025, 3, 1, at // 60, at % 60, tzinfo=UTC)
                )
                values = {"user_id": query.user_id, "asked_at": query.asked_at, "messages": messages}
                values |= {"bytes": 10_000, "counter": "any", "conversation_id": None}
                along = reading.BRANCHED["latest_then"].all(session, values)
                read = read_messages(
                    session, query, conversation_id=None, messages=messages, budget_tokens=1_000, counter="any"
                )
                assert [one.ids for one in read.messages] == [(row.id,) for row in reversed(along)]


def test_tokens_are_counted_once_and_again_when_the_text_is_another(loaded: Loaded) -> None:
    """No trigger: a count says of which text it is, and is none of any other, however the text came to be changed."""
    change = "UPDATE carmenta.messages SET content = '{}' WHERE id = :id"

    def kept(key: str) -> list[int]:
        with loaded.database.owner_session() as session:
            statement = text("SELECT tokens FROM carmenta.token_counts WHERE message_id = :id")
            return list(session.scalars(statement, {"id": loaded.id("message", key)}))

    def asked() -> set[str]:
        counter = Counting()
        counter.asked.clear()  # which all of them share
        loaded.context(budget_tokens=500, counter=counter)
        return set(counter.asked)

    assert kept("b7") == []
    first = loaded.context(budget_tokens=500)
    (tokens,) = kept("b7")
    assert "Thanks a lot!" not in asked()
    assert loaded.context(budget_tokens=500) == first
    loaded.execute(change.format("Thanks a thousand times, and once more!"), "message", "b7")
    assert kept("b7") == [tokens]
    assert "Thanks a thousand times, and once more!" in asked()
    (more,) = kept("b7")
    assert more > tokens
    assert "Thanks a thousand times, and once more!" not in asked()
    loaded.execute(change.format("Thanks a lot!"), "message", "b7")
    assert "Thanks a lot!" in asked()
    assert kept("b7") == [tokens]
    loaded.execute("DELETE FROM carmenta.messages WHERE id = :id", "message", "b7")
    assert kept("b7") == []


def test_a_transaction_that_may_not_write_keeps_no_counts(loaded: Loaded) -> None:
    user = loaded.id("user", "ann")
    with loaded.database.user_session(user) as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        assert assemble(session, Query("q", user, "When is yoga?")).blocks
    with loaded.database.owner_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.token_counts")) == 0


def test_the_session_must_act_for_the_user(loaded: Loaded) -> None:
    query = Query("q", loaded.id("user", "ann"), "When is yoga?")
    with (
        loaded.database.app_session() as session,
        as_user(session, loaded.id("user", "bob")),
        pytest.raises(UsageError, match="assemble within as_user"),
    ):
        assemble(session, query)


def test_what_cannot_be_asked_is_refused_in_a_sentence(loaded: Loaded) -> None:
    with pytest.raises(UsageError, match="query is empty"):
        loaded.context(ask="  ")
    with pytest.raises(UsageError, match="at least 1 token, not 0"):
        loaded.context(budget_tokens=0)
    with pytest.raises(UsageError, match="budget of 2 tokens is too small: the query alone takes 4"):
        loaded.context(budget_tokens=2)
    with pytest.raises(UsageError, match="has no conversation"):
        loaded.context(conversation_id=uuid4())
    with pytest.raises(UsageError, match="has no conversation"):
        loaded.context(conversation_id=loaded.id("conversation", "other"))  # another user's

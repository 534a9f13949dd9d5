"""Token counters by name, and the language model that may shorten: nothing is downloaded, every failure is said."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from carmenta_lab.context import BundledCounter, TiktokenCounter, load_counter, pack, policies
from carmenta_lab.context.assemble import shortened
from carmenta_lab.context.counting import ENCODINGS, ORIGIN, TokenCounts
from carmenta_lab.context.endpoint import Endpoint, EndpointFailed, endpoint_of
from carmenta_lab.context.material import Material, MessageText
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.records import Query
from carmenta_lab.settings import Settings, read_settings

RANKS = {bytes([n]): n for n in range(256)} | {b"te": 256, b"tea": 257, b" t": 258, b"\n\n": 259}
ENCODING = tiktoken.Encoding("by_hand", pat_str=r"\s?\w+|[^\w\s]+|\s+", mergeable_ranks=RANKS, special_tokens={})
QUERY = Query("q", UUID(int=1), "tea")


def said(number: int, text: str) -> MessageText:
    return MessageText((UUID(int=number),), (f"m{number}",), ("user", "assistant")[number % 2], text)  # type: ignore[arg-type]


def test_tiktoken_counts_its_own_tokens_and_takes_special_ones_as_text() -> None:
    counter = TiktokenCounter(ENCODING)
    assert counter.count(["tea", "teab", "", "<|endoftext|>"]) == [1, 2, 0, 12]
    assert counter.name == "by_hand"


TEXTS = st.text(alphabet=st.sampled_from("tea b1.\n 猫"), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=12), st.integers(10, 400))
def test_the_budget_holds_for_the_messages_as_they_are_sent(texts: list[str], budget: int) -> None:
    counter = TiktokenCounter(ENCODING)
    talk = tuple(said(number, text) for number, text in enumerate(texts))
    context = pack(Material(QUERY, messages=talk), policies.load("mission_order"), budget, counter)
    assert sum(counter.count([message["content"] for message in context.as_messages()])) <= context.tokens <= budget


def test_a_counter_is_had_by_name_where_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert load_counter() == BundledCounter()
    with pytest.raises(UsageError, match=r"needs cl100k_base.tiktoken in .*, and nothing is downloaded"):
        load_counter("cl100k_base")
    with pytest.raises(UnknownName, match="Did you mean 'cl100k_base'"):
        load_counter("cl100k_bas")
    file = tmp_path / sha1(ORIGIN.format("cl100k_base").encode(), usedforsecurity=False).hexdigest()
    file.write_text("not a list of ranks\n")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="tiktoken cannot use"):
        load_counter("cl100k_base")


def test_the_addresses_are_those_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiktoken_ext import openai_public

    asked: list[str] = []

    def noted(address: str, **_: Any) -> dict[bytes, int]:
        asked.append(address)
        return RANKS

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", noted)
    for name in ENCODINGS:
        openai_public.ENCODING_CONSTRUCTORS[name]()
    assert asked == [ORIGIN.format(file) for file in ENCODINGS.values()]
    assert b64encode(b"tea")  # the files hold one token a line in this form


class Model(BaseHTTPRequestHandler):
    """Answers chat completions with what the test put in."""

    answers: ClassVar[list[tuple[int, str]]] = []
    asked: ClassVar[list[tuple[str | None, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.headers.get("Authorization"), body))
        status, said = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def completion(text: str) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


@pytest.fixture
def model() -> Iterator[Endpoint]:
    """A real server on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Model.answers, Model.asked = [], []  # type: ignore[misc]
    yield Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "small", "secret", timeout_s=5)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_language_model_is_asked_as_the_api_documents(model: Endpoint) -> None:
    Model.answers.append(completion(" Tea at four. "))
    assert model.shorten("We shall drink tea at four o'clock.", 5, "when") == "Tea at four."
    [(key, body)] = Model.asked
    assert key == "Bearer secret"
    assert (body["model"], body["temperature"], [m["role"] for m in body["messages"]]) == (
        "small",
        0,
        ["system", "user"],
    )
    assert "at most 5 tokens" in body["messages"][0]["content"]
    assert "secret" not in repr(model)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((500, "no"), "answered 500"),
        ((200, "no"), "no JSON"),
        ((200, '{"choices": []}'), r"without choices\[0\]"),
        (completion("  "), r"without choices\[0\]"),
    ],
)
def test_every_failure_of_the_endpoint_is_said(model: Endpoint, answer: tuple[int, str], match: str) -> None:
    Model.answers.append(answer)
    with pytest.raises(EndpointFailed, match=match):
        model.shorten("text", 5, "when")


def test_a_failure_falls_back_to_sentences_with_a_note(model: Endpoint) -> None:
    talk = tuple(said(n, f"It rained {n} times. The tea of cup {n} was green. We slept.") for n in range(30))
    policy, counter = policies.load("mission_order"), BundledCounter()
    Model.answers += [completion("Rain; green tea."), (503, "busy")]
    found = shortened(Material(QUERY, messages=talk), policy, 4_000, TokenCounts(counter), model)
    context = pack(found, policy, 4_000, counter)
    whys = [block.why for block in context.blocks if block.compressed]
    assert sum("by small" in why for why in whys) == 1
    assert sum("sentences nearest" in why for why in whys) == 19
    assert len(Model.asked) == 2  # no third try
    assert "answered 503" in context.notes[0]
    assert "note: " in context.explain()
    assert "answered 503" in context._repr_html_()


def test_an_endpoint_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(EndpointFailed, match="cannot be reached"):
        Endpoint("http://127.0.0.1:9/v1", "small", timeout_s=2).shorten("text", 5, "when")


def test_the_endpoint_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint_of(Settings()) is None
    monkeypatch.setenv("CARMENTA_LLM_URL", "http://127.0.0.1:8080/v1")
    with pytest.raises(UsageError, match="CARMENTA_LLM_MODEL"):
        endpoint_of(read_settings())
    monkeypatch.setenv("CARMENTA_LLM_MODEL", "small")
    monkeypatch.setenv("CARMENTA_LLM_KEY", "secret")
    assert endpoint_of(read_settings()) == Endpoint("http://127.0.0.1:8080/v1", "small", "secret")
    monkeypatch.setenv("CARMENTA_LLM_URL", "file:///etc/passwd")
    with pytest.raises(UsageError, match="base address"):
        endpoint_of(read_settings())

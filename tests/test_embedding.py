"""Does the bundled model give faithful unit vectors, and do chunks and tokens fit it?"""

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger
from tokenizers import Tokenizer

from carmenta_lab import resources
from carmenta_lab.embedding import DEFAULT_MODEL, Embedder, bundled, load_embedder, splitting
from carmenta_lab.embedding.embedder import unit_rows
from carmenta_lab.embedding.plain import fits
from carmenta_lab.errors import EmbeddingError, UsageError

TEXTS = [
    "I moved to Lisbon in March.",
    "ok",
    "The quarterly report is due on Friday, and nobody has started on the figures yet.",
    "Der Hund heißt Bruno, glaube ich.",
    "今日は天気がいいですね",
    "My sister's wedding is on the 14th; remind me to buy a gift. " * 12,
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer.from_file(str(resources.bundled_model() / "tokenizer.json"))
    found.no_truncation()
    return found


def test_the_embedder_is_loaded_once(embedder: Embedder) -> None:
    assert load_embedder(DEFAULT_MODEL) is embedder
    assert (embedder.name, embedder.dim, embedder.max_tokens) == ("all-MiniLM-L6-v2", 384, 254)


def test_every_text_becomes_a_float32_vector_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.dtype(np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-6)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.count_tokens([]) == []
    assert embedder.token_embeddings([]) == []


@pytest.mark.slow
def test_a_vector_does_not_depend_on_order_or_company(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    assert embedder.embed(TEXTS[::-1])[::-1] == pytest.approx(together, abs=2e-5)
    alone = np.vstack([embedder.embed([text]) for text in TEXTS])
    assert (alone * together).sum(axis=1).min() > 0.9999
    assert (embedder.embed(TEXTS) == together).all()


def test_more_texts_than_a_block_keep_their_order(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = embedder.embed(TEXTS)
    monkeypatch.setattr("carmenta_lab.embedding.embedder.BLOCK_TEXTS", 4)
    assert embedder.embed(TEXTS) == pytest.approx(expected, abs=2e-5)
    assert embedder.count_tokens(TEXTS) == [embedder.count_tokens([text])[0] for text in TEXTS]


def test_progress_adds_up_to_the_number_of_texts(embedder: Embedder) -> None:
    steps: list[int] = []
    embedder.embed(TEXTS, progress=steps.append)
    assert sum(steps) == len(TEXTS)


def test_a_question_is_embedded_like_a_text(embedder: Embedder) -> None:
    query = embedder.embed_query(TEXTS[0])
    assert query.shape == (384,)
    assert query == pytest.approx(embedder.embed(TEXTS[:1])[0])


def test_a_paraphrase_is_nearer_than_an_unrelated_text(embedder: Embedder) -> None:
    text, paraphrase, unrelated = embedder.embed(
        ["I have relocated to Portugal's capital.", TEXTS[0], "The oven needs a new door seal."]
    )
    assert text @ paraphrase > text @ unrelated + 0.3


@pytest.mark.parametrize("blank", ["", " \n\t", "\u200b"])
def test_a_blank_text_is_refused_by_its_number(embedder: Embedder, blank: str) -> None:
    with pytest.raises(UsageError, match="text 1 is blank"):
        embedder.embed(["a", blank])


def test_what_is_no_list_of_strings_is_refused_in_a_sentence(embedder: Embedder) -> None:
    with pytest.raises(UsageError, match="a list of texts is expected"):
        embedder.embed("one text")
    with pytest.raises(UsageError, match="text 1 is a NoneType; a string is expected"):
        embedder.embed(["a", None])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="text 0 holds half a surrogate pair"):
        embedder.count_tokens(["\ud83d"])


def test_a_zero_or_unfinite_vector_is_refused_by_its_text() -> None:
    with pytest.raises(EmbeddingError, match="m gave a zero vector for text 8"):
        unit_rows(np.array([[1, 0], [0, 0]], np.float32), [3, 8], "m")
    for wrong in (np.nan, np.inf):
        with pytest.raises(EmbeddingError, match="m gave numbers that are not finite for text 3"):
            unit_rows(np.array([[wrong, 0], [0, 0]], np.float32), [3, 8], "m")
    assert unit_rows(np.array([[3, 4]], np.float32), [0], "m") == pytest.approx(np.array([[0.6, 0.8]]))


def test_tokens_are_counted_as_the_tokenizer_counts_them(embedder: Embedder, tokenizer: Tokenizer) -> None:
    expected = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in TEXTS]
    assert embedder.count_tokens(TEXTS) == expected
    assert embedder.count_tokens(["", "word " * 1000]) == [0, 1000]


def test_the_limit_is_where_the_vector_stops_changing(embedder: Embedder) -> None:
    full = "word " * embedder.max_tokens
    short, cut = embedder.embed([full, full + "elephants march"])
    assert short == pytest.approx(cut, abs=2e-5)
    assert "word " * (embedder.max_tokens - 1) not in embedder.split(full + "elephants")


def test_token_vectors_are_unit_rows_beside_their_places_in_the_text(embedder: Embedder) -> None:
    text = "Lisbon's Überfahrt"
    first, second = embedder.token_embeddings([text, "ok"])
    assert first.tokens == ["lisbon", "'", "s", "uber", "##fa", "##hr", "##t"]
    assert [text[start:end] for start, end in first.offsets] == ["Lisbon", "'", "s", "Über", "fa", "hr", "t"]
    assert (first.vectors.shape, second.tokens, second.vectors.shape) == ((7, 384), ["ok"], (1, 384))
    assert np.linalg.norm(first.vectors, axis=1) == pytest.approx(np.ones(7), abs=1e-6)


@pytest.mark.slow
def test_texts_and_their_tokens_are_embedded_at_once_as_apart(embedder: Embedder) -> None:
    finished: list[int] = []
    vectors, tokens = embedder.embed_tokens(TEXTS, finished.append)
    assert vectors == pytest.approx(embedder.embed(TEXTS), abs=1e-5)
    assert sum(finished) == len(TEXTS)
    for one, apart in zip(tokens, embedder.token_embeddings(TEXTS), strict=True):
        assert (one.tokens, one.offsets) == (apart.tokens, apart.offsets)
        assert one.vectors == pytest.approx(apart.vectors, abs=1e-5)


def test_a_token_finds_itself_in_another_text(embedder: Embedder) -> None:
    question, answer = embedder.token_embeddings(["Which city is lisbon?", "We flew to lisbon on monday"])
    nearest = (question.vectors @ answer.vectors.T)[question.tokens.index("lisbon")].argmax()
    assert answer.tokens[nearest] == "lisbon"


def test_a_model_without_token_vectors_says_so(tokenizer: Tokenizer) -> None:
    bare = Embedder("plain", 2, tokenizer, encode=lambda texts, ids: np.ones((len(texts), 2), np.float32))
    with pytest.raises(EmbeddingError, match="plain gives no vectors of single tokens"):
        bare.token_embeddings(["a"])


def test_a_model_of_another_dimension_than_it_says_is_refused(tokenizer: Tokenizer) -> None:
    wrong = Embedder("plain", 3, tokenizer, encode=lambda texts, ids: np.ones((len(texts), 2), np.float32))
    with pytest.raises(EmbeddingError, match="plain produced 2 dimensions; 3 are expected"):
        wrong.embed(["a"])


SENTENCES = [f"This is sentence number {i}, and it says nothing new." for i in range(60)]


def test_a_text_that_fits_stays_whole(embedder: Embedder) -> None:
    assert embedder.split("  Short enough. \n") == ["Short enough."]
    assert embedder.split(" \n ") == []


def test_a_long_text_is_cut_between_sentences(embedder: Embedder) -> None:
    chunks = embedder.split(" ".join(SENTENCES), max_tokens=60)
    assert " ".join(chunks) == " ".join(SENTENCES)
    assert all(chunk.endswith("new.") for chunk in chunks)
    assert max(embedder.count_tokens(chunks)) <= 60


def test_lines_are_cut_where_they_end(embedder: Embedder) -> None:
    lines = [f"item {i} costs {i * 7} euros" for i in range(80)]
    chunks = embedder.split("\n".join(lines), max_tokens=40)
    assert "\n".join(chunks) == "\n".join(lines)


def test_text_without_sentences_is_cut_between_words(embedder: Embedder) -> None:
    text = " ".join(f"unbelievable{chr(97 + i % 26)}ness" for i in range(200))
    chunks = embedder.split(text, max_tokens=30)
    assert " ".join(chunks).split() == text.split()
    assert max(embedder.count_tokens(chunks)) <= 30


def test_a_word_that_does_not_fit_by_itself_is_cut(embedder: Embedder) -> None:
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
    chunks = embedder.split(f"The {word} it is", max_tokens=8)
    assert "".join(chunks).replace(" ", "") == f"The{word}itis"
    assert len(chunks) > 2
    assert max(embedder.count_tokens(chunks)) <= 8


def test_chunks_repeat_the_overlap_and_no_more(embedder: Embedder) -> None:
    words = [str(number) for number in range(2000) if embedder.count_tokens([str(number)]) == [1]][:300]
    chunks = [chunk.split() for chunk in embedder.split(" ".join(words), max_tokens=50, overlap=10)]
    assert [len(chunk) for chunk in chunks] == [50, 50, 50, 50, 50, 50, 50, 20]  # 50 + 6 x 40 + 10 new ones
    for before, after in pairwise(chunks):
        assert after[:10] == before[-10:]
        assert after[10] not in before
    assert {word for chunk in chunks for word in chunk} == set(words)


def test_a_chunk_that_makes_more_tokens_than_it_had_is_shortened() -> None:
    text, offsets = "aaaa bbbb cccc dddd", [(0, 4), (5, 9), (10, 14), (15, 19)]
    chunks = splitting.split(text, offsets, limit=3, overlap=0, fits=lambda chunk: len(chunk) <= 9)
    assert chunks == ["aaaa bbbb", "cccc dddd"]


@pytest.mark.parametrize(("limit", "overlap"), [(7, 0), (255, 0), (20, 11), (20, -1)])
def test_a_split_that_cannot_be_is_refused(embedder: Embedder, limit: int, overlap: int) -> None:
    with pytest.raises(UsageError, match=r"(max_tokens|overlap) must be \d+ to \d+"):
        embedder.split("text", max_tokens=limit, overlap=overlap)


PIECES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x4FFF), max_size=40),
    st.text(alphabet="👍🎉👩‍👧한국어กขค ", max_size=20),
    st.sampled_from(["a" * 90, "x" * 150, "=" * 60, "https://example.org/a-b_c?d=e&f=1", "Yes. No! ", "\n\n"]),
    st.text(alphabet="abcdefg hij", max_size=60),
)


WORDS = [
    "the",
    "Harbour",
    "2025",
    "carmenta",
    "zzxqj",
    "don't",
    "[SEP]",
    "##ed",
    "a_b-c",
    "x" * 120,
    "é",
    "가",
    "the\x01quarrel",
]


@pytest.mark.parametrize("word", WORDS)
def test_what_fits_by_its_words_fits_by_its_tokens(embedder: Embedder, word: str) -> None:
    for text in (between.join([word] * count) for between in (" ", "", "\n", "-") for count in range(1, 260, 7)):
        assert not fits(text) or embedder.count_tokens([text])[0] <= embedder.max_tokens


def test_common_words_fit_without_the_tokenizer(embedder: Embedder) -> None:
    text = "We went down to the harbour in the evening, and the boats were coming in. " * 14
    assert len(text) > 1_000
    assert fits(text)
    assert not fits(text * 2)
    assert embedder.count_tokens([text * 2])[0] > embedder.max_tokens


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.integers(8, 40), st.integers(0, 20))
def test_every_chunk_fits_and_nothing_is_lost(text: str, limit: int, overlap: int) -> None:
    embedder = load_embedder()
    chunks = embedder.split(text, max_tokens=limit)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    repeating = embedder.split(text, max_tokens=limit, overlap=min(overlap, limit // 2))
    assert max(embedder.count_tokens(chunks + repeating), default=0) <= limit
    assert all(chunk in text and chunk == chunk.strip() != "" for chunk in chunks + repeating)


@settings(deadline=None)
@given(st.lists(st.text("abcdeéxyz", min_size=1, max_size=12), min_size=1, max_size=80), st.integers(16, 40))
def test_words_that_fit_are_never_cut(words: list[str], limit: int) -> None:
    chunks = load_embedder().split(" ".join(words), max_tokens=limit)
    assert " ".join(chunks).split() == words


@pytest.fixture
def model_copy(tmp_path: Path) -> Path:
    return shutil.copytree(resources.bundled_model(), tmp_path / "model")


@pytest.mark.slow
def test_an_intact_copy_of_the_model_loads(model_copy: Path, embedder: Embedder) -> None:
    copy = bundled.load("copy-of-the-bundled-model", model_copy)
    assert copy.embed(TEXTS) == pytest.approx(embedder.embed(TEXTS), abs=2e-5)


@pytest.mark.parametrize("file", sorted(bundled.SHA256))
def test_a_changed_file_of_the_model_is_refused(model_copy: Path, file: str) -> None:
    content = (model_copy / file).read_bytes()
    (model_copy / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(EmbeddingError, match=f"{re.escape(file)} in .* is damaged or changed"):
        bundled.load(DEFAULT_MODEL, model_copy)


def test_a_missing_file_of_the_model_is_refused(model_copy: Path) -> None:
    (model_copy / "tokenizer.json").unlink()
    with pytest.raises(EmbeddingError, match=r"tokenizer\.json cannot be read in .*No such file"):
        bundled.load(DEFAULT_MODEL, model_copy)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(EmbeddingError, match=r"nearest is 'BAAI/bge-small-en-v1\.5'") as caught:
        load_embedder("bge-smal-en-v1.5")
    assert isinstance(caught.value, UsageError)
    with pytest.raises(EmbeddingError, match="nearest is"):
        load_embedder("all-minilm-l6")


def test_a_model_that_is_not_here_is_refused_without_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path))
    logged: list[str] = []
    sink = logger.add(logged.append)
    with pytest.raises(EmbeddingError, match=r"bge-small-en-v1\.5 is not in .* could not be downloaded"):
        load_embedder("BAAI/bge-small-en-v1.5")
    logger.remove(sink)
    assert logged == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_import_is_cheap_and_the_load_is_silent() -> None:
    code = (
        "import sys; import carmenta_lab.embedding as e\n"
        "assert not {'fastembed', 'onnxruntime'} & set(sys.modules)\n"
        "print(e.load_embedder().embed(['a']).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=resources.PACKAGE.parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 384)\n", "")

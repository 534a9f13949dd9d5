"""What a question says of itself, and what the signals make of candidates."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from factory import memory, message, write

from carmenta_lab import strategies
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.ingest.load import load
from carmenta_lab.names import find_user
from carmenta_lab.postgres import Database
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.question import Participants, Question, read_question
from carmenta_lab.retrieval.texts import texts

PEOPLE = Participants(("Ann Lee", "Bo"), with_assistant=False)
WITH_ASSISTANT = Participants(("Ann", "Carmenta"), with_assistant=True)


def _read(asked: str, people: Participants = PEOPLE, language: str = "en") -> Question:
    return read_question(Query("q", UUID(int=1), asked, language=language), people, DEFAULT_MODEL)


def test_a_participant_who_is_named_is_the_speaker_and_no_word_of_the_question() -> None:
    question = _read("What did Bo's sister paint?")
    assert question.speaker == "Bo"
    assert question.text == "What did sister paint?"
    assert {"sister", "paint"} <= set(question.words)
    assert "bo" not in question.words
    assert _read("What did Ann and Bo paint?").speaker is None
    assert _read("Bo?").text == "Bo?"  # nothing else would be left


def test_months_years_and_days_are_read_from_the_question() -> None:
    question = _read("What happened on 3 March 2023, or in May?")
    assert (question.months, question.years, question.days) == ((3, 5), (2023,), (303,))
    assert _read("may I march in the rain?").months == ()
    assert _read("Was war am 3. März?", language="de").days == (303,)
    assert _read("Quand, en mars?", language="fr").months == ()  # a language without rules


@pytest.mark.parametrize(
    ("asked", "when"),
    [("When did we meet?", True), ("In which month was it?", True), ("Who came when it rained?", False)],
)
def test_a_question_for_a_time_is_known(asked: str, when: bool) -> None:
    assert _read(asked).asks_when is when


def test_in_a_chat_with_an_assistant_the_question_is_about_the_user_unless_it_says_you() -> None:
    assert _read("Which boots do I own?", WITH_ASSISTANT).speaking == "user"
    assert _read("Which boots did you recommend?", WITH_ASSISTANT).speaking == "assistant"
    assert _read("Which boots do I own?").speaking is None


@pytest.fixture
def flat(database: Database, tmp_path: Path) -> tuple[Database, UUID]:
    """Somebody who moved, said one thing twice, and was asked."""
    said = [
        ("u", "Where do you keep the spare fuse?"),
        ("a", "In the blue tin behind the door."),
        ("u", "The landlord wants the deposit by Friday."),
        ("u", "The landlord wants the deposit by Friday!"),
        ("u", "My rent is nine hundred a month now."),
    ]
    ann, bo = {"role": "user", "author": "Ann"}, {"role": "assistant", "author": "Bo"}
    folder = write(
        tmp_path / "flat",
        messages=[
            message(f"m{n}", body, user="ann", created_at=f"2025-01-01T10:0{n}:00Z", **(ann if who == "u" else bo))
            for n, (who, body) in enumerate(said)
        ],
        memories=[
            memory(
                "old", "Rent: eight hundred a month.", "ann", created_at="2024-01-01T00:00:00Z", superseded_by="new"
            ),
            memory(
                "new",
                "Pays nine hundred for the flat.",
                "ann",
                created_at="2025-01-02T00:00:00Z",
                source_message_id="m4",
            ),
        ],
    )
    load(database, folder, name=f"flat-{uuid4().hex[:6]}", tokens=True)
    return database, find_user(database, "ann")


def _found(flat: tuple[Database, UUID], asked: str, name: str = "evidence") -> list[str]:
    database, user = flat
    with database.user_session(user) as session:
        ranking = search(session, strategies.load(name), Query("q", user, asked), 7)
        assert all(set(hit.parts) >= {"context", "z:context"} for hit in ranking.hits)
        return [shown.source for shown in texts(session, user, ranking.hits)]


@pytest.mark.parametrize("name", ["evidence", "evidence_lean"])
def test_a_superseded_memory_stands_below_its_successor(flat: tuple[Database, UUID], name: str) -> None:
    found = _found(flat, "how much is the rent: eight hundred a month?", name)
    assert found.index("new") < found.index("old")


def test_what_says_nearly_the_same_goes_to_the_end(flat: tuple[Database, UUID]) -> None:
    found = _found(flat, "what does the landlord want by Friday, the deposit?")
    assert found[0] in ("m2", "m3")
    assert found[-1] in ("m2", "m3")


def test_an_answer_is_found_by_the_question_before_it(flat: tuple[Database, UUID]) -> None:
    assert "m1" in _found(flat, "where is the spare fuse kept?")[:2]

"""LoCoMo (Maharana et al., ACL 2024): very long chats of two people, questions with the messages that prove them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from carmenta_lab.errors import DatasetError
from carmenta_lab.importers.elements import elements
from carmenta_lab.importers.writing import Format, Options, Writer

CATEGORIES = {1: "multi_hop", 2: "temporal", 3: "open_domain", 4: "single_hop", 5: "adversarial"}
SESSION = re.compile(r"session_(\d+)")
EVIDENCE = re.compile(r"D\s*:?\s*(\d+)\s*:\s*(\d+)")  # "D8:6", and also "D:11:26", "D30:05"
NOTES = (
    "a sample is a user, a session a conversation; both people have the role user and are told apart by author",
    "every message of a session has the session's time, read as UTC, and keeps its place",
    "the caption of a photo is appended: [shares a photo of ...]",
    "adversarial questions, which nothing answers, have no judgements",
)

Turn: TypeAlias = tuple[int, int]
"""Session and place in it, as evidence names a message."""


def read(source: Path, writer: Writer, options: Options) -> None:
    """Write every sample of the file."""
    writer.notes += NOTES if options.adversarial else (*NOTES[:-1], "adversarial questions were left out")
    for number, sample in elements(source):
        if not isinstance(sample.get("conversation"), dict) or not isinstance(sample.get("qa"), list):
            raise DatasetError(
                f"{source}: element {number} is no sample of LoCoMo: an object `conversation` and a list `qa` "
                "are expected."
            )
        user = str(sample.get("sample_id") or f"conv-{number}")
        known = _messages(user, sample["conversation"], writer)
        _questions(user, sample["qa"], known, writer, options)
        writer.counts["users"] += 1


def _messages(user: str, conversation: dict[str, Any], writer: Writer) -> dict[Turn, str]:
    """Write the messages; the id of each by how evidence names it."""
    known: dict[Turn, str] = {}
    sessions = [(int(match[1]), key) for key in conversation if (match := SESSION.fullmatch(key))]
    for session, key in sorted(sessions):
        told = conversation.get(f"{key}_date_time")
        at = _time(told)
        if at is None:
            writer.repaired(f"{user}, session {session}: no time can be read from {told!r}; its messages have none")
        turns = conversation[key] or []
        writer.counts["conversations"] += bool(turns)
        for place, turn in enumerate(turns, 1):
            named = next(_evidence(str(turn.get("dia_id"))), None)
            text = _text(turn)
            if named is None or named in known:
                why = "is there twice" if named else "is no id"
                writer.repaired(f"{user}: {turn.get('dia_id')!r} {why}; the message is known as D{session}:{place}")
                named = (session, place)
            if not text or named in known:
                writer.repaired(f"{user}: D{named[0]}:{named[1]} is empty or there twice; left out")
                continue
            known[named] = f"{user}:D{named[0]}:{named[1]}"
            writer.line(
                "messages.jsonl",
                message_id=known[named],
                conversation_id=f"{user}/s{session}",
                user_id=user,
                role="user",
                author=turn.get("speaker"),
                created_at=at,
                text=text,
            )
    return known


def _text(turn: dict[str, Any]) -> str:
    caption = str(turn.get("blip_caption") or "").strip()
    said = str(turn.get("text") or "").strip()
    return " ".join(part for part in (said, caption and f"[shares a photo of {caption}]") if part)


def _questions(user: str, asked: list[Any], known: dict[Turn, str], writer: Writer, options: Options) -> None:
    for number, qa in enumerate(asked, 1):
        category = CATEGORIES.get(qa.get("category"), str(qa.get("category", "")))
        if category == "adversarial" and not options.adversarial:
            writer.counts["adversarial questions left out"] += 1
            continue
        query_id = f"{user}:q{number}"
        answer = qa.get("answer")
        answers = [str(answer)] if answer is not None and category != "adversarial" else []
        question = str(qa["question"])
        fields = {"query_id": query_id, "user_id": user, "text": question, "category": category, "answers": answers}
        writer.line("queries.jsonl", **fields)
        targets = _targets(query_id, qa.get("evidence") or [], known, writer) if category != "adversarial" else []
        for target in targets:
            writer.judge(query_id, target)
        writer.counts["questions without judgements"] += not targets


def _targets(query_id: str, evidence: list[Any], known: dict[Turn, str], writer: Writer) -> list[str]:
    """Message ids, each once; what had to be read otherwise, or names nothing, is reported."""
    found: dict[str, None] = {}
    for given in evidence:
        named = list(_evidence(str(given)))
        read_as = [f"D{session}:{place}" for session, place in named]
        if not named:
            writer.repaired(f"{query_id}: the evidence {given!r} names no message; left out")
        elif read_as != [given]:
            writer.repaired(f"{query_id}: the evidence {given!r} is read as {', '.join(read_as)}")
        for turn, shown in zip(named, read_as, strict=True):
            if turn in known:
                found[known[turn]] = None
            else:
                writer.repaired(f"{query_id}: there is no message {shown}; left out")
    return list(found)


def _evidence(given: str) -> Iterator[Turn]:
    return ((int(match[1]), int(match[2])) for match in EVIDENCE.finditer(given))


def _time(told: Any) -> str | None:
    """ "1:56 pm on 8 May, 2023" in ISO 8601."""
    try:
        return datetime.strptime(str(told).strip(), "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


FORMAT = Format("LoCoMo's JSON", "LoCoMo is published under CC BY-NC 4.0", read)

"""LongMemEval (Wu et al., ICLR 2025): chats with an assistant; every question has a user and a history of its own."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from carmenta_lab.errors import DatasetError
from carmenta_lab.importers.elements import elements
from carmenta_lab.importers.writing import Format, Options, Writer

LISTS = ("haystack_session_ids", "haystack_dates", "haystack_sessions")
FORMS = ("%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")
NOTES = (
    "every question is a user of its own, whose id is the question's; a session is a conversation, a turn a message",
    "every message of a session has the session's date, read as UTC; the question is asked at its own date",
    "evidence are the turns marked has_answer; abstention questions (_abs), which nothing answers, have no judgements "
    "and the category abstention",
)


def read(source: Path, writer: Writer, options: Options) -> None:
    """Write every question of the file with its history; one in memory at a time."""
    writer.notes += NOTES
    for number, entry in elements(source):
        lists = [entry.get(name) for name in LISTS]
        if "question_id" not in entry or "question" not in entry or not all(isinstance(one, list) for one in lists):
            raise DatasetError(
                f"{source}: element {number} is no question of LongMemEval: question_id, question and the lists "
                f"{', '.join(LISTS)} are expected."
            )
        ids, dates, sessions = lists
        if not len(ids) == len(dates) == len(sessions):  # type: ignore[arg-type]
            sizes = ", ".join(str(len(one or ())) for one in lists)
            raise DatasetError(f"{source}: element {number}: {', '.join(LISTS)} differ in length: {sizes}.")
        _question(entry, writer)


def _question(entry: dict[str, Any], writer: Writer) -> None:
    query_id = str(entry["question_id"])
    abstains = query_id.endswith("_abs")
    asked_at = _time(query_id, "the question", entry.get("question_date"), writer)
    targets: list[str] = []
    latest = ""
    seen: set[str] = set()
    for given, date, turns in zip(*(entry[name] for name in LISTS), strict=True):
        name = _unique(str(given), seen)
        if name != str(given):
            writer.repaired(f"{query_id}: the session {given} is there twice; the second is {name}")
        at = _time(query_id, f"session {given}", date, writer)
        marked = _messages(query_id, f"{query_id}/{name}", at, turns, writer)
        targets += marked
        latest = max(latest, at or "") if marked else latest
    if not abstains and asked_at is not None and latest > asked_at:
        writer.repaired(f"{query_id}: evidence is dated {latest}, after the question ({asked_at}); asked_at left out")
        asked_at = None
    answer = entry.get("answer")
    writer.line(
        "queries.jsonl",
        query_id=query_id,
        user_id=query_id,
        text=str(entry["question"]),
        category="abstention" if abstains else str(entry.get("question_type", "")),
        asked_at=asked_at,
        answers=[str(answer)] if answer is not None and not abstains else [],
    )
    for target in () if abstains else targets:
        writer.judge(query_id, target)
    if not abstains and not targets and entry.get("answer_session_ids"):
        writer.repaired(f"{query_id}: no turn of its evidence sessions is marked; kept without judgements")
    writer.counts["users"] += 1
    writer.counts["questions without judgements"] += abstains or not targets


def _messages(user: str, conversation: str, at: str | None, turns: list[Any], writer: Writer) -> list[str]:
    """Write a session; the ids of the messages marked as evidence."""
    marked = []
    for place, turn in enumerate(turns, 1):
        message_id, role = f"{conversation}:{place}", turn.get("role")
        text = str(turn.get("content") or "").strip()
        if not text or role not in ("user", "assistant", "system", "tool"):
            why = f"has the role {role!r}" if text else "is empty"
            writer.repaired(f"{message_id} {why}; left out")
            continue
        fields = {"message_id": message_id, "conversation_id": conversation, "user_id": user, "role": role}
        writer.line("messages.jsonl", **fields, created_at=at, text=text)
        if turn.get("has_answer") is True:
            marked.append(message_id)
    writer.counts["conversations"] += bool(turns)
    return marked


def _unique(name: str, seen: set[str]) -> str:
    found, number = name, 1
    while found in seen:
        number += 1
        found = f"{name}#{number}"
    seen.add(found)
    return found


def _time(query_id: str, whose: str, told: Any, writer: Writer) -> str | None:
    """ "2023/05/20 (Sat) 02:21" in ISO 8601; reported where it is none."""
    plain = " ".join(re.sub(r"\([^)]*\)", " ", str(told or "")).split())
    for form in FORMS:
        with suppress(ValueError):
            return datetime.strptime(plain, form).replace(tzinfo=UTC).isoformat()
    writer.repaired(f"{query_id}: no time of {whose} can be read from {told!r}; it has none")
    return None


FORMAT = Format("LongMemEval's JSON", "LongMemEval is published under MIT", read)

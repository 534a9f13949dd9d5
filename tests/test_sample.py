"""Are the shipped samples whole, as large as promised, hard enough, and frozen?"""

import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pytest
from py_rust_stemmers import SnowballStemmer  # type: ignore[import-untyped]

from carmenta_lab import resources
from carmenta_lab.datasets import (
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
    read,
)

FROZEN = {  # sha256 of queries.jsonl followed by qrels.tsv; a correction is listed in the sample's README
    "sample": "1e39dec161dedf467c2c67daa3402979cfa85ae7c72e3b5190511f46c082a68a",
    "sample_de": "c40431e759402336577155b1fb5fc8f0d7a90f86eed70a01035f444525008281",
}
LANGUAGES = {"sample": ("en", "english"), "sample_de": ("de", "german")}
FACTS = ("updated", "corrected", "multi", "temporal")
QUOTAS: dict[str, dict[str, int]] = {
    "sample": {
        "users": 3, "days": 180, "conversations": 45, "messages": 900, "memories": 120, "documents": 60,
        "questions": 160, "questions without an answer": 15, "updated": 40, "corrected": 15, "multi": 20,
        "temporal": 20,
    },
    "sample_de": {"users": 1, "days": 180, "conversations": 8, "messages": 120, "questions": 30},
}  # fmt: skip
MOST_ALIKE, LEAST_UNSHARED = 0.6, 0.4
CATEGORIES = {
    "single-hop", "multi-hop", "temporal", "knowledge-update", "preference", "names-and-codes", "paraphrase",
    "documents", "no-answer",
}  # fmt: skip

# The stop words of PostgreSQL 18, and the names of people, places and things in the questions.
STOP = {
    "english": """
        i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers
        herself it its itself they them their theirs themselves what which who whom this that these those am is are
        was were be been being have has had having do does did doing a an the and but if or because as until while of
        at by for with about against between into through during before after above below to from up down in out on
        off over under again further then once here there when where why how all any both each few more most other
        some such no nor not only own same so than too very s t can will just don should now
    """,
    "german": """
        aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes anderm andern
        anderr anders auch auf aus bei bin bis bist da damit dann der den des dem die das daß derselbe derselben
        denselben desselben demselben dieselbe dieselben dasselbe dazu dein deine deinem deinen deiner deines denn
        derer dessen dich dir du dies diese diesem diesen dieser dieses doch dort durch ein eine einem einen einer
        eines einig einige einigem einigen einiger einiges einmal er ihn ihm es etwas euer eure eurem euren eurer
        eures für gegen gewesen hab habe haben hat hatte hatten hier hin hinter ich mich mir ihr ihre ihrem ihren
        ihrer ihres euch im in indem ins ist jede jedem jeden jeder jedes jene jenem jenen jener jenes jetzt kann kein
        keine keinem keinen keiner keines können könnte machen man manche manchem manchen mancher manches mein meine
        meinem meinen meiner meines mit muss musste nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem
        seinen seiner seines selbst sich sie ihnen sind so solche solchem solchen solcher solches soll sollte sondern
        sonst über um und uns unse unsem unsen unser unses unter viel vom von vor während war waren warst was weg weil
        weiter welche welchem welchen welcher welches wenn werde werden wie wieder will wir wird wirst wo wollen
        wollte würde würden zu zum zur zwar zwischen
    """,
}
NAMES = {
    "english": """
        adeyemi amanda amma amory ballstad beatriz beddoes birkagatan bodø carys chessel clifton dalsland danska elias
        ewa farida ferranova graça hamilton hanna haussler hugh johan johansgatan karl kranz kuba leonor lindqvist
        lisbon lofoten lucyna lund maja marchetti marlene mateo mercian mölndal nigel northline palletwise parade
        penhallow petra petronella pike plymouth pruitt ruth saga sanatoriegatan sparbank ståhls swindon tap tata
        teresa tomasz toronto tove vfs vägen wagtail waterfront ylva älvsborgs
    """,
    "german": """
        badenweiler fauré freiburg hannelore hannelores jonas kessler ottilie ottilies pfefferle pfefferles silke
        triest vidussi
    """,
}

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Sample:
    """The records of one sample."""

    name: str
    conversations: list[Conversation]
    messages: list[Message]
    documents: list[Document]
    memories: list[Memory]
    profiles: list[Profile]
    queries: list[QueryLine]
    judgements: list[Judgement]
    artifacts: list[Artifact]
    votes: list[Vote]
    feedback: list[Feedback]
    tags: list[Tag]
    facts: list[dict[str, Any]]

    @property
    def targets(self) -> dict[str, Message | Memory | Document]:
        """What can be judged, by its id."""
        messages = {m.message_id: m for m in self.messages}
        return messages | {m.memory_id: m for m in self.memories} | {d.document_id: d for d in self.documents}

    @property
    def judged(self) -> dict[str, dict[str, int]]:
        """query_id -> target_id -> relevance."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for j in self.judgements:
            found[j.query_id][j.target_id] = j.relevance
        return found


@cache
def load(name: str) -> Sample:
    folder = resources.datasets() / name

    def records(kind: type[R]) -> list[R]:
        found = list(read(folder, kind))
        assert not [line for line in found if isinstance(line, Reject)]
        return [line[1] for line in found if not isinstance(line, Reject)]

    return Sample(
        name,
        records(Conversation),
        records(Message),
        records(Document),
        records(Memory),
        records(Profile),
        records(QueryLine),
        records(Judgement),
        records(Artifact),
        records(Vote),
        records(Feedback),
        records(Tag),
        [json.loads(line) for line in (folder / "facts.jsonl").read_text("utf-8").splitlines()],
    )


@pytest.fixture(params=sorted(FROZEN))
def sample(request: pytest.FixtureRequest) -> Sample:
    return load(request.param)


def counts(s: Sample) -> dict[str, int]:
    times = [m.created_at for m in s.messages if m.created_at is not None]
    kinds = Counter(fact["kind"] for fact in s.facts)
    return {
        "users": len(s.profiles),
        "days": (max(times) - min(times)).days,
        "conversations": len(s.conversations),
        "messages": len(s.messages),
        "messages with tool calls": sum(any(p["type"].startswith("tool-") for p in m.parts or []) for m in s.messages),
        "messages with attachments": sum(bool(m.attachments) for m in s.messages),
        "places where an edit branched off": sum(n > 1 for n in Counter(edited(s)).values()),
        "memories": len(s.memories),
        "memories superseded": sum(m.superseded_by is not None for m in s.memories),
        "documents": len(s.documents),
        "artifact versions": len(s.artifacts),
        "votes": len(s.votes),
        "feedback signals": len(s.feedback),
        "tags": len(s.tags),
        "questions": len(s.queries),
        "questions without an answer": sum(not q.answers for q in s.queries),
        "questions asked before the end": sum(q.asked_at is not None for q in s.queries),
        "judgements: proves (2)": sum(j.relevance == 2 for j in s.judgements),
        "judgements: helps (1)": sum(j.relevance == 1 for j in s.judgements),
    } | {kind: kinds[kind] for kind in FACTS}


def edited(s: Sample) -> list[str]:
    return [m.parent_id for m in s.messages if m.parent_id is not None and m.role == "user"]


def statistics(s: Sample) -> str:
    """The block that the README shows."""
    value, first, second = most_alike(s)
    words = [len(d.text.split()) for d in s.documents]
    unshared, answerable = share_nothing(s), sum(bool(q.answers) for q in s.queries)
    categories = Counter(q.category for q in s.queries)
    lines = [f"{name}: {count}" for name, count in counts(s).items() if name not in FACTS]
    lines += [f"facts {kind}: {Counter(f['kind'] for f in s.facts)[kind]}" for kind in FACTS]
    lines += [f"questions {category}: {count}" for category, count in sorted(categories.items())]
    lines.append(f"words of a document: {min(words)} to {max(words)}, {sum(words) / len(words):.0f} on average")
    lines.append(f"most alike messages: {first} and {second}, trigram Jaccard {value:.2f}")
    lines.append(
        f"no content word shared with the evidence: {len(unshared)} of {len(s.queries)} questions "
        f"({len(unshared) / len(s.queries):.0%}), {len(unshared) / answerable:.0%} of those with an answer"
    )
    return "\n".join(lines)


def most_alike(s: Sample) -> tuple[float, str, str]:
    """The largest Jaccard index of the character trigrams of two messages, and which they are."""
    texts = [f"  {' '.join(m.text.lower().split())} " for m in s.messages]
    columns: dict[str, int] = {}
    grams = [[columns.setdefault(t[i : i + 3], len(columns)) for i in range(len(t) - 2)] for t in texts]
    present = np.zeros((len(texts), len(columns)), np.float32)
    for row, found in enumerate(grams):
        present[row, found] = 1
    shared = present @ present.T
    sizes = np.diag(shared)
    alike = shared / (sizes[:, None] + sizes - shared)
    np.fill_diagonal(alike, 0)
    first, second = np.unravel_index(alike.argmax(), alike.shape)
    return float(alike.max()), s.messages[first].message_id, s.messages[second].message_id


def share_nothing(s: Sample) -> list[str]:
    """Questions none of whose content words stands in any of their judged targets."""
    language = LANGUAGES[s.name][1]
    stem, stop = SnowballStemmer(language).stem_word, set(STOP[language].split())

    def content(text: str, besides: frozenset[str] = frozenset()) -> set[str]:
        return {stem(word) for word in re.findall(r"[^\W_]+", text.lower()) if word not in stop | besides}

    def text(target: Message | Memory | Document) -> str:
        return f"{target.name} {target.text}" if isinstance(target, Document) else target.text

    names, targets, judged = frozenset(NAMES[language].split()), s.targets, s.judged
    return [
        q.query_id
        for q in s.queries
        if judged[q.query_id]
        and not any(content(q.text, names) & content(text(targets[target])) for target in judged[q.query_id])
    ]


def test_ids_are_unique(sample: Sample) -> None:
    s = sample
    for ids in (
        [c.conversation_id for c in s.conversations],
        [m.message_id for m in s.messages] + [m.memory_id for m in s.memories] + [d.document_id for d in s.documents],
        [p.user_id for p in s.profiles],
        [q.query_id for q in s.queries],
        [(j.query_id, j.target_id) for j in s.judgements],
        [(a.artifact_id, a.created_at) for a in s.artifacts],
        [(v.user_id, v.message_id) for v in s.votes],
        [(t.user_id, t.tag, t.target_id) for t in s.tags],
        [fact["fact_id"] for fact in s.facts],
    ):
        assert [item for item, times in Counter(ids).items() if times > 1] == []


def test_every_id_resolves_within_its_user(sample: Sample) -> None:
    s = sample
    owner = {key: target.user_id for key, target in s.targets.items()}
    rooms = {c.conversation_id: c.user_id for c in s.conversations}
    tagged = rooms | owner | {a.artifact_id: a.user_id for a in s.artifacts}
    asker = {q.query_id: q.user_id for q in s.queries}
    wanted = [
        *((owner, m.parent_id, m.user_id) for m in s.messages if m.parent_id),
        *((rooms, m.conversation_id, m.user_id) for m in s.messages),
        *((owner, m.source_message_id, m.user_id) for m in s.memories if m.source_message_id),
        *((owner, m.superseded_by, m.user_id) for m in s.memories if m.superseded_by),
        *((asker, j.query_id, asker.get(j.query_id)) for j in s.judgements),
        *((owner, j.target_id, asker.get(j.query_id)) for j in s.judgements),
        *((rooms, a.conversation_id, a.user_id) for a in s.artifacts),
        *((owner, a.message_id, a.user_id) for a in s.artifacts),
        *((owner, v.message_id, v.user_id) for v in s.votes),
        *((owner, f.message_id, f.user_id) for f in s.feedback),
        *((tagged, t.target_id, t.user_id) for t in s.tags),
        *((owner, key, fact["user_id"]) for fact in s.facts for key in fact["message_ids"]),
    ]
    assert [(key, user) for known, key, user in wanted if key is None or user is None or known.get(key) != user] == []


def test_every_question_with_an_answer_is_proved_before_it_is_asked(sample: Sample) -> None:
    targets, judged = sample.targets, sample.judged
    assert {j.relevance for j in sample.judgements} == {1, 2}
    assert {q.category for q in sample.queries} == CATEGORIES
    for query in sample.queries:
        assert bool(query.answers) == (query.category != "no-answer") == (2 in judged[query.query_id].values())
        assert bool(query.answers) == bool(judged[query.query_id])
        for key in judged[query.query_id]:
            said = targets[key].created_at
            assert query.asked_at is None or (said is not None and said <= query.asked_at), (query.query_id, key)


def test_a_memory_follows_its_source_and_precedes_its_successor(sample: Sample) -> None:
    targets = sample.targets
    for memory in sample.memories:
        for before, after in ((memory.source_message_id, memory.memory_id), (memory.memory_id, memory.superseded_by)):
            if before and after:
                earlier, later = targets[before].created_at, targets[after].created_at
                assert earlier is not None
                assert later is not None
                assert earlier <= later, (before, after)


def test_most_rows_are_in_the_language_of_the_sample(sample: Sample) -> None:
    own = Counter(m.language for m in sample.messages) + Counter(d.language for d in sample.documents)
    own += Counter(m.language for m in sample.memories) + Counter(q.language for q in sample.queries)
    assert own.most_common(1)[0][0] == LANGUAGES[sample.name][0]


def test_the_promised_numbers_are_reached_in_every_domain(sample: Sample) -> None:
    found = counts(sample)
    assert {name: found[name] for name, least in QUOTAS[sample.name].items() if found[name] < least} == {}
    assert [name for name, count in found.items() if not count] == []
    assert [d.document_id for d in sample.documents if not 80 <= len(d.text.split()) <= 600] == []


def test_no_two_messages_are_alike(sample: Sample) -> None:
    assert most_alike(sample)[0] <= MOST_ALIKE


def test_many_questions_share_no_word_with_their_evidence(sample: Sample) -> None:
    assert len(share_nothing(sample)) >= LEAST_UNSHARED * len(sample.queries)


def test_the_readme_shows_the_statistics(sample: Sample) -> None:
    block = statistics(sample)
    sys.stdout.write(f"{block}\n")
    assert f"```\n{block}\n```" in (resources.datasets() / sample.name / "README.md").read_text("utf-8")


def test_questions_and_judgements_are_frozen(sample: Sample) -> None:
    folder = resources.datasets() / sample.name
    content = b"".join((folder / name).read_bytes() for name in (QueryLine.FILE, Judgement.FILE))
    assert hashlib.sha256(content).hexdigest() == FROZEN[sample.name]

"""A BEIR folder (Thakur et al., NeurIPS 2021), corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv: one user's documents."""

import re
from hashlib import sha256
from pathlib import Path

from carmenta_lab.errors import DatasetError, UsageError
from carmenta_lab.importers.elements import lines
from carmenta_lab.importers.writing import Format, Options, Writer

USER = "reader"
LONGEST_LABEL = 200
HEADER = ["query-id", "corpus-id", "score"]


def read(source: Path, writer: Writer, options: Options) -> None:
    """Write the corpus line by line, and the questions that the split judges."""
    paths = [source / "corpus.jsonl", source / "queries.jsonl", source / "qrels" / f"{options.split}.tsv"]
    if lacking := [str(path) for path in paths if not path.is_file()]:
        raise UsageError(
            f"{source} is no BEIR folder with the split {options.split}: there is no {', '.join(lacking)}."
        )
    corpus, queries, judged = paths
    qrels = _qrels(judged, writer)
    wanted = {target for targets in qrels.values() for target in targets}
    writer.notes += [
        f"every document is one of the user `{USER}`; its path is corpus.ID, other characters than letters and digits "
        "as _HEX_; its name is the title, or the id",
        f"questions are those that qrels/{options.split}.tsv judges; scores below 0 count as 0",
    ]
    kept = _documents(corpus, wanted, writer)
    asked = set()
    for _, line in lines(queries):
        query_id = str(line.get("_id"))
        if query_id in qrels:
            asked.add(query_id)
            writer.line("queries.jsonl", query_id=query_id, user_id=USER, text=str(line.get("text")))
    for query_id, targets in qrels.items():
        if query_id not in asked:
            writer.repaired(f"the judged question {query_id} is not in queries.jsonl; left out")
            continue
        for target, relevance in targets.items():
            if target in kept:
                writer.judge(query_id, target, relevance)
            else:
                writer.repaired(f"question {query_id}: the document {target} is not in the corpus; left out")
    writer.counts["users"] = 1


def _documents(corpus: Path, wanted: set[str], writer: Writer) -> set[str]:
    """Write the documents; those among the judged ones that were."""
    kept = set()
    for number, line in lines(corpus):
        document_id = str(line.get("_id") or "")
        title = str(line.get("title") or "").strip()
        text = str(line.get("text") or "").strip() or title
        if not document_id or not text:
            writer.repaired(f"corpus.jsonl:{number}: {'no text' if document_id else 'no _id'}; left out")
            continue
        path, name = f"corpus.{label(document_id)}", title or document_id
        writer.line("documents.jsonl", document_id=document_id, user_id=USER, path=path, name=name, text=text)
        if document_id in wanted:
            kept.add(document_id)
    return kept


def label(document_id: str) -> str:
    """A label of a path, another one for every id: letters and digits as they are, the rest as _HEX_."""
    found = re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", document_id)
    return found if len(found) <= LONGEST_LABEL else sha256(document_id.encode("utf-8", "surrogatepass")).hexdigest()


def _qrels(path: Path, writer: Writer) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split("\t")
            if not line.strip() or (number == 1 and cells == HEADER):
                continue
            try:
                query_id, target, score = cells
                relevance = int(float(score))
            except ValueError:
                raise DatasetError(
                    f"{path}:{number}: expected {' <tab> '.join(HEADER)}, found {line.strip()[:60]!r}."
                ) from None
            if relevance < 0:
                writer.repaired(f"{path.name}:{number}: the score {score} counts as 0")
            found.setdefault(query_id, {})[target] = max(0, relevance)
    return found


FORMAT = Format("a BEIR folder", "that of the set it holds", read)

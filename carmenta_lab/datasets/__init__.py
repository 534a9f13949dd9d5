"""Files to records: which dataset is meant, and which records and rejects do its lines give?

Beside its files of lines a folder may hold `embeddings/MODEL.npy`: the vectors of its messages under one model, float16
or float32, row n for line n + 1 of `messages.jsonl` (blank and bad lines have rows as well).
"""

from carmenta_lab.datasets.folder import FILES, content_hash, find, names, title
from carmenta_lab.datasets.kinds import (
    Artifact,
    Attachment,
    Conversation,
    Document,
    Feedback,
    Judgement,
    Memory,
    Message,
    Profile,
    QueryLine,
    Record,
    Tag,
    Vote,
)
from carmenta_lab.datasets.parts import flatten
from carmenta_lab.datasets.reading import read
from carmenta_lab.datasets.rejects import Reject, write_rejects
from carmenta_lab.datasets.scan import Scan, scan
from carmenta_lab.datasets.vectors import GivenVectors, given_vectors

__all__ = [
    "FILES",
    "Artifact",
    "Attachment",
    "Conversation",
    "Document",
    "Feedback",
    "GivenVectors",
    "Judgement",
    "Memory",
    "Message",
    "Profile",
    "QueryLine",
    "Record",
    "Reject",
    "Scan",
    "Tag",
    "Vote",
    "content_hash",
    "find",
    "flatten",
    "given_vectors",
    "names",
    "read",
    "scan",
    "title",
    "write_rejects",
]

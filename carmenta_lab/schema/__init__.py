"""The tables, one file per domain, and the metadata that holds them all."""

from carmenta_lab.schema import (
    artifacts,
    concierge,
    conversations,
    deletion,
    identity,
    knowledge,
    lab,
    lexical,
    memory,
    operations,
    passages,
)
from carmenta_lab.schema.base import Base

metadata = Base.metadata
DOMAINS = {
    "identity": identity,
    "conversations": conversations,
    "artifacts": artifacts,
    "memory": memory,
    "knowledge": knowledge,
    "concierge": concierge,
    "operations": operations,
    "retrieval": passages,
    "words": lexical,
    "lab": lab,
}
"""Domain -> module; the order is that of the reading."""

__all__ = ["DOMAINS", "Base", "deletion", "metadata"]

"""The tables, a folder for each PostgreSQL schema and in it a file a domain, and the metadata that holds them all."""

from types import ModuleType

from carmenta_lab.schema.base import LAB, PRODUCT, SEARCH, Base
from carmenta_lab.schema.lab import measurements
from carmenta_lab.schema.product import (
    artifacts,
    concierge,
    conversations,
    identity,
    knowledge,
    memory,
    operations,
    token_counts,
)
from carmenta_lab.schema.search import lexical, outbox, passages

metadata = Base.metadata
DOMAINS = {
    "identity": identity,
    "conversations": conversations,
    "artifacts": artifacts,
    "memory": memory,
    "knowledge": knowledge,
    "concierge": concierge,
    "operations": operations,
    "tokens": token_counts,
    "retrieval": passages,
    "words": lexical,
    "outbox": outbox,
    "lab": measurements,
}
"""Domain -> module; the order is that of the reading."""

SCHEMAS = {PRODUCT: "product", SEARCH: "search", LAB: "lab"}
"""PostgreSQL schema -> the branch of migrations that makes it."""


def schema_of(domain: ModuleType) -> str:
    """The PostgreSQL schema that the tables of a domain lie in."""
    return {"product": PRODUCT, "search": SEARCH, "lab": LAB}[domain.__name__.split(".")[2]]


def home(table: str) -> str:
    """The PostgreSQL schema of a table by its name, the product's where several have it.

    Tables of vectors are made when their model is registered.
    """
    if table.startswith("embeddings_"):
        return SEARCH
    return next(schema for schema in SCHEMAS if f"{schema}.{table}" in metadata.tables)


__all__ = ["DOMAINS", "SCHEMAS", "Base", "home", "metadata", "schema_of"]

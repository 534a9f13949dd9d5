"""Retrieval and context experiments over conversations kept in PostgreSQL.

lab = open_lab()                                      # starts the embedded server, migrates
load(lab, "sample")                                   # a folder under data/, or any path
result = compare(lab, "sample", strategies=["vector_exact", "hybrid_rrf"])
print(result)                                         # strategies by measures: mean [low, high]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carmenta_lab import figures
    from carmenta_lab.context.assemble import assemble
    from carmenta_lab.context.context import Context
    from carmenta_lab.experiment.ablation import Ablation, ablate
    from carmenta_lab.experiment.compare import Comparison, compare
    from carmenta_lab.experiment.contexts import ContextComparison, compare_contexts, evidence_by_history
    from carmenta_lab.explorer import Explorer
    from carmenta_lab.extension import load_ipython_extension
    from carmenta_lab.ingest.load import LoadReport, load
    from carmenta_lab.names import find_conversation, find_user
    from carmenta_lab.postgres.connect import Database, as_user
    from carmenta_lab.postgres.lab import open_lab
    from carmenta_lab.postgres.migrate import migrate
    from carmenta_lab.records import Hit, Query, Ranking
    from carmenta_lab.retrieval.search import search

__all__ = [
    "Ablation",
    "Comparison",
    "Context",
    "ContextComparison",
    "Database",
    "Explorer",
    "Hit",
    "LoadReport",
    "Query",
    "Ranking",
    "ablate",
    "as_user",
    "assemble",
    "compare",
    "compare_contexts",
    "evidence_by_history",
    "figures",
    "find_conversation",
    "find_user",
    "load",
    "load_ipython_extension",
    "migrate",
    "open_lab",
    "search",
]

_HOMES = {
    "Ablation": "experiment.ablation",
    "Comparison": "experiment",
    "Context": "context",
    "ContextComparison": "experiment.contexts",
    "Database": "postgres",
    "Explorer": "explorer",
    "Hit": "records",
    "LoadReport": "ingest",
    "Query": "records",
    "Ranking": "records",
    "ablate": "experiment.ablation",
    "as_user": "postgres",
    "assemble": "context",
    "compare": "experiment",
    "compare_contexts": "experiment.contexts",
    "evidence_by_history": "experiment.contexts",
    "find_conversation": "names",
    "find_user": "names",
    "load": "ingest",
    "load_ipython_extension": "extension",
    "migrate": "postgres",
    "open_lab": "postgres",
    "search": "retrieval",
}
"""Public name -> the module it comes from, imported at first use: starting a command must not import pandas."""


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("carmenta_lab.figures")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

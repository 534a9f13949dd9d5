"""Retrieval and context experiments over conversations kept in PostgreSQL.

import carmenta_lab as cl

lab = cl.open_lab()                                   # starts the embedded server, migrates
cl.load(lab, "sample")                                # a folder under data/, or any path
nora = cl.user(lab, "nora")
cl.search(lab, nora, "Where did we park the bikes?")  # rank, score, who, when, text
result = cl.compare(lab, "sample", strategies=["vector_exact", "hybrid_rrf"])
print(result)                                         # strategies by measures: mean [low, high]
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Ablation": "experiment.ablation",
    "Comparison": "experiment.comparison",
    "Context": "context.context",
    "ContextComparison": "experiment.contexts",
    "Database": "postgres.connect",
    "ErasureReport": "erasure",
    "Explanation": "experiment.explaining",
    "Explorer": "explorer",
    "Hit": "records",
    "LoadReport": "ingest.load",
    "Policy": "context.policy",
    "Query": "records",
    "Ranking": "records",
    "User": "names",
    "ablate": "experiment.ablation",
    "app": "",
    "assemble": "face",
    "build_index": "face",
    "compare": "experiment.compare",
    "compare_contexts": "experiment.contexts",
    "evidence_by_history": "experiment.contexts",
    "explain": "face",
    "figures": "",
    "forget": "face",
    "import_dataset": "importers",
    "index_lacking": "face",
    "load": "ingest.load",
    "load_ipython_extension": "extension",
    "migrate": "postgres.migrate",
    "open_lab": "postgres.lab",
    "policy": "face",
    "search": "face",
    "strategy": "face",
    "user": "names",
}
"""Public name -> the module it comes from, "" where it is a module itself; all that there is, listed here alone.

Imported at first use: starting a command must not import pandas. `__init__.pyi` says the same to type checkers.
"""

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _PUBLIC[name]:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__

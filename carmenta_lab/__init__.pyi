"""The public names; written by tests/reference.py from what `__init__.py` lists."""

from carmenta_lab import app, figures
from carmenta_lab.context.context import Context
from carmenta_lab.context.policy import Policy
from carmenta_lab.erasure import ErasureReport
from carmenta_lab.experiment.ablation import Ablation, ablate
from carmenta_lab.experiment.compare import compare
from carmenta_lab.experiment.comparison import Comparison
from carmenta_lab.experiment.contexts import ContextComparison, compare_contexts, evidence_by_history
from carmenta_lab.experiment.explaining import Explanation
from carmenta_lab.explorer import Explorer
from carmenta_lab.extension import load_ipython_extension
from carmenta_lab.face import assemble, build_index, explain, forget, index_lacking, policy, search, strategy
from carmenta_lab.importers import import_dataset
from carmenta_lab.ingest.load import LoadReport, load
from carmenta_lab.names import User, user
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import open_lab
from carmenta_lab.postgres.migrate import migrate
from carmenta_lab.records import Hit, Query, Ranking

__all__ = [
    "Ablation",
    "Comparison",
    "Context",
    "ContextComparison",
    "Database",
    "ErasureReport",
    "Explanation",
    "Explorer",
    "Hit",
    "LoadReport",
    "Policy",
    "Query",
    "Ranking",
    "User",
    "ablate",
    "app",
    "assemble",
    "build_index",
    "compare",
    "compare_contexts",
    "evidence_by_history",
    "explain",
    "figures",
    "forget",
    "import_dataset",
    "index_lacking",
    "load",
    "load_ipython_extension",
    "migrate",
    "open_lab",
    "policy",
    "search",
    "strategy",
    "user",
]

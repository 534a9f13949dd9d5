"""Where notebooks, migrations, datasets and the model lie, in a clone and in an installed wheel alike."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def clone() -> Path | None:
    """The root of the clone this package runs from, or None when it is installed as a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "migrations").is_dir() else None


def _shared(name: str) -> Path:
    root = clone()
    return (root or PACKAGE / "_share") / name


def notebooks() -> Path:
    """The folder of the notebooks."""
    return _shared("notebooks")


def migrations() -> Path:
    """The folder of the Alembic scripts."""
    return _shared("migrations")


def datasets() -> Path:
    """The folder in which datasets are found by name."""
    return _shared("data")


def bundled_model() -> Path:
    """The folder of the bundled embedding model (ONNX file and tokenizer)."""
    return PACKAGE / "embedding" / "all_minilm_l6_v2"

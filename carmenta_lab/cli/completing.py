"""What a shell offers after a tab: names that lie in files. No database is asked, and none is started."""

from pkgutil import iter_modules

from carmenta_lab import resources


def strategy_names(incomplete: str) -> list[str]:
    """Strategies of the package that begin so."""
    return _beginning(incomplete, _modules("strategies"))


def policy_names(incomplete: str) -> list[str]:
    """Context policies of the package that begin so."""
    return _beginning(incomplete, _modules("context/policies"))


def dataset_names(incomplete: str) -> list[str]:
    """Datasets that are found by name: under the project's data, and under data/ here."""
    from carmenta_lab.datasets import names

    return _beginning(incomplete, names())


def format_names(incomplete: str) -> list[str]:
    """Formats of what can be imported that begin so."""
    return _beginning(incomplete, _modules("importers/formats"))


def strategy_lists(incomplete: str) -> list[str]:
    """The last of several strategies, separated by commas."""
    return _last(incomplete, _modules("strategies"))


def policy_lists(incomplete: str) -> list[str]:
    """The last of several policies, separated by commas."""
    return _last(incomplete, _modules("context/policies"))


def bench_names(incomplete: str) -> list[str]:
    """Benches that begin so."""
    from carmenta_lab.bench import benches

    return _beginning(incomplete, [*benches()])


def _modules(folder: str) -> list[str]:
    """The names in a folder of the package, without importing one of them."""
    return sorted(module.name for module in iter_modules([str(resources.PACKAGE / folder)]))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _last(incomplete: str, names: list[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [before + comma + name for name in _beginning(last, names) if name not in given]

"""What a shell offers after a tab: names of files. No database is read or started."""

from pkgutil import iter_modules

from carmenta_lab import resources


def strategy_names(incomplete: str) -> list[str]:
    """Names of strategies of the package that begin with `incomplete`."""
    return _beginning(incomplete, _modules("strategies"))


def policy_names(incomplete: str) -> list[str]:
    """Names of context policies of the package that begin with `incomplete`."""
    return _beginning(incomplete, _modules("context/policies"))


def dataset_names(incomplete: str) -> list[str]:
    """Datasets that are found by name: in the project's data, and in data/ of the working directory."""
    from carmenta_lab.datasets import names

    return _beginning(incomplete, names())


def format_names(incomplete: str) -> list[str]:
    """Names of formats that can be imported and begin with `incomplete`."""
    return _beginning(incomplete, _modules("importers/formats"))


def strategy_lists(incomplete: str) -> list[str]:
    """A list of strategies, separated by commas, with the last one completed."""
    return _last(incomplete, _modules("strategies"))


def policy_lists(incomplete: str) -> list[str]:
    """A list of policies, separated by commas, with the last one completed."""
    return _last(incomplete, _modules("context/policies"))


def bench_names(incomplete: str) -> list[str]:
    """Names of benches that begin with `incomplete`."""
    from carmenta_lab.bench import benches

    return _beginning(incomplete, [*benches()])


def _modules(folder: str) -> list[str]:
    """The names of the modules in a folder of the package; none is imported."""
    return sorted(module.name for module in iter_modules([str(resources.PACKAGE / folder)]))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _last(incomplete: str, names: list[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [before + comma + name for name in _beginning(last, names) if name not in given]

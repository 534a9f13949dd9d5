"""A value given as text becomes what the annotation says, or is refused with what it must be."""

from dataclasses import dataclass
from typing import Any, Literal, Optional

import pytest

from carmenta_lab.parameters import NotOfType, evaluated, is_plain, typed, types_of


@dataclass(frozen=True)
class Sample:
    depth: int = 3
    weight: float = 1  # a whole number, and no reason to refuse others
    index: Literal["hnsw", "halfvec"] | None = None
    units: tuple[str, ...] = ()
    model: None = None


def test_the_type_of_a_parameter_is_that_of_its_annotation() -> None:
    kinds = types_of(Sample())
    assert [name for name, kind in kinds.items() if is_plain(kind)] == ["depth", "weight", "index"]
    assert typed("2.5", kinds["weight"]) == 2.5
    assert typed("halfvec", kinds["index"]) == "halfvec"
    assert types_of(3) == {}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("-.5", float, -0.5),
        ("True", bool, True),
        ("0", bool, False),
        ("none", str, "none"),
        ("none", str | None, None),
        ("none", Optional[int], None),  # noqa: UP045
        ("x", int | str, "x"),
        ("2", int | str, 2),
        ("a, b", list[str], ["a", "b"]),
        ("[500, 2000]", list[int], [500, 2000]),
        ("1,2", list, ["1", "2"]),
    ],
)
def test_a_text_gives_a_value(text: str, kind: Any, value: Any) -> None:
    assert typed(text, kind) == value
    assert type(typed(text, kind)) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "must_be"),
    [
        ("three", int, "of the type int"),
        ("2.5", int | None, "of the type int"),
        ("maybe", bool, "of the type bool"),
        ("some", Literal["all", "any"], "one of all, any"),
        ("1,x", list[int], "of the type int"),
        ("[1", list[int], "a list of values of the type int"),
        ("a", tuple[str, ...], r"of the type tuple\[str, \.\.\.\]"),
    ],
)
def test_a_text_that_gives_none_is_refused(text: str, kind: Any, must_be: str) -> None:
    with pytest.raises(NotOfType, match=f"^{must_be}$"):
        typed(text, kind)


def test_annotations_are_evaluated_as_they_are_written() -> None:
    assert evaluated({"k": "int", "names": "list[str]", "where": "Path", "odd": "("}) == {"k": int, "names": list[str]}

"""A vector column that travels in binary both ways, and the ltree type beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

Vector = NDArray[np.float32]
"""One embedding: shape (dim,), unit length."""


class HalfVec(UserDefinedType[Vector]):
    """`halfvec(dim)`: 2 bytes a dimension; binds a numpy array of shape (dim,), returns float32.

    Values are handed to psycopg as `HalfVector`, whose binary dumper `postgres.connect` registers, so no
    text form of a vector is ever made.
    """

    cache_ok = True

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def get_col_spec(self, **_: Any) -> str:
        """The type as DDL."""
        return "halfvec" if self.dim is None else f"halfvec({self.dim})"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Wrap an array for psycopg."""
        return lambda value: value if value is None or isinstance(value, HalfVector) else HalfVector(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Vector | None]:
        """Unwrap to float32."""
        return lambda value: None if value is None else value.to_numpy().astype(np.float32)


class Codes(UserDefinedType[list[bytes]]):
    """`bit(dim)[]`: signs of vectors; binds a list of `pgvector.Bit` or of bytes, and is never read back."""

    cache_ok = True

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def get_col_spec(self, **_: Any) -> str:
        """The type as DDL."""
        return f"bit({self.dim})[]"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Wrap each code for psycopg."""
        return lambda codes: None if codes is None else [Bit(c) if isinstance(c, bytes) else c for c in codes]


class Ltree(UserDefinedType[str]):
    """`ltree`: labels joined by dots; travels as text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type as DDL."""
        return "ltree"


ischema_names["halfvec"] = HalfVec
ischema_names["ltree"] = Ltree

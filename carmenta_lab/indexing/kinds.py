"""Kinds of approximate indexes: what CREATE INDEX says of each, and the memory its build takes.

Each kind indexes an expression of its own, so that no statement can be served by another kind than it names.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from carmenta_lab.errors import UsageError

IndexKind: TypeAlias = Literal["hnsw", "halfvec", "binary", "ivfflat"]


@dataclass(frozen=True)
class HNSW:
    """A graph over cosine distance; more links (`m`) and breadth (`ef_construction`) buy recall.

    Over the vectors as floats (`hnsw`), in half precision as they are stored (`halfvec`), or over the signs of
    their dimensions (`binary`), whose hits are to be ranked again by the vectors themselves.
    """

    m: int = 16  # links a node, 2..100
    ef_construction: int = 64  # candidates kept while building, at least 2 m
    kind: Literal["hnsw", "halfvec", "binary"] = "hnsw"

    NODE: ClassVar[int] = 180  # bytes of a node without its links and its vector
    LINK: ClassVar[int] = 16

    def __post_init__(self) -> None:
        """Refuse what the index would."""
        if not 2 <= self.m <= 100 or not 2 * self.m <= self.ef_construction <= 1000:
            raise UsageError(
                f"HNSW needs m from 2 to 100 and ef_construction from 2 m to 1000; "
                f"found m={self.m}, ef_construction={self.ef_construction}."
            )

    def definition(self, rows: int, dim: int) -> str:
        """The method, the operand and the options that CREATE INDEX is given."""
        operand = {
            "hnsw": f"((embedding::vector({dim})) vector_cosine_ops)",
            "halfvec": "(embedding halfvec_cosine_ops)",
            "binary": f"((binary_quantize(embedding)::bit({dim})) bit_hamming_ops)",
        }[self.kind]
        return f"USING hnsw {operand} WITH (m = {self.m}, ef_construction = {self.ef_construction})"

    def memory_bytes(self, rows: int, dim: int) -> int:
        """The bytes that the graph takes while it is built; `maintenance_work_mem` should hold them."""
        vector = {"hnsw": 4 * dim + 8, "halfvec": 2 * dim + 8, "binary": dim // 8 + 8}[self.kind]
        links = self.LINK * (2 * self.m + self.m / (self.m - 1))
        return int(rows * (self.NODE + links + vector))


@dataclass(frozen=True)
class IVFFlat:
    """Lists around centres found in the rows that are there; over unit vectors in half precision.

    Lists unless told: rows / 1000 up to a million rows, the root of the rows above (pgvector's rule).
    """

    lists: int | None = None  # 1..32768
    kind: Literal["ivfflat"] = "ivfflat"

    def __post_init__(self) -> None:
        """Refuse what the index would."""
        if self.lists is not None and not 1 <= self.lists <= 32_768:
            raise UsageError(f"IVFFlat needs 1 to 32768 lists; found {self.lists}.")

    def definition(self, rows: int, dim: int) -> str:
        """The method, the operand and the options that CREATE INDEX is given."""
        lists = self.lists or lists_for(rows)
        return f"USING ivfflat ((l2_normalize(embedding)::halfvec({dim})) halfvec_ip_ops) WITH (lists = {lists})"

    def memory_bytes(self, rows: int, dim: int) -> int:
        """The bytes that its k-means takes; pgvector refuses to build where `maintenance_work_mem` is less.

        As in its ivfkmeans.c: a sample of 50 vectors a list, 10,000 at least, the bound of the distance of each to each
        centre, and the distances between centres.
        """
        lists = self.lists or lists_for(rows)
        sample = max(50 * lists, 10_000)
        return sample * (2 * dim + 8 + 4 * lists + 8) + lists * (4 * lists + 12 * dim + 16)


ApproximateIndex: TypeAlias = HNSW | IVFFlat

KINDS: dict[IndexKind, ApproximateIndex] = {
    "hnsw": HNSW(),
    "halfvec": HNSW(kind="halfvec"),
    "binary": HNSW(kind="binary"),
    "ivfflat": IVFFlat(),
}


def lists_for(rows: int) -> int:
    """IVFFlat lists for that many rows, by pgvector's rule."""
    return min(32_768, max(1, rows // 1000 if rows <= 1_000_000 else math.isqrt(rows)))

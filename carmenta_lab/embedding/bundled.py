"""How is the model that ships with the package checked and run?"""

import os
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from fastembed.text.custom_text_embedding import CustomTextEmbedding

from carmenta_lab import resources
from carmenta_lab.embedding.embedder import Embedder, Vectors
from carmenta_lab.errors import EmbeddingError

DIM = 384
MODEL_FILE = "model.onnx"
SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.onnx": "b0757495792a765a65a37f7d338b1e6cc6b94abab7bbdd54d00e31e2d6401fdb",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "32d70b45ea2679485328eafb8a5a94dcc9fbaadaf0c92b7ca06fe5684a4b8389",
    "tokenizer_config.json": "9b7adb18269379d18e23f576caaaca5b7fef2acb3caef75e73f8bdf208640059",
}


class FoldedTextEmbedding(CustomTextEmbedding):  # type: ignore[misc, unused-ignore]
    """A fastembed model whose int8 weights become float32 once, at start, and not in every batch."""

    @classmethod
    def add_extra_session_options(
        cls, session_options: onnxruntime.SessionOptions, extra_options: dict[str, Any]
    ) -> None:
        """Set what fastembed does not expose."""
        super().add_extra_session_options(session_options, extra_options)
        session_options.add_session_config_entry("session.disable_quant_qdq", "1")


def load(name: str, folder: Path | None = None) -> Embedder:
    """Check the files in `folder` and load them under that name, without any network.

    fastembed loads session and tokenizer; batches go to the session directly, sorted and padded by us.
    """
    folder = resources.bundled_model() if folder is None else folder
    verify(folder)
    if name not in {known["model"] for known in TextEmbedding.list_supported_models()}:
        TextEmbedding.add_custom_model(
            model=name,
            pooling=PoolingType.DISABLED,
            normalization=False,
            sources=ModelSource(hf="none/none"),  # required, never read: the files are here
            dim=DIM,
            model_file=MODEL_FILE,
        )
    model = FoldedTextEmbedding(
        name,
        cache_dir=str(folder),  # fastembed makes this folder even when it stores nothing
        specific_model_path=str(folder),
        threads=cores(),
        providers=["CPUExecutionProvider"],
    )
    session, tokenizer = model.model, model.tokenizer
    assert session is not None  # not lazy
    assert tokenizer is not None

    def encode_both(ids: list[list[int]]) -> tuple[Vectors, Vectors]:
        vectors, tokens = session.run(["embedding", "token_embeddings"], padded(ids))
        return vectors, tokens

    def encode(_: list[str], ids: list[list[int]]) -> Vectors:
        vectors: Vectors = session.run(["embedding"], padded(ids))[0]
        return vectors

    return Embedder(name, DIM, tokenizer, encode=encode, encode_both=encode_both)


def verify(folder: Path) -> None:
    """EmbeddingError when a file of the model is missing or differs from the one that was released."""
    for file, expected in SHA256.items():
        try:
            with (folder / file).open("rb") as stream:
                got = file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise EmbeddingError(
                f"the bundled model's {file} cannot be read in {folder} ({error.strerror}); install carmenta-lab again."
            ) from error
        if got != expected:
            raise EmbeddingError(
                f"the bundled model's {file} in {folder} has the sha256 {got[:12]}... instead of "
                f"{expected[:12]}...: it is damaged or changed; install carmenta-lab again."
            )


def padded(ids: list[list[int]]) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """The model's inputs: token ids and attention mask, filled with zeros to the longest row."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    mask = np.arange(lengths.max())[None, :] < lengths[:, None]
    tokens = np.zeros(mask.shape, np.int64)
    tokens[mask] = np.concatenate(ids)
    return {"input_ids": tokens, "attention_mask": mask.astype(np.int64)}


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

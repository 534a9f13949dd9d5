"""How far is embedding from bare onnxruntime on the same texts, sorted by length?"""

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from carmenta_lab import resources
from carmenta_lab.bench.generate import texts
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.embedding import load_embedder
from carmenta_lab.postgres.connect import Database

BATCH = 32


def embedding(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Embed `rows` texts, against an onnxruntime session with the same model, tokenizer and option."""
    some = list(texts(rows, seed))
    embedder = load_embedder()
    folder = resources.bundled_model()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def bare() -> None:
        order = sorted(range(len(some)), key=lambda row: len(some[row]))
        for start in range(0, len(order), BATCH):
            encoded = tokenizer.encode_batch([some[row] for row in order[start : start + BATCH]])
            feed = {
                "input_ids": np.array([e.ids for e in encoded]),
                "attention_mask": np.array([e.attention_mask for e in encoded]),
            }
            session.run(["embedding"], feed)

    limit, ours = alternate(bare, lambda: embedder.embed(some), repeats)
    return [Result("embedding", limit, ours, rows, repeats, "onnxruntime in batches of 32, sorted by length")]

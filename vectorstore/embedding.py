"""all-MiniLM-L6-v2: text to unit vectors. Only importer of ``onnxruntime`` and ``tokenizers``.

The published weights become an ONNX graph once (``graph``), which onnxruntime runs; PyTorch is not
needed. Nothing heavy is imported before the first text.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import EmbeddingError
from vectorstore.graph import GRAPH_VERSION, build, convert

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]  # has no types
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

MODEL_NAME = "all-minilm-l6-v2"
DIMENSION = 384
MAX_TOKENS = 256
"""The model was trained on no more; what follows in a text is not seen."""

_TEXTS_PER_RUN = 32
# More characters than MAX_TOKENS words have; spares the tokenizer of long texts.
_MAX_CHARS = 20_000
_PULL_HINT = f"assistant models pull {MODEL_NAME}"


class MiniLMEmbedder:
    """The embedding model of a folder with ``model.safetensors`` and ``tokenizer.json``.

    ``model.onnx`` is written beside them on first use; where that is not allowed, the graph is
    kept in memory. Safe to use from several threads.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        """Remember the folder; nothing is read yet.

        Args:
            folder: Of the model's files.
            threads: Of one run of the model; the usable cores if None.
        """
        self._folder = Path(folder)
        self._threads = threads or _usable_cores()
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, InferenceSession] | None = None

    @property
    def name(self) -> str:
        """Identifies the vectors."""
        return MODEL_NAME

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return DIMENSION

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors.

        Args:
            texts: Of any length; only the first ``MAX_TOKENS`` tokens count.

        Returns:
            Shape (len(texts), 384), float32; every row has norm 1.

        Raises:
            EmbeddingError: If the model's files are missing or damaged.
        """
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        if not texts:
            return vectors
        tokenizer, session = self._load()
        encodings = tokenizer.encode_batch([_tokenizable(text) for text in texts])
        # Neighbours in length share a run, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        for start in range(0, len(order), _TEXTS_PER_RUN):
            part = order[start : start + _TEXTS_PER_RUN]
            vectors[part] = _run(session, [encodings[index].ids for index in part])
        return vectors

    def _load(self) -> tuple[Tokenizer, InferenceSession]:
        with self._lock:
            if self._loaded is None:
                with _translated(self._folder):
                    self._loaded = _tokenizer(self._folder), self._session()
            return self._loaded

    def _session(self) -> InferenceSession:
        weights, graph = self._folder / "model.safetensors", self._folder / "model.onnx"
        if not _is_current(graph, weights):
            try:
                convert(weights, graph)
            except PermissionError:
                logger.info("%s cannot be written; the graph stays in memory", graph)
                return _open_session(build(weights), self._threads)
        try:
            session = _open_session(str(graph), self._threads)
            built = session.get_modelmeta().custom_metadata_map.get("graph_version")
        except Exception as error:  # noqa: BLE001 - onnxruntime raises one class per status code
            logger.warning("%s is damaged (%s); writing it anew", graph, error)
            built = None
        if built != str(GRAPH_VERSION):
            convert(weights, graph)
            session = _open_session(str(graph), self._threads)
        return session


def _is_current(graph: Path, weights: Path) -> bool:
    return graph.is_file() and graph.stat().st_mtime_ns >= weights.stat().st_mtime_ns


def _tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    # The file says 128 tokens, always padded to 128.
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _open_session(model: str | bytes, threads: int) -> InferenceSession:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning would take the cores from the language model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: InferenceSession, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Return shape (len(tokens), 384); tokens are padded to the longest."""
    width = max(map(len, tokens))
    input_ids = np.zeros((len(tokens), width), dtype=np.int64)
    mask = np.zeros((len(tokens), width), dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    (vectors,) = session.run(None, {"input_ids": input_ids, "attention_mask": mask})
    return np.asarray(vectors, dtype=np.float32)


def _tokenizable(text: str) -> str:
    """Cut a text, and replace lone surrogates, which the tokenizer refuses."""
    return text[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise about the model's files into the error for the user."""
    try:
        yield
    except EmbeddingError:
        raise
    except FileNotFoundError as error:
        reason = f"the embedding model {MODEL_NAME} is not in {folder}"
        raise EmbeddingError(reason, model=MODEL_NAME, hint=_PULL_HINT) from error
    # tokenizers raises Exception itself, onnxruntime one class per status code.
    except Exception as error:
        reason = f"the embedding model in {folder} is damaged or another one ({error})"
        raise EmbeddingError(reason, model=MODEL_NAME, hint=_PULL_HINT) from error

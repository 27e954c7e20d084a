"""Papers in, ranked passages out. Knows nothing of language models."""

from vectorstore.chunking import CHUNKING_VERSION, chunk_paper
from vectorstore.embedding import MiniLMEmbedder
from vectorstore.errors import (
    DuplicatePaperError,
    EmbeddingError,
    IndexDamagedError,
    IndexLockedError,
    IndexMismatchError,
    IndexMissingError,
    PaperFormatError,
    PaperNotFoundError,
    StoreError,
)
from vectorstore.normalize import normalize
from vectorstore.papers import read_papers
from vectorstore.store import Store
from vectorstore.types import Chunk, Difference, Embedder, IngestReport, Paper, Passage

__all__ = [
    "CHUNKING_VERSION",
    "Chunk",
    "Difference",
    "DuplicatePaperError",
    "Embedder",
    "EmbeddingError",
    "IndexDamagedError",
    "IndexLockedError",
    "IndexMismatchError",
    "IndexMissingError",
    "IngestReport",
    "MiniLMEmbedder",
    "Paper",
    "PaperFormatError",
    "PaperNotFoundError",
    "Passage",
    "Store",
    "StoreError",
    "chunk_paper",
    "normalize",
    "read_papers",
]

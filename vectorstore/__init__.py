"""Papers in, ranked passages out. Knows nothing of language models."""

from vectorstore.chunking import CHUNKING_VERSION, chunk_paper
from vectorstore.collections import CollectionInfo, Collections
from vectorstore.embedding import MiniLMEmbedder
from vectorstore.errors import (
    ArchiveError,
    CollectionError,
    CollectionNameError,
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
from vectorstore.sources.papers import read_papers
from vectorstore.store import Store
from vectorstore.types import Chunk, Difference, Embedder, IngestReport, Paper, Passage

__all__ = [
    "CHUNKING_VERSION",
    "ArchiveError",
    "Chunk",
    "CollectionError",
    "CollectionInfo",
    "CollectionNameError",
    "Collections",
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

"""What can go wrong in the store, for the user to read.

StoreError
├─ PaperFormatError    (path, line)      a record or file that cannot be read
├─ IndexMissingError   (path)            no index there
├─ IndexMismatchError  (path)            built with other settings or another version
├─ IndexDamagedError   (path)            half-written or foreign
├─ IndexLockedError    (path)            another process is writing
├─ PaperNotFoundError  (paper_id)
└─ EmbeddingError      (model)           the embedding model is missing or unusable

Every error carries a ``hint``: the next command to type.
"""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """Base of all errors of this package; its message is meant for the user."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class PaperFormatError(StoreError):
    """A record or a file of papers cannot be read."""

    def __init__(self, message: str, *, path: str, line: int | None, hint: str) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {message}", hint=hint)
        self.path, self.line, self.reason = path, line, message


class IndexMissingError(StoreError):
    """There is no index in the folder."""

    def __init__(self, message: str, *, path: Path, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class IndexMismatchError(IndexMissingError):
    """The index was built with another embedding model, chunking or format."""


class IndexDamagedError(IndexMissingError):
    """The index is half-written, or the folder holds something else."""


class IndexLockedError(IndexMissingError):
    """Another process is writing this index."""


class PaperNotFoundError(StoreError):
    """No paper has this id."""

    def __init__(self, message: str, *, paper_id: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.paper_id = paper_id


class EmbeddingError(StoreError):
    """The embedding model is missing or unusable."""

    def __init__(self, message: str, *, model: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.model = model

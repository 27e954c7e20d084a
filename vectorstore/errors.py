"""What can go wrong in the store, for the user to read.

StoreError
├─ PaperFormatError    (path, line)      a record or file that cannot be read
│  └─ DuplicatePaperError (first)        a record of a paper that was read before
├─ IndexMissingError   (path)            no index there
├─ IndexMismatchError  (path)            built with other settings or another version
├─ IndexDamagedError   (path)            half-written or foreign
├─ IndexLockedError    (path)            another process is writing
├─ CollectionError     (name)            a collection that is not there, or must not be replaced
│  └─ CollectionNameError                a name that some file system cannot hold
├─ ArchiveError        (path)            an archive that cannot be read, or is not to be written
├─ ServerError                           a Chroma server that refuses, or is none
│  └─ ServerUnreachableError             that does not answer
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

    def __init__(
        self, message: str, *, path: str, line: int | None, hint: str, record: int | None = None
    ) -> None:
        super().__init__(f"{place(path, line, record)}: {message}", hint=hint)
        self.path, self.line, self.record, self.reason = path, line, record, message


class DuplicatePaperError(PaperFormatError):
    """A record is of a paper that was read before, which is kept; nothing is wrong with it."""

    def __init__(
        self,
        message: str,
        *,
        path: str,
        line: int | None,
        hint: str,
        first: str,
        record: int | None = None,
    ) -> None:
        super().__init__(message, path=path, line=line, hint=hint, record=record)
        self.first = first


def place(path: str, line: int | None, record: int | None = None) -> str:
    """Return where something is, in words: by line, or by record where there are no lines."""
    if line is not None:
        return f"{path}:{line}"
    return path if record is None else f"{path}, record {record}"


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


class CollectionError(StoreError):
    """A collection is not there, or there already."""

    def __init__(self, message: str, *, name: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class CollectionNameError(CollectionError):
    """A name that not every file system can hold."""


class ArchiveError(StoreError):
    """An archive of a collection cannot be read, or must not be written there."""

    def __init__(self, message: str, *, path: Path, hint: str) -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path, self.reason = path, message


class ServerError(StoreError):
    """A Chroma server refuses, is of another version, or is none."""


class ServerUnreachableError(ServerError):
    """A Chroma server does not answer."""


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

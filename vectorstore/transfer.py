"""Indexes to archives and back. The one place that knows both.

An archive brings its vectors along; they are used if they were made by the same model for the same
chunks, and made anew if not.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vectorstore.archive import ArchiveManifest, ArchiveReader, Item, write_archive
from vectorstore.chunking import CHUNKING_VERSION, chunk_spans
from vectorstore.errors import ArchiveError
from vectorstore.index.manifest import Manifest
from vectorstore.store import Store
from vectorstore.types import Embedder, Paper

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was imported."""

    papers: int
    chunks: int
    embedded: bool
    """Whether the vectors were made anew."""
    seconds: float


def export_index(
    store: Store, path: Path, *, name: str, progress: Progress | None = None
) -> ArchiveManifest:
    """Write an index into an archive, whole or not at all.

    Args:
        store: An open index; nobody can write it meanwhile.
        path: Of the archive; a file that is there is replaced.
        name: Of the collection, for whoever imports it.
        progress: Told how many papers are done.

    Raises:
        ArchiveError: If the file cannot be written.
        IndexLockedError: If another process is writing the index.
        IndexDamagedError: If the last ingest was interrupted, or a part is missing.
    """
    manifest = Manifest.read(store.path)
    description = {
        "name": name,
        "created_with": manifest.created_with,
        "embedder": manifest.embedder,
        "dimension": manifest.dimension,
        "chunking_version": manifest.chunking_version,
    }
    return write_archive(path, _counted(store.exported(), progress), description)


def _counted(items: Iterator[Item], progress: Progress | None) -> Iterator[Item]:
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(done)


def import_index(
    path: Path,
    folder: Path,
    embedder: Embedder,
    *,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> ImportReport:
    """Build an index out of an archive, in a folder that is not there yet.

    Args:
        path: Of the archive.
        folder: Of the index; after an error it holds a part of one, to be thrown away.
        embedder: That the index is to be used with.
        progress: Told how many papers are done.
        notice: Told if the vectors have to be made anew, and why.

    Raises:
        ArchiveError: At the first thing in it that is not as it must be (see ``ArchiveReader``), or
            if it does not fit on the disk.
        EmbeddingError: If the embedding model is needed and cannot be used.
    """
    with ArchiveReader(path) as archive:
        _require_space(archive, path, folder.parent)
        difference = _difference(archive.manifest, embedder)
        if difference and notice is not None:
            notice(f"embedding all papers anew: {difference}")
        vectors: dict[str, NDArray[np.float32]] = {}
        with Store.create(folder, embedder) as store:
            report = store.ingest(
                _papers(archive, path, None if difference else vectors),
                progress=progress,
                vectors=lambda paper: vectors.pop(paper.id, None),
            )
        if report.added != archive.manifest.papers:
            raise ArchiveError("two of its papers have the same id", path=path, hint=_HINT)
    return ImportReport(report.added, report.chunks, bool(difference), report.seconds)


_HINT = "it is damaged or was changed; export it again"


def _papers(
    archive: ArchiveReader, path: Path, kept: dict[str, NDArray[np.float32]] | None
) -> Iterator[Paper]:
    """Yield the papers; keep the vectors of each until it is taken in."""
    for paper, spans, vectors in archive.items():
        if kept is not None:
            if spans != chunk_spans(paper.abstract):
                reason = f"the chunks of {paper.id} are not those of its abstract"
                raise ArchiveError(reason, path=path, hint=_HINT)
            kept[paper.id] = vectors
        yield paper


def _difference(manifest: ArchiveManifest, embedder: Embedder) -> str:
    """Return in words why vectors cannot be used; empty if they can."""
    made = (manifest.embedder, manifest.dimension)
    wanted = (embedder.name, embedder.dimension)
    if made != wanted:
        return f"its vectors are of {made[0]} ({made[1]}), not of {wanted[0]} ({wanted[1]})"
    if manifest.chunking_version != CHUNKING_VERSION:
        return f"its chunks are of version {manifest.chunking_version}, not {CHUNKING_VERSION}"
    return ""


def _require_space(archive: ArchiveReader, path: Path, folder: Path) -> None:
    needed, free = archive.unpacked_bytes, shutil.disk_usage(folder).free
    if needed > free:
        reason = f"it needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free"
        raise ArchiveError(reason, path=path, hint="make room, or set collections_dir elsewhere")

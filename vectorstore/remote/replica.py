"""This machine's copy of a collection on a server: what it holds, and how it catches up.

The copy is an index like any other, but for the vectors as computed, which stay on the server. It
is a cache: whatever is wrong with it, it is thrown away and fetched again. To be used by who holds
the writer lock of its folder.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import IndexMismatchError, IndexMissingError, ServerError
from vectorstore.index.chroma import Vectors
from vectorstore.index.folder import IndexFolder
from vectorstore.index.manifest import Manifest
from vectorstore.index.parts import Parts
from vectorstore.index.records import Records
from vectorstore.index.writing import PAPERS_PER_BATCH, Writer
from vectorstore.remote.server import Head, Server, SharedPaper
from vectorstore.types import Chunk, Embedder

logger = logging.getLogger(__name__)

_STATE_NAME = "replica.json"
_FEW_PAPERS, _MANY_PAPERS = 500, 2_000
_TRIES = 3
# A change that was begun and is not done is looked at again when its writer tells of it, or:
_TAIL_SECONDS = 60.0

Progress = Callable[[int], None]


@dataclass(slots=True)
class State:
    """What is known of the server; kept in a file beside the index."""

    identity: str
    """Of the collection that was copied."""
    seen: dict[str, int] = field(default_factory=dict)
    """By writer: all of its changes up to this one are in the copy."""
    writer: int = -1
    """Number of this machine among the writers; -1 before its first change."""
    token: str = ""
    last: int = 0
    """The last change that this machine may have begun."""

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Read the file of a folder; None if there is none, or none that can be used."""
        try:
            return cls(**json.loads((folder / _STATE_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Put the file in the folder, whole or not at all."""
        temporary = folder / f"{_STATE_NAME}.tmp"
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(folder / _STATE_NAME)


class Replica:
    """The copy of a collection in a folder."""

    def __init__(self, server: Server, parts: Parts, embedder: Embedder, wanted: Manifest) -> None:
        """Wrap a copy that ``prepare`` has made.

        Args:
            server: Of the collection.
            parts: Of the copy.
            embedder: Of the same name as the one that the collection was built with.
            wanted: What an index that is built now is built with.
        """
        self.server = server
        self._parts = parts
        self._embedder = embedder
        self._wanted = wanted
        self._tails: dict[int, tuple[Head, float]] = {}

    @property
    def folder(self) -> Path:
        """Folder of the copy."""
        return self._parts.folder.path

    def state(self) -> State:
        """Return what is known of the server.

        Raises:
            ServerError: If the copy has just been thrown away.
        """
        state = State.read(self.folder)
        if state is None:
            raise ServerError(f"the copy in {self.folder} is gone", hint="run it again")
        return state

    # --- from the server ---------------------------------------------------------------------

    def pull(self, progress: Progress | None = None) -> int:
        """Take over what has changed on the server; return how many papers that were.

        Raises:
            ServerError: If the server does not answer or refuses.
            IndexMissingError: If the collection is not there any more.
            IndexMismatchError: If it has been built anew, with something else.
        """
        identity = require(self.server, self._wanted, self.folder)
        state = State.read(self.folder)
        if state is None or state.identity != identity:
            logger.info("the collection was built anew; it is fetched anew")
            state = start_anew(self._parts.folder, identity, self._wanted)
            self._parts.notice()
        heads = self.server.heads()
        if _went_back(state, heads):
            logger.warning("%s went back to an earlier state", self.server.address)
            return self.rescan(progress)
        return self._catch_up(state, heads, progress)

    def rescan(self, progress: Progress | None = None) -> int:
        """Compare all papers with the server, and take over its own where they differ."""
        state = self.state()
        state.seen = {}
        self._tails = {}
        changed = self._catch_up(state, self.server.heads(), progress)
        wrong = [key for page in self._differing() for key in page]
        self.fetch(wrong)
        return changed + len(wrong)

    def fetch(self, ids: Sequence[str]) -> list[str]:
        """Take over papers as they are on the server, or that they are not there.

        Returns:
            Ids of papers that are damaged there: their vectors are missing.
        """
        damaged: list[str] = []
        for start in range(0, len(ids), PAPERS_PER_BATCH):
            some = ids[start : start + PAPERS_PER_BATCH]
            found = self.server.papers(some)
            damaged += self._take([found.get(key) or _removed(key) for key in some])
        return damaged

    def differences(self) -> list[str]:
        """Compare all papers with the server; return the differences in words."""
        found: list[str] = []
        unlike = [key for page in self._differing() for key in page]
        if unlike:
            shown = ", ".join(unlike[:3]) + (", …" if len(unlike) > 3 else "")
            found.append(f"{len(unlike)} papers that are not as on the server: {shown}")
        return found + self.differences_in_number()

    def differences_in_number(self) -> list[str]:
        """Compare how many papers there are."""
        here, there = len(self._parts.records), self.server.count()
        return [f"{here} papers, but {there} on the server"] if here != there else []

    def _differing(self) -> Iterator[list[str]]:
        """Yield ids of papers of the copy that are not so on the server."""
        records = self._parts.records
        for first in range(0, records.positions, PAPERS_PER_BATCH):
            own = dict(records.fingerprints(first, first + PAPERS_PER_BATCH).values())
            found = self.server.papers(list(own))
            there = {key: (found.get(key) or _removed(key)).fingerprint for key in own}
            yield [key for key in own if own[key] != there[key]]

    def _catch_up(self, state: State, heads: dict[int, Head], progress: Progress | None) -> int:
        records = self._parts.records
        if left := list(records.pending()):
            # Interrupted while they were taken over, or written here.
            self.fetch(left)
        changed = 0
        for number, head in sorted(heads.items()):
            if self._is_known_tail(number, head):
                continue
            for found in self._changes(state, number, head):
                changed += self._take_differing(found)
                if progress is not None and changed:
                    progress(changed)
            if head.begun > head.done:
                self._tails[number] = (head, time.monotonic())
        if self._parts.records.is_ingesting():
            self._parts.records.end()
        return changed

    def _changes(self, state: State, number: int, head: Head) -> Iterator[list[SharedPaper]]:
        """Yield what a writer has changed since the last time, and note that after each page."""
        after = state.seen.get(str(number), 0)
        span = 4
        while after < head.begun:
            last = min(after + span, head.begun)
            found = self.server.changed(number, after, last)
            yield found
            # What is not done yet may get more papers after this look.
            state.seen[str(number)] = max(state.seen.get(str(number), 0), min(last, head.done))
            state.write(self.folder)
            after = last
            if len(found) < _FEW_PAPERS:
                span *= 2
            elif len(found) > _MANY_PAPERS:
                span = max(1, span // 2)

    def _is_known_tail(self, number: int, head: Head) -> bool:
        known, since = self._tails.get(number, (None, 0.0))
        return known == head and time.monotonic() - since < _TAIL_SECONDS

    def _take_differing(self, found: Sequence[SharedPaper]) -> int:
        entries = self._parts.records.entries([paper.id for paper in found])
        differing = [
            paper
            for paper in found
            if paper.fingerprint != (entries[paper.id].fingerprint if paper.id in entries else "")
        ]
        for start in range(0, len(differing), PAPERS_PER_BATCH):
            self._take(differing[start : start + PAPERS_PER_BATCH])
        return len(differing)

    def _take(self, papers: Sequence[SharedPaper]) -> list[str]:
        """Write papers to the copy; return the ids of those whose vectors are missing."""
        local = Writer(self._parts, self._embedder)
        for _ in range(_TRIES):
            local.remove([paper.id for paper in papers if not paper.fingerprint])
            there = [paper for paper in papers if paper.fingerprint]
            vectors = self.server.vectors(there)
            for _ in local.index(
                [paper.paper for paper in there if paper.id in vectors],
                lambda paper: vectors.get(paper.id),  # noqa: B023 - used before the next round
            ):
                logger.debug("took papers over")
            missing = {paper.id: paper for paper in there if paper.id not in vectors}
            if not missing:
                return []
            # Most likely replaced between the two looks.
            again = self.server.papers(list(missing))
            papers = [again.get(key) or _removed(key) for key in missing]
            if all(paper == missing.get(paper.id) for paper in papers):
                break
        logger.warning(
            "%d papers on the server lack vectors (%s); mend them: assistant repair --store %s",
            len(papers), papers[0].id, self.server.address,
        )  # fmt: skip
        return [paper.id for paper in papers]


class ServerVectors:
    """The vectors as computed of a copy: those of the server, where ``SharedWriter`` puts them."""

    def __init__(self, server: Server) -> None:
        """Remember the server."""
        self._server = server

    def upsert(
        self,
        part: int,
        chunks: Sequence[Chunk],
        versions: Sequence[str],
        vectors: NDArray[np.float32],
    ) -> None:
        """Do nothing: what is written to the copy is on the server already."""

    def delete(self, part: int, chunk_ids: Sequence[str]) -> None:
        """Do nothing: what is removed from the copy is removed from the server already."""

    def get(self, part: int, chunk_ids: Sequence[str]) -> Vectors:  # noqa: ARG002 - one for all
        """Return chunks in the order of their ids; those that are not there are left out."""
        ids = list(dict.fromkeys(each.rpartition(":")[0] for each in chunk_ids))
        found = self._server.papers(ids)
        vectors = self._server.vectors(found.values())
        there = []
        for each in chunk_ids:
            key, _, number = each.rpartition(":")
            if key in vectors and int(number) < len(vectors[key]):
                there.append((each, found[key].version, vectors[key][int(number)]))
        rows = [row for _, _, row in there]
        return Vectors(
            tuple(key for key, _, _ in there),
            tuple(version for _, version, _ in there),
            np.array(rows, np.float32) if rows else np.empty((0, 0), np.float32),
        )

    def ids(self, part: int) -> Iterator[str]:  # noqa: ARG002 - none are in a part
        """Yield nothing: what lies on the server and belongs to no paper, ``Server`` knows."""
        return iter(())

    def numbers(self) -> list[int]:
        """Return nothing: there are no parts."""
        return []

    def drop(self, part: int) -> None:
        """Do nothing: the server is no copy."""

    def close(self) -> None:
        """Do nothing: the connection is of the store."""


def require(server: Server, wanted: Manifest, folder: Path) -> str:
    """Return what tells the collection from all others.

    Raises:
        ServerError: If the server does not answer or refuses.
        IndexMissingError: If there is no such collection.
        IndexMismatchError: If it was built with something else.
    """
    identity = server.find()
    address = server.address
    if identity is None:
        reason = f'there is no collection "{address.collection}" on {address.url}'
        hint = f"assistant ingest PAPERS --store {address}"
        raise IndexMissingError(reason, path=folder, hint=hint)
    if different := server.differences(wanted):
        reason = f"{address} was built with {'; '.join(different)}"
        hint = f"use another collection, or build it anew: assistant ingest --rebuild PAPERS --store {address}"  # noqa: E501
        raise IndexMismatchError(reason, path=folder, hint=hint)
    return identity


def prepare(folder: IndexFolder, identity: str, wanted: Manifest) -> None:
    """Make a folder ready for the copy of a collection; what it holds of another is removed.

    Raises:
        IndexLockedError: If another process is writing it.
        IndexDamagedError: If it holds something else.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    if _holds(folder, identity, wanted):
        return
    with folder.writing():
        # Another process may have done it meanwhile.
        if not _holds(folder, identity, wanted):
            start_anew(folder, identity, wanted)


def is_usable(folder: IndexFolder, wanted: Manifest) -> bool:
    """Tell whether a folder holds a copy that can be searched while the server is away."""
    return _holds(folder, None, wanted)


def start_anew(folder: IndexFolder, identity: str, wanted: Manifest) -> State:
    """Make an empty copy, in place of what is there."""
    (folder.path / _STATE_NAME).unlink(missing_ok=True)
    folder.empty()
    wanted.write(folder.path)
    Records(folder.records, create=True).close()
    state = State(identity)
    state.write(folder.path)
    return state


def _holds(folder: IndexFolder, identity: str | None, wanted: Manifest) -> bool:
    state = State.read(folder.path)
    if state is None or (identity is not None and state.identity != identity):
        return False
    try:
        folder.require()
        Manifest.read(folder.path).check(wanted, folder.path)
        Records(folder.records).close()
    except IndexMissingError as error:
        logger.warning("%s; it is fetched anew", error)
        return False
    return True


def _went_back(state: State, heads: dict[int, Head]) -> bool:
    """Tell whether the server has forgotten changes: it was restored from a copy of its own."""
    return any(
        last > (heads[int(number)].begun if int(number) in heads else 0)
        for number, last in state.seen.items()
    )


def _removed(key: str) -> SharedPaper:
    return SharedPaper(key, 0, "", "", 0, "")

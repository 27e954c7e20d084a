"""``SharedStore``: a store on a Chroma server, that several machines read and write.

The server is the truth. What is searched is a copy on this machine (``replica``), by the same code
as any other index; it catches up with the server at opening, and at most every few seconds in use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from vectorstore.errors import IndexLockedError, ServerUnreachableError, StoreError
from vectorstore.index import health
from vectorstore.index.folder import IndexFolder
from vectorstore.index.parts import Parts
from vectorstore.index.records import Records
from vectorstore.index.writing import (
    PAPERS_PER_BATCH,
    KnownVectors,
    Prepared,
    Writer,
    embedded_text,
    text_version,
)
from vectorstore.remote.replica import Progress, Replica, ServerVectors, is_usable, prepare, require
from vectorstore.remote.server import Head, Outgoing, Server, change_of
from vectorstore.store import Store, manifest_of
from vectorstore.types import Embedder, Paper

logger = logging.getLogger(__name__)

_LOOK_SECONDS, _AWAY_SECONDS = 3.0, 30.0
# A search does not wait longer than this for what is new.
_WAIT_SECONDS = 1.0
GRACE_SECONDS = 3600
"""Chunks of no paper may belong to a write in progress; those that are older do not."""


class SharedStore(Store):
    """A collection on a server. Use ``connect``, not ``open`` or ``create``."""

    def __init__(
        self, server: Server, folder: IndexFolder, embedder: Embedder, records: Records
    ) -> None:
        """Wrap an open copy; use ``connect``."""
        parts = _SharedParts(
            folder, records, embedder.dimension, ServerVectors(server), self._pull, self._follow
        )
        super().__init__(folder, embedder, records, parts)
        self._replica = Replica(server, parts, embedder, manifest_of(embedder))
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._next_look = 0.0
        self._is_away = False

    @classmethod
    def connect(
        cls,
        server: Server,
        path: str | Path,
        embedder: Embedder,
        *,
        create: bool = False,
        rebuild: bool = False,
        progress: Progress | None = None,
    ) -> SharedStore:
        """Open a collection, and take over what has changed there.

        Args:
            server: Of the collection.
            path: Folder of this machine's copy; made if missing.
            embedder: Of the same name as the one that the collection was built with.
            create: Make the collection if it is not there.
            rebuild: Remove the collection first, for all machines.
            progress: Told how many papers have been taken over.

        Raises:
            ServerError: If the server refuses, or does not answer and there is no copy.
            IndexMissingError: If there is no such collection.
            IndexMismatchError: If it was built with another model or chunking.
        """
        folder, wanted = IndexFolder(Path(path)), manifest_of(embedder)
        is_away = False
        try:
            if rebuild:
                server.drop()
            if (create or rebuild) and server.find() is None:
                server.create(wanted)
            prepare(folder, require(server, wanted, folder.path), wanted)
        except ServerUnreachableError as error:
            if create or rebuild or not is_usable(folder, wanted):
                raise
            is_away = True
            logger.warning("%s; what is here of it is searched", error)
        store = cls(server, folder, embedder, Records(folder.records))
        store._is_away = is_away
        try:
            store._look(progress)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def mend(
        cls, server: Server, path: str | Path, embedder: Embedder, progress: Progress | None = None
    ) -> list[str]:
        """Make the server whole again, and the copy agree with it.

        Args:
            server: Of the collection.
            path: Folder of this machine's copy.
            embedder: For the vectors that are missing on the server.
            progress: Told how many papers have been seen to.

        Returns:
            What was done, in words; empty if nothing was wrong.

        Raises:
            ServerError: If the server does not answer or refuses.
            IndexLockedError: If another process is writing the copy.
        """
        done = []
        store = cls.connect(server, path, embedder)
        with closing(store), store._parts.writing():
            if changed := store._replica.rescan():
                done.append(f"took {changed:,} papers over from the server")
            done += health.repair(store._parts, store._writer(), progress)
            if orphans := server.remove_orphans(server.seconds() - GRACE_SECONDS):
                done.append(f"removed {orphans:,} vectors of no paper from the server")
            store._end()
        return done

    def close(self) -> None:
        """Let go of all files and the connection."""
        self._is_closing = True
        if self._thread is not None:
            self._thread.join()
        super().close()
        self._replica.server.close()

    def check(self, progress: Callable[[int], None] | None = None) -> list[str]:
        """Compare every paper with the server, and with what each part of the copy holds of it."""
        with self._parts.writing():
            found = self._replica.differences()
            return found + health.differences(self._parts, progress)

    def check_numbers(self) -> list[str]:
        """Compare how much the server and each part of the copy hold, in a moment."""
        return super().check_numbers() + self._replica.differences_in_number()

    def _writer(self) -> Writer:
        return SharedWriter(self._parts, self._embedder, self._replica)

    # --- catching up -------------------------------------------------------------------------

    def _pull(self) -> None:
        self._replica.pull()

    def _look(self, progress: Progress | None = None) -> None:
        """Take over what is new, unless another process here does, or the server is away."""
        wait = _LOOK_SECONDS
        try:
            with self._parts.folder.writing():
                self._parts.notice()
                self._replica.pull(progress)
            self._is_away = False
        except IndexLockedError:
            logger.info("another process is writing the copy")
        except ServerUnreachableError as error:
            wait = _AWAY_SECONDS
            if not self._is_away:
                logger.warning("%s; what is here of it is searched", error)
            self._is_away = True
        finally:
            self._next_look = time.monotonic() + wait

    def _follow(self) -> None:
        """Begin to take over what is new, if that was a while ago, and wait a moment for it."""
        if self._thread is None or not self._thread.is_alive():
            if time.monotonic() < self._next_look:
                return
            # No search is to wait for a million papers, and none to fail for the server.
            self._thread = threading.Thread(target=self._look_quietly, daemon=True)
            self._thread.start()
        self._thread.join(_WAIT_SECONDS)

    def _look_quietly(self) -> None:
        try:
            self._look(self._stop_if_closing)
        except _StoppedError:
            logger.debug("closed before all was taken over")
        except StoreError as error:
            logger.warning("%s", error)

    def _stop_if_closing(self, _: int) -> None:
        if self._is_closing:
            raise _StoppedError


class _StoppedError(Exception):
    """The store is being closed; what was not taken over yet comes the next time."""


class SharedWriter(Writer):
    """Writes papers to the server first, and then to the copy."""

    def __init__(self, parts: Parts, embedder: Embedder, replica: Replica) -> None:
        super().__init__(parts, embedder)
        self._replica = replica
        self._head: Head | None = None

    def remove(self, ids: Sequence[str]) -> None:
        """Remove papers; those that are not there leave nothing behind either."""
        for start in range(0, len(ids), PAPERS_PER_BATCH):
            some = ids[start : start + PAPERS_PER_BATCH]
            with self._change() as change:
                self._replica.server.bury(some, change)
                super().remove(some)

    def complete(self) -> None:
        """Clear up what a killed run of this machine has left on the server.

        The copy has caught up already, and with that what was half-written here.
        """
        state = self._replica.state()
        if state.writer >= 0:
            self._begun()

    def renew(self, papers: Sequence[Paper], known: KnownVectors | None = None) -> None:
        """Write the vectors of papers anew: those of the server, computed where it lacks them."""
        found = self._replica.server.papers([paper.id for paper in papers])
        there = {
            key: each
            for key, each in found.items()
            if each.fingerprint and each.version == text_version(each.paper)
        }
        vectors = self._replica.server.vectors(there.values())
        whole = [paper for paper in papers if paper.id in vectors]
        if whole:
            Writer(self._parts, self._embedder).renew(whole, lambda paper: vectors.get(paper.id))
        if lacking := [paper for paper in papers if paper.id not in vectors]:
            super().renew(lacking, known)

    def _write(self, items: Sequence[Prepared]) -> tuple[int, int]:
        with self._change() as change:
            self._replica.server.put(self._outgoing(items), change)
            return super()._write(items)

    def _outgoing(self, items: Sequence[Prepared]) -> list[Outgoing]:
        """Give all papers their vectors: each change brings its own chunks."""
        server = self._replica.server
        kept = server.papers([item.record.paper.id for item in items if item.vectors is None])
        vectors = server.vectors(each for each in kept.values() if each.fingerprint)
        outgoing = []
        for item in items:
            paper = item.record.paper
            version, own = text_version(paper), item.vectors
            if own is None and paper.id in vectors and kept[paper.id].version == version:
                own = vectors[paper.id]
            if own is None or len(own) != len(item.chunks):
                # Changed by others in the meantime.
                own = self._embedder.embed([embedded_text(paper, each) for each in item.chunks])
            outgoing.append(Outgoing(paper, version, item.chunks, own))
        return outgoing

    # --- changes -----------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[int]:
        """Announce a change before it is written, and tell when it is done."""
        head = self._begun()
        state, server = self._replica.state(), self._replica.server
        number = state.last = state.last + 1
        state.write(self._replica.folder)
        self._head = replace(head, begun=number)
        server.tell(state.writer, self._head)
        yield change_of(state.writer, number)
        self._head = Head(head.token, number, number)
        server.tell(state.writer, self._head)
        if state.seen.get(str(state.writer), 0) == number - 1:
            state.seen[str(state.writer)] = number
            state.write(self._replica.folder)

    def _begun(self) -> Head:
        """Return how far this machine is as a writer; it becomes one by its first change."""
        if self._head is not None:
            return self._head
        state, server = self._replica.state(), self._replica.server
        head = server.heads().get(state.writer)
        if head is None or head.token != state.token or head.begun > state.last:
            # The first change; or the folder was copied, and another machine goes on with it.
            state.writer, head = server.claim()
            state.token, state.last = head.token, 0
            state.write(self._replica.folder)
        elif head.begun > head.done:
            left = server.remove_chunks_left(state.writer, head.done, head.begun)
            logger.info("removed %d vectors that a killed run has left on the server", left)
            head = replace(head, done=head.begun)
            server.tell(state.writer, head)
        self._head = head
        return head


class _SharedParts(Parts):
    """Parts of a copy, which catches up with the server when it is used or written."""

    def __init__(
        self,
        folder: IndexFolder,
        records: Records,
        dimension: int,
        vectors: ServerVectors,
        pull: Callable[[], None],
        follow: Callable[[], None],
    ) -> None:
        super().__init__(folder, records, dimension, vectors)
        self._pull, self._follow = pull, follow

    def refresh(self) -> None:
        """Notice what others have written, here and on the server."""
        self._follow()
        super().refresh()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the exclusive right to write the copy, which is as the server is.

        Raises:
            IndexLockedError: If another process has it.
            ServerError: If the server does not answer or refuses.
        """
        with super().writing():
            self._pull()
            yield

"""Where an index is: in a folder, or on a server with a copy in a folder.

Knows how each is opened; nothing of what is done with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vectorstore.errors import (
    IndexDamagedError,
    IndexLockedError,
    IndexMismatchError,
    IndexMissingError,
)
from vectorstore.index.arrivals import OnDuplicate
from vectorstore.remote.address import Address
from vectorstore.store import Store
from vectorstore.types import Difference, Embedder, Paper

if TYPE_CHECKING:
    from vectorstore.remote.server import Server

Progress = Callable[[int], None]


class Place(Protocol):
    """Where an index is; as a text it is what a user would call it."""

    @property
    def option(self) -> str:
        """What names it on the command line."""

    def exists(self) -> bool:
        """Tell whether there may be an index, without going far."""

    def open(self, embedder: Embedder, progress: Progress | None = None) -> Store:
        """Open it to search it; progress is told of papers that are fetched."""

    def create(
        self, embedder: Embedder, *, rebuild: bool = False, progress: Progress | None = None
    ) -> Store:
        """Open it to ingest papers, making it if there is none, or anew."""

    def repair(self, embedder: Embedder, progress: Progress | None = None) -> list[str]:
        """Mend it; return what was done."""

    def difference(
        self,
        embedder: Embedder,
        papers: Iterable[Paper],
        *,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> Difference:
        """Tell what an ingest would do; the model is not used."""


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """An index in a folder."""

    path: Path

    @property
    def option(self) -> str:
        """What names it on the command line."""
        return f"--index {shlex.quote(str(self.path))}"

    def exists(self) -> bool:
        """Tell whether there is such a folder."""
        return self.path.exists()

    def open(self, embedder: Embedder, progress: Progress | None = None) -> Store:  # noqa: ARG002
        """See ``Store.open``."""
        return Store.open(self.path, embedder)

    def create(
        self,
        embedder: Embedder,
        *,
        rebuild: bool = False,
        progress: Progress | None = None,  # noqa: ARG002
    ) -> Store:
        """See ``Store.create``."""
        return Store.create(self.path, embedder, rebuild=rebuild)

    def repair(self, embedder: Embedder, progress: Progress | None = None) -> list[str]:
        """See ``Store.repair``."""
        return Store.repair(self.path, embedder, progress)

    def difference(
        self,
        embedder: Embedder,  # noqa: ARG002
        papers: Iterable[Paper],
        *,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> Difference:
        """See ``Store.difference``."""
        return Store.difference(self.path, papers, keep_edits=keep_edits, on_duplicate=on_duplicate)

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """An index on a Chroma server, with a copy in a folder of this machine."""

    address: Address
    copy: Path
    token: str | None = field(default=None, repr=False)

    @property
    def option(self) -> str:
        """What names it on the command line."""
        return f"--store {self.address}"

    def exists(self) -> bool:
        """Say yes: only the server knows."""
        return True

    def open(self, embedder: Embedder, progress: Progress | None = None) -> Store:
        """See ``SharedStore.connect``."""
        from vectorstore.remote.shared import SharedStore

        return SharedStore.connect(self._server(), self.copy, embedder, progress=progress)

    def create(
        self, embedder: Embedder, *, rebuild: bool = False, progress: Progress | None = None
    ) -> Store:
        """See ``SharedStore.connect``."""
        from vectorstore.remote.shared import SharedStore

        return SharedStore.connect(
            self._server(), self.copy, embedder, create=True, rebuild=rebuild, progress=progress
        )

    def repair(self, embedder: Embedder, progress: Progress | None = None) -> list[str]:
        """See ``SharedStore.mend``."""
        from vectorstore.remote.shared import SharedStore

        return SharedStore.mend(self._server(), self.copy, embedder, progress)

    def difference(
        self,
        embedder: Embedder,
        papers: Iterable[Paper],
        *,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> Difference:
        """See ``Store.difference``; the copy catches up with the server first."""
        stream = iter(papers)
        try:
            with self.open(embedder):
                return Store.difference(
                    self.copy, stream, keep_edits=keep_edits, on_duplicate=on_duplicate
                )
        except (IndexDamagedError, IndexMismatchError, IndexLockedError):
            raise
        except IndexMissingError:
            return Difference(len({paper.id for paper in stream}), 0, 0, 0)

    def _server(self) -> Server:
        # A folder needs neither Chroma's client nor what it brings along.
        from vectorstore.remote.server import Server

        return Server(self.address, self.token)

    def __str__(self) -> str:
        """Return the address."""
        return str(self.address)

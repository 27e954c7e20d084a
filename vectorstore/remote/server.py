"""A collection on a Chroma server: its papers, the chunks of each, and who writes them.

Knows what lies on the server and in which order it may be written and read; nothing of the copy
on this machine. Three Chroma collections make one of ours:

``NAME-papers``   a record a paper: its JSON, fingerprint, and the change that it came with. A
                  removed paper leaves a record without JSON. The metadata of the collection says
                  what it was built with.
``NAME-chunks``   the vectors. The id of a chunk ends in the change that it came with, so that no
                  two writes ever touch the same chunk.
``NAME-writers``  a record a writer: the last change that it has begun, and that it has done.

A change is one write of some papers: chunks first, then the papers, then the chunks that these
replace are removed. A kill in between leaves chunks that no paper names. Whoever writes a paper
last has it, as a whole: the paper names its own chunks.

Changes are numbered by each writer for itself: no two writers ever wait for each other, and none
needs a clock. A writer begins a change when the former is done. Whoever reads notes the ``done``
of each writer *before* looking for its changes, and so has seen all up to that number.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import ServerError, ServerUnreachableError
from vectorstore.index.chroma import DISTANCE, chunk_metadata
from vectorstore.index.manifest import Manifest
from vectorstore.index.records import paper_from_json, paper_to_json
from vectorstore.remote.address import Address
from vectorstore.types import Chunk, Paper

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.models.Collection import Collection
    from chromadb.base_types import Where

LAYOUT = 1
"""Of the three collections; raise when an older program could not use them."""

_CHANGES_PER_WRITER: Final = 2**40
_WRITERS: Final = 2**22
# A server takes 40 MB in one call.
_CHUNKS_PER_CALL, _PAPERS_PER_CALL, _BYTES_PER_CALL = 1_000, 256, 8_000_000
_PAGE = 2_000
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 120.0
_GRAPH: CreateCollectionConfiguration = {"hnsw": {"space": DISTANCE}}
# Papers and writers are never searched by vector, but Chroma wants one.
_NO_GRAPH: CreateCollectionConfiguration = {
    "hnsw": {"space": "l2", "ef_construction": 8, "max_neighbors": 4}
}


@dataclass(frozen=True, slots=True)
class Head:
    """How far a writer is."""

    token: str
    """Of who claimed the number."""
    begun: int
    """All of its changes that may be on the server have at most this number,"""
    done: int
    """and those up to this one are."""


@dataclass(frozen=True, slots=True)
class SharedPaper:
    """A record of the server."""

    id: str
    change: int
    fingerprint: str
    """Empty if the paper has been removed."""
    version: str
    """Of the text that the vectors were made of."""
    chunks: int
    fields: str

    @property
    def paper(self) -> Paper:
        """The paper itself.

        Raises:
            ServerError: If the record is none of this program.
        """
        try:
            paper = paper_from_json(self.fields)
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(str(error)) from error
        if paper.id != self.id:
            raise self._unreadable(f"it is of {paper.id}")
        return paper

    def _unreadable(self, why: str) -> ServerError:
        reason = f"the record of {self.id} on the server cannot be read ({why})"
        return ServerError(reason, hint="ingest the paper again")

    @property
    def chunk_ids(self) -> list[str]:
        """Ids of its chunks, on the server."""
        return [f"{self.id}:{number}@{self.change}" for number in range(self.chunks)]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A paper to be written."""

    paper: Paper
    version: str
    chunks: tuple[Chunk, ...]
    vectors: NDArray[np.float32]
    """Shape (len(chunks), dimension)."""


class Server:
    """A collection on a server. Connects when it is used; safe to use from several threads."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        """Remember where it is.

        Args:
            address: Of the collection.
            token: Sent with every request. An empty one sends none. None sends what Chroma's own
                variables (``CHROMA_CLIENT_AUTH_PROVIDER`` and so on) say.
        """
        self.address = address
        self._token = token
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}

    # --- the collection as a whole -----------------------------------------------------------

    def find(self) -> str | None:
        """Look for the collection; return what tells it from all others, None if it is not there.

        Raises:
            ServerUnreachableError: If the server does not answer.
            ServerError: If it refuses, or is no Chroma server of this version.
        """
        from chromadb.errors import NotFoundError

        with self._translated():
            try:
                papers = self._get("papers")
                known = self._collections.get("papers")
                if known is None or known.id != papers.id:
                    chunks, writers = self._get("chunks"), self._get("writers")
                    self._collections = {"papers": papers, "chunks": chunks, "writers": writers}
            except NotFoundError:
                self._collections = {}
                return None
        return str(papers.id)

    def create(self, manifest: Manifest) -> None:
        """Make the collection, unless another process has just done so."""
        built = {name: getattr(manifest, name) for name in manifest.decisive}
        about = {"layout": LAYOUT, "created_with": manifest.created_with, **built}
        with self._translated():
            client = self._connected()
            # The papers come last: with them the collection is there.
            for name, graph, values in (
                ("chunks", _GRAPH, {"layout": LAYOUT}),
                ("writers", _NO_GRAPH, {"layout": LAYOUT}),
                ("papers", _NO_GRAPH, about),
            ):
                client.get_or_create_collection(
                    self._name(name), metadata=values, configuration=graph, embedding_function=None
                )

    def drop(self) -> None:
        """Remove the collection, if it is there."""
        from chromadb.errors import NotFoundError

        with self._translated():
            for name in ("papers", "writers", "chunks"):
                try:
                    self._connected().delete_collection(self._name(name))
                except NotFoundError:
                    continue
        self._collections = {}

    def differences(self, wanted: Manifest) -> list[str]:
        """Tell in words where the collection was built with something else."""
        about = self._collections["papers"].metadata or {}
        if about.get("layout") != LAYOUT:
            return [f"layout {about.get('layout')}, this program uses {LAYOUT}"]
        return wanted.differences({name: about.get(name) for name in wanted.decisive})

    # --- writers -----------------------------------------------------------------------------

    def heads(self) -> dict[int, Head]:
        """Return how far each writer is, by its number."""
        with self._translated():
            found = self._of("writers").get(include=["metadatas"])
        return {
            int(key): Head(str(values["token"]), int(values["begun"]), int(values["done"]))
            for key, values in _rows(found)
        }

    def claim(self) -> tuple[int, Head]:
        """Return the number of a new writer, which no other has or will have."""
        while True:
            number, head = secrets.randbelow(_WRITERS), Head(secrets.token_hex(16), 0, 0)
            with self._translated():
                # Of two that add the same id the first one counts; a look tells who that was.
                self._of("writers").add(**_head(number, head))
            if self.heads()[number] == head:
                return number, head

    def tell(self, number: int, head: Head) -> None:
        """Write how far a writer is."""
        with self._translated():
            self._of("writers").upsert(**_head(number, head))

    def seconds(self) -> int:
        """Return the time by the clock of the server, in seconds since 1970."""
        with self._translated():
            return int(self._connected().heartbeat()) // 10**9

    # --- papers ------------------------------------------------------------------------------

    def changed(self, writer: int, after: int, last: int) -> list[SharedPaper]:
        """Return the papers whose last change is one of a writer's, from ``after`` + 1 on."""
        with self._translated():
            found = self._of("papers").get(where=_span(writer, after, last), include=["metadatas"])
        return [_shared(key, values) for key, values in _rows(found)]

    def papers(self, ids: Sequence[str]) -> dict[str, SharedPaper]:
        """Return the records that there are of some papers, those of removed ones included."""
        found: dict[str, SharedPaper] = {}
        for some in _pages(ids, _PAPERS_PER_CALL):
            with self._translated():
                page = self._of("papers").get(ids=some, include=["metadatas"])
            found.update((key, _shared(key, values)) for key, values in _rows(page))
        return found

    def count(self) -> int:
        """Return the number of papers."""
        with self._translated():
            papers = self._of("papers")
            removed = papers.get(where={"fingerprint": ""}, include=[])
            return papers.count() - len(removed["ids"])

    def vectors(self, papers: Iterable[SharedPaper]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of papers, shape (chunks, dimension), by id.

        A paper is left out if a chunk is missing: it has been replaced meanwhile, or is damaged.
        """
        wanted = list(papers)
        chunk_ids = [each for paper in wanted for each in paper.chunk_ids]
        found: dict[str, Any] = {}
        for some in _pages(chunk_ids, _CHUNKS_PER_CALL):
            with self._translated():
                page = self._of("chunks").get(ids=some, include=["embeddings"])
            rows = page["embeddings"] if page["embeddings"] is not None else []
            found.update(zip(page["ids"], rows, strict=True))
        return {
            paper.id: np.array([found[each] for each in paper.chunk_ids], np.float32)
            for paper in wanted
            if paper.chunks and all(each in found for each in paper.chunk_ids)
        }

    def put(self, items: Sequence[Outgoing], change: int) -> None:
        """Write papers, in place of those with the same ids."""
        before = self.papers([item.paper.id for item in items])
        written = self.seconds()
        chunks = [(chunk, item.version) for item in items for chunk in item.chunks]
        if chunks:
            vectors = np.concatenate([item.vectors for item in items if item.chunks])
            for start in range(0, len(chunks), _CHUNKS_PER_CALL):
                some = chunks[start : start + _CHUNKS_PER_CALL]
                with self._translated():
                    self._of("chunks").upsert(
                        ids=[f"{chunk.id}@{change}" for chunk, _ in some],
                        embeddings=vectors[start : start + len(some)],
                        metadatas=[
                            {**chunk_metadata(*each), "change": change, "written": written}
                            for each in some
                        ],
                    )
        self._put_papers(
            [
                SharedPaper(
                    item.paper.id, change, item.paper.fingerprint, item.version,
                    len(item.chunks), paper_to_json(item.paper),
                )
                for item in items
            ]
        )  # fmt: skip
        self._delete_chunks(each for paper in before.values() for each in paper.chunk_ids)

    def bury(self, ids: Sequence[str], change: int) -> None:
        """Remove papers; their ids stay, so that others notice."""
        before = self.papers(ids)
        self._put_papers([SharedPaper(key, change, "", "", 0, "") for key in before])
        self._delete_chunks(each for paper in before.values() for each in paper.chunk_ids)

    def _put_papers(self, papers: Sequence[SharedPaper]) -> None:
        for some in _light(papers):
            with self._translated():
                # All fields each time: Chroma keeps those that are not given.
                self._of("papers").upsert(
                    ids=[paper.id for paper in some],
                    embeddings=np.array([_any_vector(paper.id) for paper in some], np.float32),
                    metadatas=[
                        {
                            "change": paper.change,
                            "fingerprint": paper.fingerprint,
                            "version": paper.version,
                            "chunks": paper.chunks,
                            "paper": paper.fields,
                        }
                        for paper in some
                    ],
                )

    # --- what a kill leaves ------------------------------------------------------------------

    def remove_chunks_left(self, writer: int, after: int, last: int) -> int:
        """Remove the chunks of a writer's changes that no paper names; return how many."""
        with self._translated():
            found = self._of("chunks").get(where=_span(writer, after, last), include=[])
        left = self._unnamed(found["ids"])
        self._delete_chunks(left)
        return len(left)

    def remove_orphans(self, before: int) -> int:
        """Remove the chunks written before a time that no paper names; return how many."""
        orphans: list[str] = []
        offset = 0
        while True:
            with self._translated():
                page = self._of("chunks").get(limit=_PAGE, offset=offset, include=["metadatas"])
            orphans += self._unnamed(
                key for key, values in _rows(page) if int(values.get("written", 0)) < before
            )
            if len(page["ids"]) < _PAGE:
                break
            offset += _PAGE
        self._delete_chunks(orphans)
        return len(orphans)

    def _unnamed(self, chunk_ids: Iterable[str]) -> list[str]:
        by_paper: dict[str, list[str]] = defaultdict(list)
        for each in chunk_ids:
            by_paper[each.rpartition(":")[0]].append(each)
        named = {each for paper in self.papers(list(by_paper)).values() for each in paper.chunk_ids}
        return [each for ids in by_paper.values() for each in ids if each not in named]

    def _delete_chunks(self, ids: Iterable[str]) -> None:
        for some in _pages(list(ids), _CHUNKS_PER_CALL):
            with self._translated():
                self._of("chunks").delete(ids=some)

    # --- Chroma ------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            client, self._client, self._collections = self._client, None, {}
            client.close()  # type: ignore[attr-defined]  # not in the interface class
            # By itself the client would leave its two connections open.
            for each in (client, client._admin_client):  # type: ignore[attr-defined]
                each._server._session.close()  # type: ignore[union-attr]

    def _name(self, part: str) -> str:
        return f"{self.address.collection}-{part}"

    def _get(self, part: str) -> Collection:
        return self._connected().get_collection(self._name(part), embedding_function=None)

    def _of(self, part: str) -> Collection:
        if part not in self._collections and self.find() is None:
            raise self._gone()
        return self._collections[part]

    def _connected(self) -> ClientAPI:
        import chromadb
        from chromadb.config import Settings

        if self._client is None:
            self._greet()
            auth: dict[str, Any] = {}
            if self._token is not None:
                provider = "chromadb.auth.token_authn.TokenAuthClientProvider"
                auth["chroma_client_auth_provider"] = provider if self._token else None
                auth["chroma_client_auth_credentials"] = self._token or None
            client = chromadb.HttpClient(
                self.address.host,
                self.address.port,
                ssl=self.address.scheme == "https",
                # A file `.env` of the working folder, which Chroma would read, is not ours.
                settings=Settings(_env_file=None, anonymized_telemetry=False, **auth),
            )
            # By itself the client would wait for ever.
            client._server._session.timeout = httpx.Timeout(  # type: ignore[attr-defined]
                _ANSWER_SECONDS, connect=_CONNECT_SECONDS
            )
            self._client = client
        return self._client

    def _greet(self) -> None:
        """Tell a Chroma server from what else may listen there."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = httpx.get(
            f"{self.address.url}/api/v2/heartbeat", headers=headers, timeout=_CONNECT_SECONDS
        )
        if answer.status_code in _REFUSED:
            # Without a token of ours Chroma's own settings may have one.
            if self._token is not None:
                raise self._refused()
        elif not answer.is_success or "nanosecond heartbeat" not in answer.text:
            raise ServerError(
                f"what answers at {self.address.url} is no Chroma server of version 1 or later "
                f"(status {answer.status_code})",
                hint="check the address; start a server with: chroma run --path FOLDER",
            )

    def _gone(self) -> ServerError:
        return ServerError(
            f"{self.address} is not there any more, or was built anew", hint="run it again"
        )

    def _refused(self) -> ServerError:
        what = "does not accept the token" if self._token else "wants a token"
        return ServerError(f"{self.address.url} {what}", hint="export ASSISTANT_STORE_TOKEN=TOKEN")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what goes wrong on the way into the error for the user."""
        from chromadb.errors import AuthorizationError, ChromaAuthError, ChromaError, NotFoundError

        try:
            yield
        except ServerError:
            raise
        except (AuthorizationError, ChromaAuthError) as error:
            raise self._refused() from error
        except NotFoundError as error:
            self._collections = {}
            raise self._gone() from error
        except (ChromaError, httpx.HTTPError, OSError) as error:
            raise self._failed(error) from error
        except Exception as error:  # chromadb raises plain ones, with the real one behind them
            behind = _behind(error)
            if behind is None and not isinstance(error, ValueError):
                raise
            raise self._failed(behind or error) from error

    def _failed(self, error: BaseException) -> ServerError:
        if isinstance(error, httpx.HTTPStatusError):
            if error.response.status_code in _REFUSED:
                return self._refused()
            if error.response.status_code in _AWAY:
                return self._away(f"status {error.response.status_code}")
        if isinstance(error, (httpx.TransportError, OSError)):
            return self._away(str(error) or type(error).__name__)
        reason = f"{self.address.url} cannot do what is asked ({error})"
        return ServerError(reason, hint="run it again; the log of the server may say more")

    def _away(self, why: str) -> ServerUnreachableError:
        return ServerUnreachableError(
            f"{self.address.url} does not answer ({why})",
            hint="check the address; start a server with: chroma run --path FOLDER",
        )


_REFUSED = (401, 403)
_AWAY = (502, 503, 504)


def _behind(error: BaseException) -> httpx.HTTPError | None:
    """Return what went wrong with a request that chromadb tells of in words alone."""
    before: BaseException | None = error
    while before is not None and not isinstance(before, httpx.HTTPError):
        before = before.__cause__ or before.__context__
    return before


def change_of(writer: int, number: int) -> int:
    """Return what stands for a writer's change among those of all writers."""
    return writer * _CHANGES_PER_WRITER + number


def _span(writer: int, after: int, last: int) -> Where:
    """What has come with a writer's changes after one, up to another."""
    bounds: Any = [
        {"change": {"$gt": change_of(writer, after)}},
        {"change": {"$lte": change_of(writer, last)}},
    ]
    return {"$and": bounds}


def _head(number: int, head: Head) -> dict[str, Any]:
    values = {"token": head.token, "begun": head.begun, "done": head.done}
    return {
        "ids": [str(number)],
        "embeddings": [_any_vector(str(number))],
        "metadatas": [values],
    }


def _shared(key: str, values: Mapping[str, Any]) -> SharedPaper:
    return SharedPaper(
        key, int(values["change"]), str(values["fingerprint"]), str(values["version"]),
        int(values["chunks"]), str(values["paper"]),
    )  # fmt: skip


def _rows(found: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return zip(found["ids"], found["metadatas"] or [], strict=True)


def _any_vector(key: str) -> list[float]:
    """Return a direction of the id's own; many equal ones would make a bad graph."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    angle = int.from_bytes(digest[:4], "big") / 2**32 * math.tau
    return [math.cos(angle), math.sin(angle)]


def _pages(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _light(papers: Sequence[SharedPaper]) -> Iterator[list[SharedPaper]]:
    """Yield groups that a server takes in one call."""
    group: list[SharedPaper] = []
    total = 0
    for paper in papers:
        if group and (
            total + len(paper.fields) > _BYTES_PER_CALL or len(group) >= _PAPERS_PER_CALL
        ):
            yield group
            group, total = [], 0
        group.append(paper)
        total += len(paper.fields)
    if group:
        yield group

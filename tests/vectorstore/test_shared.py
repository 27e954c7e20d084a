"""A collection on a real Chroma server: what several machines see, whatever happens to them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import HashEmbedder
from tests.vectorstore.chroma_server import ChromaServer
from tests.vectorstore.synthetic import synthetic
from vectorstore import (
    IndexLockedError,
    IndexMismatchError,
    IndexMissingError,
    Paper,
    PaperNotFoundError,
    Store,
    StoreError,
)
from vectorstore.errors import ServerError, ServerUnreachableError
from vectorstore.filters import filters
from vectorstore.places import ServerPlace
from vectorstore.remote import shared
from vectorstore.remote.address import DEFAULT_COLLECTION, Address
from vectorstore.remote.server import Server, SharedPaper
from vectorstore.remote.shared import GRACE_SECONDS, SharedStore

PROCESS = Path(__file__).with_name("shared_ingest_process.py")


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search looks for news, and waits until all of it is here."""
    monkeypatch.setattr(shared, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(shared, "_AWAY_SECONDS", 0.0)
    monkeypatch.setattr(shared, "_WAIT_SECONDS", 60.0)


class Machines:
    """Machines of one collection, by name: each has a copy of its own."""

    def __init__(self, url: str, folder: Path, collection: str) -> None:
        self.url = f"{url}/{collection}"
        self.folder = folder

    def place(self, name: str, token: str | None = None) -> ServerPlace:
        return ServerPlace(Address.parse(self.url), self.folder / name, token)

    def open(self, name: str) -> SharedStore:
        return _shared(self.place(name).open(HashEmbedder()))

    def create(self, name: str) -> SharedStore:
        return _shared(self.place(name).create(HashEmbedder()))

    def ingest(self, name: str, papers: Iterable[Paper]) -> None:
        with self.create(name) as store:
            store.ingest(papers)

    @contextmanager
    def server(self) -> Iterator[Server]:
        server = Server(Address.parse(self.url))
        yield server
        server.close()

    def process(self, name: str, first: int, last: int, version: int = 0) -> subprocess.Popen[str]:
        """Start an ingest, which waits for a line before it begins."""
        numbers = [str(first), str(last), str(version)]
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), self.url, str(self.folder / name), *numbers],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout as pipe:
            assert pipe.readline() == "ready\n"
        return process


def _shared(store: Store) -> SharedStore:
    assert isinstance(store, SharedStore)
    return store


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write("go\n")


@pytest.fixture
def machines(
    chroma: ChromaServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Machines]:
    made = Machines(chroma.url, tmp_path, f"c{abs(hash(request.node.name))}")
    yield made
    with made.server() as server:
        server.drop()


def some(first: int, last: int, version: int = 0) -> list[Paper]:
    return [synthetic(number, version) for number in range(first, last)]


def papers_of(store: Store) -> dict[str, Paper]:
    return {paper.id: paper for paper in store.papers()}


def near(similarity: float | None) -> float | None:
    """A sum of the same products differs in its last digits with the place of a row."""
    return None if similarity is None else round(similarity, 5)


def unnamed_chunks(server: Server) -> list[str]:
    """Ids of all chunks on the server that no paper names."""
    found = server._of("chunks").get(include=[])["ids"]
    return server._unnamed(found)


# --- the same as a folder ------------------------------------------------------------------------


def test_a_server_finds_what_a_folder_finds(machines: Machines, tmp_path: Path) -> None:
    steps = [some(0, 40), some(5, 9, 1), some(0, 45), [synthetic(44, 2)]]
    with Store.create(tmp_path / "local", HashEmbedder()) as local, machines.create("one") as one:
        for papers in steps:
            expected, done = local.ingest(papers), one.ingest(papers)
            assert (done.added, done.updated, done.unchanged, done.chunks) == (
                expected.added, expected.updated, expected.unchanged, expected.chunks,
            )  # fmt: skip
        assert local.remove(["paper-3"]) == one.remove(["paper-3"])
        with machines.open("two") as two:
            for store in (one, two):
                assert papers_of(store) == papers_of(local)
                assert store.count(filters(year="2010..")) == local.count(filters(year="2010.."))
                for query in ("Subject7", "experiment of Subject40 and its neighbours", "method"):
                    for where in (None, filters(year="2003..2009")):
                        found = store.search(query, 50, where)
                        expected_found = local.search(query, 50, where)
                        # Equal scores come in the order in which a machine got the papers.
                        assert {(p.paper.id, p.chunk, near(p.similarity)) for p in found} == {
                            (p.paper.id, p.chunk, near(p.similarity)) for p in expected_found
                        }
                        # BM25 counts replaced papers until their segment is merged, which differs
                        # with what a machine has seen.
                        assert [p.score for p in found] == pytest.approx(
                            [p.score for p in expected_found], abs=0.5
                        )
                assert store.document_frequency(["method", "Subject3"]) == {
                    "method": len(local), "Subject3": 0,
                }  # fmt: skip
                assert store.check() == store.check_numbers() == []
            assert [p.paper for p in one.search("Subject9", 5)] == [
                p.paper for p in local.search("Subject9", 5)
            ]


def test_an_unchanged_paper_is_neither_embedded_nor_sent(machines: Machines) -> None:
    machines.ingest("one", some(0, 20))
    embedder = HashEmbedder()
    with machines.place("two").create(embedder) as store:
        report = store.ingest(some(0, 20))
    assert (report.unchanged, embedder.texts) == (20, 0)
    with machines.server() as server:
        assert len(server.heads()) == 1


def test_new_metadata_needs_no_embedding_and_keeps_the_vectors(machines: Machines) -> None:
    machines.ingest("one", some(0, 5))
    old = synthetic(2)
    edited = Paper(old.id, old.title, old.abstract, year=1999)
    embedder = HashEmbedder()
    with machines.place("two").create(embedder) as store:
        store.ingest([edited])
        assert embedder.texts == 0
        assert store.check() == []
    with machines.open("one") as store, machines.server() as server:
        assert store.paper(old.id).year == 1999
        assert store.check() == []
        assert unnamed_chunks(server) == []


def test_a_dry_run_compares_with_the_server(machines: Machines) -> None:
    place = machines.place("two")
    assert place.difference(HashEmbedder(), some(0, 3)).added == 3
    machines.ingest("one", some(0, 10))
    found = place.difference(HashEmbedder(), [synthetic(1), synthetic(2, 1), synthetic(11)])
    assert (found.added, found.updated, found.unchanged, found.removed) == (1, 1, 1, 8)
    with machines.server() as server:
        assert server.count() == 10


# --- several machines ----------------------------------------------------------------------------


def test_an_open_reader_sees_what_others_write_edit_prune_and_remove(machines: Machines) -> None:
    machines.ingest("one", some(0, 10))
    with machines.open("two") as reader:
        machines.ingest("one", [synthetic(3, 1), synthetic(10)])
        assert reader.search("Subject10", 1)[0].paper.id == "paper-10"
        assert reader.paper("paper-3") == synthetic(3, 1)
        with machines.create("three") as writer:
            writer.ingest(some(4, 11), prune=True)
            writer.remove(["paper-10"])
        assert reader.search("Subject10", 1)[0].paper.id != "paper-10"
        assert set(papers_of(reader)) == {f"paper-{number}" for number in range(4, 10)}
        with pytest.raises(PaperNotFoundError):
            reader.remove(["paper-10"])
        assert reader.check() == []
        # What was removed can come back.
        machines.ingest("one", [synthetic(10)])
        assert reader.search("Subject10", 1)[0].paper.id == "paper-10"


def test_a_change_that_ends_after_later_ones_is_not_missed(machines: Machines) -> None:
    machines.ingest("one", some(0, 3))
    with machines.create("one") as slow, machines.create("two") as fast, machines.open("r") as r:
        with slow._parts.writing():
            writer = slow._writer()
            prepared = writer._prepare([synthetic(20)], None)
            assert isinstance(writer, shared.SharedWriter)
            with writer._change() as change:
                fast.ingest([synthetic(21)])
                assert r.search("Subject21", 1)[0].paper.id == "paper-21"
                assert "paper-20" not in papers_of(r)
                slow._replica.server.put(writer._outgoing(prepared), change)
        assert r.search("Subject20", 1)[0].paper.id == "paper-20"
        assert r.check() == []


def test_a_paper_that_is_replaced_while_it_is_read_comes_whole(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.ingest("one", some(0, 3))
    vectors = Server.vectors
    versions = iter((1, 2))

    def replaced(self: Server, papers: Iterable[SharedPaper]) -> object:
        wanted = list(papers)
        if wanted and (version := next(versions, None)) is not None:
            machines.ingest("one", [synthetic(1, version)])
        return vectors(self, wanted)

    with machines.open("two") as reader:
        machines.ingest("one", [synthetic(1, 5)])
        monkeypatch.setattr(Server, "vectors", replaced)
        reader.search("Subject1", 1)
        monkeypatch.undo()
        assert reader.paper("paper-1") == synthetic(1, 2)
        assert reader.check() == []


def test_two_processes_that_write_at_once_lose_nothing(machines: Machines) -> None:
    writers = [machines.process("one", 0, 60, 1), machines.process("two", 40, 100, 2)]
    with machines.open("reader") as reader:
        for writer in writers:
            go(writer)
        while any(writer.poll() is None for writer in writers):
            reader.search("Subject50", 3)
        assert [writer.returncode for writer in writers] == [0, 0]
        reader.search("Subject50", 3)
        seen = papers_of(reader)
        assert set(seen) == {f"paper-{number}" for number in range(100)}
        for number in range(100):
            allowed = {1} if number < 40 else {2} if number >= 60 else {1, 2}
            assert seen[f"paper-{number}"] in [synthetic(number, each) for each in allowed]
        assert reader.check() == []
    for name in ("one", "two", "new"):
        with machines.open(name) as store:
            assert papers_of(store) == seen
            assert store.check() == []


def test_two_machines_make_the_collection_at_once(machines: Machines) -> None:
    errors: list[StoreError] = []
    ended: list[str] = []

    def ingest(name: str, first: int) -> None:
        try:
            machines.ingest(name, some(first, first + 5))
        except StoreError as error:
            errors.append(error)
        finally:
            ended.append(name)

    threads = [threading.Thread(target=ingest, args=(f"m{n}", 5 * n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ended) == 4
    with machines.open("reader") as reader:
        assert len(reader) == 20
        assert reader.check() == []


# --- what goes wrong -----------------------------------------------------------------------------


def test_killed_writers_leave_nothing_half_and_are_completed(machines: Machines) -> None:
    machines.ingest("writer", some(0, 40))
    with machines.open("reader") as reader:
        for round_ in range(4):
            process = machines.process("writer", 0, 40, 1 + round_ % 2)
            go(process)
            time.sleep(0.03 + 0.07 * round_)
            process.kill()
            process.wait()
            reader.search("Subject1", 1)
            for number, paper in enumerate(reader.papers()):
                assert paper in [synthetic(number, each) for each in range(3)]
            assert reader.check() == []
        machines.ingest("writer", some(0, 40, 2))
        reader.search("Subject1", 1)
        assert list(reader.papers()) == some(0, 40, 2)
        assert reader.check() == []
    with machines.open("writer") as writer, machines.server() as server:
        assert writer.check() == []
        # A request that was on its way when its sender was killed may arrive after the clearing up.
        server.remove_orphans(server.seconds() + 1)
        assert unnamed_chunks(server) == []
        assert all(head.begun == head.done for head in server.heads().values())


def test_while_the_server_is_away_readers_go_on_and_writers_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    chroma = ChromaServer(folder)
    chroma.start()
    try:
        machines = Machines(chroma.url, tmp_path, "papers")
        machines.ingest("one", some(0, 8))
        with machines.open("two") as reader:
            chroma.stop()
            for _ in range(2):
                assert reader.search("Subject5", 1)[0].paper.id == "paper-5"
            assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
            assert "does not answer" in caplog.text
            with pytest.raises(ServerUnreachableError) as away:
                reader.remove(["paper-5"])
            assert "chroma run" in away.value.hint
            with machines.open("one") as offline:
                assert offline.search("Subject5", 1)[0].paper.id == "paper-5"
            with pytest.raises(ServerUnreachableError):
                machines.create("one")
            with pytest.raises(ServerUnreachableError):
                machines.open("new")
            chroma.start()
            machines.ingest("one", [synthetic(8)])
            assert reader.search("Subject8", 1)[0].paper.id == "paper-8"
            assert reader.check() == []
    finally:
        chroma.stop()


def test_a_collection_of_another_model_is_refused_and_built_anew(machines: Machines) -> None:
    machines.ingest("one", some(0, 5))
    other = HashEmbedder(name="other", dimension=32)
    with pytest.raises(IndexMismatchError, match="hash, now other") as refused:
        machines.place("two").open(other)
    assert f"--rebuild PAPERS --store {machines.url}" in refused.value.hint
    with machines.open("reader") as reader:
        with machines.place("two").create(other, rebuild=True) as store:
            store.ingest(some(3, 6))
        assert reader.search("Subject1", 1)[0].paper.id == "paper-1"
        with pytest.raises(IndexMismatchError):
            reader.remove(["paper-1"])
    with machines.place("three").open(other) as store:
        assert len(store) == 3


def test_an_open_reader_follows_a_collection_that_is_built_anew(machines: Machines) -> None:
    machines.ingest("one", some(0, 5))
    with machines.open("reader") as reader:
        with machines.place("two").create(HashEmbedder(), rebuild=True) as store:
            store.ingest(some(3, 9))
        assert reader.search("Subject8", 1)[0].paper.id == "paper-8"
        assert list(reader.papers()) == some(3, 9)
        assert reader.check() == []


def test_a_collection_that_is_not_there_is_named_with_the_command(machines: Machines) -> None:
    with pytest.raises(IndexMissingError) as missing:
        machines.open("one")
    assert missing.value.hint == f"assistant ingest PAPERS --store {machines.url}"


def test_repair_mends_the_server_and_the_copy(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.ingest("one", some(0, 10))
    place = machines.place("one")
    with machines.server() as server:
        damaged = server.papers(["paper-4"])["paper-4"]
        server._delete_chunks(damaged.chunk_ids[:1])
        chunks = server._of("chunks")
        for key, age in (("left", GRACE_SECONDS + 60), ("young", 0)):
            chunks.add(
                ids=[f"{key}:0@77"],
                embeddings=np.ones((1, 64), np.float32),
                metadatas=[{"written": server.seconds() - age}],
            )
        with machines.open("one") as store:
            assert any("without a vector" in each for each in store.check())
        done = place.repair(HashEmbedder())
        assert any("1 vectors of no paper" in each for each in done)
        assert unnamed_chunks(server) == ["young:0@77"]
    for name in ("one", "two"):
        with machines.open(name) as store:
            assert store.check() == []
            assert len(store) == 10
    assert place.repair(HashEmbedder()) == []


@pytest.mark.parametrize("part", ["papers.sqlite3", "lexical", "codes", "replica.json"])
def test_a_damaged_copy_is_mended_from_the_server(machines: Machines, part: str) -> None:
    machines.ingest("one", some(0, 10))
    damaged = machines.folder / "one" / part
    embedder = HashEmbedder()
    for file in [damaged] if damaged.is_file() else damaged.iterdir():
        file.write_bytes(b"damaged")
    machines.place("one").repair(embedder)
    with machines.open("one") as store:
        assert store.check() == []
        assert papers_of(store) == {paper.id: paper for paper in some(0, 10)}
    assert embedder.texts == 0


def test_a_server_that_went_back_takes_the_copies_along(machines: Machines) -> None:
    machines.ingest("one", some(0, 5))
    with machines.open("reader") as reader, machines.server() as server:
        before = {**server.heads()}
        machines.ingest("one", some(5, 8))
        reader.search("Subject6", 1)
        assert len(reader) == 8
        # As a copy of the server's folder from before would have it.
        server._of("papers").delete(ids=["paper-5", "paper-6", "paper-7"])
        for number, head in before.items():
            server.tell(number, head)
        reader.search("Subject6", 1)
        assert list(reader.papers()) == some(0, 5)
        machines.ingest("one", some(6, 9))
        reader.search("Subject6", 1)
        assert set(papers_of(reader)) == {f"paper-{n}" for n in [*range(5), 6, 7, 8]}
        assert reader.check() == []


def test_one_process_at_a_time_writes_a_copy(machines: Machines) -> None:
    with machines.create("one") as store, machines.create("one") as other:
        store.ingest(some(0, 3))
        with store._parts.writing(), pytest.raises(IndexLockedError):
            other.ingest(some(3, 5))
        # A reader of the same copy is not kept out.
        with store._parts.folder.writing(), machines.open("one") as reader:
            assert len(reader) == 3


# --- who answers ---------------------------------------------------------------------------------


@contextmanager
def answering(
    respond: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]],
) -> Iterator[str]:
    """Serve what a function says, on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = respond(self, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_token_is_sent_and_its_absence_is_told(chroma: ChromaServer, tmp_path: Path) -> None:
    def guarded(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        if request.headers.get("Authorization") != "Bearer sesame":
            return 401, b"who are you?"
        answer = httpx.request(
            request.command, chroma.url + request.path, content=body, trust_env=False,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        return answer.status_code, answer.content

    with answering(guarded) as url:
        machines = Machines(url, tmp_path, "guarded")
        for token, words in ((None, "wants a token"), ("salt", "does not accept the token")):
            with pytest.raises(ServerError, match=words) as refused:
                machines.place("one", token).create(HashEmbedder())
            assert "ASSISTANT_STORE_TOKEN" in refused.value.hint
        with machines.place("one", "sesame").create(HashEmbedder()) as store:
            store.ingest(some(0, 3))
            assert store.check() == []
        assert "sesame" not in repr(machines.place("one", "sesame"))
        assert not [
            file
            for file in tmp_path.rglob("*")
            if file.is_file() and b"sesame" in file.read_bytes()
        ]


def test_credentials_of_chromas_own_go_only_where_they_are_meant_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def noting(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        seen.add(request.headers.get("Authorization") or "")
        return 401, b"who are you?"

    provider = "chromadb.auth.token_authn.TokenAuthClientProvider"
    with answering(noting) as url:
        machines = Machines(url, tmp_path, "papers")

        def connect(token: str | None) -> None:
            seen.clear()
            with pytest.raises(ServerError, match="wants a token"):
                machines.place("one", token).create(HashEmbedder())

        # A file of the working folder, which may be somebody else's.
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text(
            f"CHROMA_CLIENT_AUTH_PROVIDER={provider}\nCHROMA_CLIENT_AUTH_CREDENTIALS=planted\n"
        )
        connect(None)
        assert seen == {""}
        monkeypatch.setenv("CHROMA_CLIENT_AUTH_PROVIDER", provider)
        monkeypatch.setenv("CHROMA_CLIENT_AUTH_CREDENTIALS", "sesame")
        connect(None)
        assert "Bearer sesame" in seen
        connect("")
        assert seen == {""}


@pytest.mark.parametrize("status", [200, 404, 410, 500])
def test_what_is_no_chroma_server_is_told(tmp_path: Path, status: int) -> None:
    with answering(lambda *_: (status, json.dumps({"error": "?"}).encode())) as url:
        with pytest.raises(ServerError, match="no Chroma server") as refused:
            Machines(url, tmp_path, "papers").create("one")
        assert "chroma run" in refused.value.hint


def test_a_host_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        Machines("http://127.0.0.1:9", tmp_path, "papers").create("one")


# --- addresses -----------------------------------------------------------------------------------


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True) | st.just("[::1]"),
    st.integers(1, 65535),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True),
)
def test_an_address_reads_as_it_is_written(scheme: str, host: str, port: int, name: str) -> None:
    text = f"{scheme}://{host}:{port}/{name}"
    address = Address.parse(text)
    assert str(address) == text
    assert Address.parse(text + "/") == address
    assert address.folder_name != Address.parse(text + "x").folder_name


def test_an_address_has_a_usual_port_and_collection() -> None:
    assert str(Address.parse("http://host")) == f"http://host:8000/{DEFAULT_COLLECTION}"
    assert Address.parse("https://host").port == 443


@pytest.mark.parametrize(
    "text",
    ["host:8000", "ftp://host", "http://", "http://host/a/b", "http://host:x", "http://host/-a",
     "http://me:secret@host", "http://host/a?b=c", "http://host/ä"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Address.parse(text)
    assert "secret" not in str(refused.value)

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import (
    Difference,
    IndexDamagedError,
    IndexLockedError,
    IndexMismatchError,
    IndexMissingError,
    IngestReport,
    Paper,
    PaperNotFoundError,
    Passage,
    Store,
    chunk_paper,
)
from vectorstore.index.folder import IndexFolder
from vectorstore.index.records import close_journal

PROCESS = Path(__file__).parent / "ingest_process.py"


def outcome(report: IngestReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed


def assert_holds(store: Store, papers: list[Paper]) -> None:
    """The store has these papers and no others, in all its parts, and each can be found."""
    assert store.check() == []
    assert sorted(store.papers(), key=lambda p: p.id) == sorted(papers, key=lambda p: p.id)
    for paper in papers[:: max(1, len(papers) // 40)]:
        best = store.search(paper.title.split()[1], 1)[0]
        assert best.paper == paper
        assert best.chunk in chunk_paper(paper)


# --- ingest --------------------------------------------------------------------------------------


def test_a_second_ingest_changes_nothing_and_embeds_nothing(
    store: Store, embedder: HashEmbedder
) -> None:
    papers = [synthetic(number) for number in range(30)]
    embedded = embedder.texts
    files = {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    assert outcome(store.ingest(papers)) == (0, 0, 30, 0)
    assert embedder.texts == embedded
    assert not any(
        path.stat().st_mtime_ns != time
        for path, time in files.items()
        if path.suffix not in {".lock", ".pid"}
    )
    assert_holds(store, papers)


def test_a_second_ingest_loads_no_heavy_library(store: Store) -> None:
    code = (
        "import sys\n"
        "from tests.fakes import HashEmbedder\n"
        "from tests.vectorstore.synthetic import synthetic\n"
        "from vectorstore import Store\n"
        f"with Store.create({str(store.path)!r}, HashEmbedder()) as index:\n"
        "    assert index.ingest(synthetic(n) for n in range(30)).unchanged == 30\n"
        "heavy = {'chromadb', 'tantivy', 'langchain_text_splitters', 'onnxruntime'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROCESS.parents[2], check=True)


def test_changed_papers_are_updated_new_ones_added_and_none_is_lost(store: Store) -> None:
    papers = [synthetic(n, version=int(n % 3 == 0)) for n in range(40)]
    report = store.ingest(papers)
    assert outcome(report) == (10, 10, 20, 0)
    assert report.chunks == sum(
        len(chunk_paper(p)) for n, p in enumerate(papers) if n >= 30 or n % 3 == 0
    )
    assert_holds(store, papers)


@pytest.mark.parametrize(
    "change",
    [{"title": "Another title Subject3"}, {"year": 1999}, {"authors": ("A",)}, {"metadata": {}},
     {"url": "https://example.org"}],
)  # fmt: skip
def test_any_changed_field_is_an_update(store: Store, change: dict[str, object]) -> None:
    changed = dataclasses.replace(synthetic(3), **change)  # type: ignore[arg-type]
    assert outcome(store.ingest([changed])) == (0, 1, 0, 0)
    assert store.paper("paper-3") == changed
    assert store.check() == []


def test_prune_removes_what_the_input_lacks(store: Store) -> None:
    papers = [synthetic(number) for number in range(10, 35)]
    assert outcome(store.ingest(papers, prune=True)) == (5, 0, 20, 10)
    assert_holds(store, papers)
    assert store.document_frequency(["Subject5"]) == {"Subject5": 0}


def test_prune_of_nothing_read_removes_nothing(store: Store) -> None:
    assert outcome(store.ingest([], prune=True)) == (0, 0, 0, 0)
    assert len(store) == 30


def test_of_two_papers_with_one_id_the_first_counts(store: Store) -> None:
    twice = [synthetic(50), dataclasses.replace(synthetic(51), id="paper-50")]
    assert outcome(store.ingest(twice)) == (1, 0, 0, 0)
    assert outcome(store.ingest(twice)) == (0, 0, 1, 0)
    assert store.paper("paper-50") == synthetic(50)


def test_progress_counts_every_paper_of_the_stream(store: Store) -> None:
    seen: list[int] = []
    store.ingest((synthetic(number) for number in range(520)), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 520
    assert len(seen) >= 3


def test_the_order_of_papers_is_that_of_their_first_ingest(store: Store) -> None:
    store.ingest([synthetic(5, 1), synthetic(99), synthetic(2, 1)])
    assert [paper.id for paper in store.papers()] == [f"paper-{n}" for n in (*range(30), 99)]


def test_papers_may_hold_any_characters(tmp_path: Path, embedder: HashEmbedder) -> None:
    strange = Paper(
        "ünïcode: id/1 'x' \"y\"", "Ti\ntle", "  An abstract\n\n with space around it. \t",
        ("Ø", "深層"), None, metadata={"nested": {"a": [1, 2.5, None, True]}},
    )  # fmt: skip
    with Store.create(tmp_path, embedder) as store:
        store.ingest([strange])
        assert store.paper(strange.id) == strange
        assert outcome(store.ingest([strange])) == (0, 0, 1, 0)
        (passage,) = store.search("abstract")
        assert passage.paper.abstract[passage.chunk.start : passage.chunk.end] == passage.chunk.text


class FailingEmbedder(HashEmbedder):
    """Fails once it has embedded so many texts."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.texts > 40:
            raise RuntimeError("out of memory")
        return super().embed(texts)


def test_an_ingest_that_fails_is_completed_by_the_next(tmp_path: Path) -> None:
    papers = [synthetic(number) for number in range(300)]
    with (
        Store.create(tmp_path, FailingEmbedder()) as store,
        pytest.raises(RuntimeError, match="out of memory"),
    ):
        store.ingest(papers)
    with Store.create(tmp_path, HashEmbedder()) as store:
        store.ingest(papers)
        assert_holds(store, papers)


# --- searching -----------------------------------------------------------------------------------


def test_passages_are_ranked_one_per_paper_with_exact_chunks(store: Store) -> None:
    passages = store.search("experiment on the method of Subject7 and Subject8", 12)
    assert [passage.rank for passage in passages] == list(range(1, 13))
    assert {passages[0].paper.id, passages[1].paper.id} == {"paper-7", "paper-8"}
    assert len({passage.paper.id for passage in passages}) == 12
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    for passage in passages:
        assert passage.chunk in chunk_paper(passage.paper)
        assert passage.similarity is None or -1 <= passage.similarity <= 1


def test_a_paper_found_by_words_alone_has_no_similarity_and_the_chunk_with_the_words(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    # So many near chunks of other papers that the dense candidates do not reach this one.
    near = [Paper(f"near-{n}", "Query words", "query words. " * 3 + str(n)) for n in range(320)]
    far = Paper("far", "Other", "Filler of no interest here. " * 20 + "The needle is here.")
    with Store.create(tmp_path, embedder) as store:
        store.ingest([*near, far])
        passages = store.search("query words needle", 400)
    (found,) = [passage for passage in passages if passage.paper.id == "far"]
    assert found.similarity is None
    assert "needle" in found.chunk.text


def test_a_passage_says_what_each_index_makes_of_it(store: Store) -> None:
    query = "Subject7 and the model of Subject8"
    passages = store.search(query, top_k=30)
    # The papers came in one go, so that their numbers are their positions.
    lexical = {f"paper-{n}": bm25 for n, bm25 in store._parts.lexical.search(query, 100)}
    assert lexical
    assert {p.paper.id: p.bm25 for p in passages if p.bm25 is not None} == lexical
    by_words = [(p.lexical_rank, p.bm25) for p in passages if p.lexical_rank and p.bm25]
    by_meaning = [(p.dense_rank, p.similarity) for p in passages if p.dense_rank and p.similarity]
    for ranked in (sorted(by_words), sorted(by_meaning)):
        assert [rank for rank, _ in ranked] == list(range(1, len(ranked) + 1))
        assert [score for _, score in ranked] == sorted((s for _, s in ranked), reverse=True)
    first = passages[0]
    assert "Subject7" in store.words_shared(query, first.paper) or "Subject8" in (
        store.words_shared(query, first.paper)
    )
    assert store.words_shared("xyzzy ???", first.paper) == ()


@pytest.mark.parametrize("query", ["", "  ", "\n\t"])
def test_a_blank_query_is_a_wrong_call(store: Store, query: str) -> None:
    with pytest.raises(ValueError, match="blank"):
        store.search(query)


def test_fewer_than_one_passage_is_a_wrong_call(store: Store) -> None:
    with pytest.raises(ValueError, match="top_k"):
        store.search("x", 0)


@pytest.mark.parametrize(
    "query", ["\u200b", "\0", "\ud800", "()", "x" * 100_000, "<b>Subject1</b>", "a AND (b", "$$"]
)
def test_any_query_gives_passages(store: Store, query: str) -> None:
    assert all(isinstance(passage, Passage) for passage in store.search(query, 3))


def test_an_empty_index_finds_nothing(tmp_path: Path, embedder: HashEmbedder) -> None:
    with Store.create(tmp_path / "deep" / "index", embedder) as store:
        assert store.search("anything") == ()
        assert store.document_frequency(["anything"]) == {"anything": 0}
        assert (len(store), list(store.papers()), store.check()) == (0, [], [])
        store.ingest([])
    with Store.open(tmp_path / "deep" / "index", embedder) as store:
        assert store.search("anything") == ()


def test_searches_may_run_in_threads_also_during_an_ingest(store: Store) -> None:
    expected = {n: store.search(f"Subject{n}", 1)[0].paper.id for n in range(30)}
    with ThreadPoolExecutor(8) as pool:
        ingest = pool.submit(store.ingest, [synthetic(number) for number in range(30, 400)])
        found = pool.map(lambda n: (n, store.search(f"Subject{n}", 1)[0].paper.id), [*expected] * 8)
        assert all(expected[n] == key for n, key in found)
        assert ingest.result().added == 370
    assert store.check() == []


def test_document_frequency_counts_papers_by_word(store: Store) -> None:
    words = ["subject7", "SUBJECT7", "method", "methods", "series0", "series1", "neighbour"]
    assert store.document_frequency(words) == dict(
        zip(words, [1, 1, 30, 30, 30, 0, 30], strict=True)
    )


# --- papers --------------------------------------------------------------------------------------


def test_an_unknown_id_names_the_closest(store: Store) -> None:
    with pytest.raises(PaperNotFoundError, match="papr-12") as caught:
        store.paper("papr-12")
    assert "paper-12" in caught.value.hint
    with pytest.raises(PaperNotFoundError) as caught:
        store.paper("nothing like it")
    assert caught.value.hint == "assistant papers list"


def test_removed_papers_are_gone_everywhere(store: Store) -> None:
    assert store.remove(["paper-3", "paper-4", "paper-3"]) == 2
    assert_holds(store, [synthetic(number) for number in range(30) if number not in {3, 4}])


def test_a_sample_is_spread_over_the_papers_that_are_there(store: Store) -> None:
    store.remove([f"paper-{number}" for number in range(0, 30, 2)])
    papers, vectors = store.sample(20)
    assert [paper.id for paper in papers] == [f"paper-{number}" for number in range(1, 30, 2)]
    assert vectors.shape == (15, 64)
    some, _ = store.sample(5)
    assert len(some) == 5
    assert {paper.id for paper in some} <= {paper.id for paper in papers}


def test_removing_an_unknown_paper_removes_none(store: Store) -> None:
    with pytest.raises(PaperNotFoundError):
        store.remove(["paper-1", "unknown"])
    assert len(store) == 30


# --- folders that are something else -------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_missing_index_names_the_command_that_makes_it(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(IndexMissingError) as caught:
            Store.open(path, embedder)
        assert type(caught.value) is IndexMissingError
        assert caught.value.hint == f"assistant ingest PAPERS --index {path}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_foreign_folder_is_refused_and_left_as_it_is(
    tmp_path: Path, embedder: HashEmbedder, rebuild: bool
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(IndexDamagedError, match="not an index"):
        Store.create(tmp_path, embedder, rebuild=rebuild)
    with pytest.raises(IndexDamagedError, match="not an index"):
        Store.open(tmp_path, embedder)
    kept = snapshot(tmp_path)
    kept.pop("writer.lock", None)
    assert kept == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("opening", [Store.open, Store.create])
def test_a_file_in_place_of_the_folder_is_refused(
    tmp_path: Path, embedder: HashEmbedder, opening: type[Store]
) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(IndexDamagedError):
        opening(path, embedder)  # type: ignore[call-arg, arg-type]
    assert path.read_text() == "mine"


@pytest.fixture
def closed(tmp_path: Path, embedder: HashEmbedder) -> Path:
    """The folder of an index that nobody has open."""
    with Store.create(tmp_path / "closed", embedder) as store:
        store.ingest(synthetic(number) for number in range(12))
    return tmp_path / "closed"


def damage(part: Path, how: str) -> None:
    """Remove a part of an index, put junk in its place, cut its files, or change a few bytes."""
    if how in {"gone", "junk"}:
        was_folder = part.is_dir()
        shutil.rmtree(part) if was_folder else part.unlink()
        if how == "junk" and was_folder:
            for name in ("meta.json", "00000/chroma.sqlite3", "bytes", "signs", "owners"):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(b"junk" * 5_000)
        elif how == "junk":
            part.write_bytes(b"junk" * 5_000)
        return
    for file in [part] if part.is_file() else [each for each in part.rglob("*") if each.is_file()]:
        data = bytearray(file.read_bytes())
        if how == "cut":
            data = data[: len(data) // 2]
        else:
            for place in range(100, len(data), 1_000):
                data[place] ^= 0x55
        file.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["gone", "junk", "cut", "changed"])
@pytest.mark.parametrize("name", ["manifest.json", "codes", "lexical", "chroma"])
def test_a_damaged_part_is_noticed_and_repair_mends_it(
    closed: Path, embedder: HashEmbedder, name: str, how: str
) -> None:
    damage(closed / name, how)
    noticed, hints = [], set()
    try:
        with Store.open(closed, embedder) as store:
            noticed = store.check()
            store.search("Subject1")
    except IndexDamagedError as error:
        noticed.append(str(error))
        hints.add(error.hint)
    assert hints <= {f"assistant repair --index {closed}"}
    # A change may hit what SQLite or tantivy do not use.
    assert noticed or how in {"changed", "cut"}
    done = Store.repair(closed, embedder)
    assert bool(done) == bool(noticed)
    with Store.open(closed, embedder) as store:
        assert_holds(store, [synthetic(number) for number in range(12)])
    assert Store.repair(closed, embedder) == []


@pytest.mark.parametrize("how", ["gone", "junk"])
def test_without_its_records_an_index_can_only_be_built_anew(
    closed: Path, embedder: HashEmbedder, how: str
) -> None:
    damage(closed / "papers.sqlite3", how)
    for attempt in (
        lambda: Store.open(closed, embedder).search("Subject1"),
        lambda: Store.repair(closed, embedder),
    ):
        with pytest.raises(IndexDamagedError) as caught:
            attempt()
        assert caught.value.hint == f"assistant ingest --rebuild PAPERS --index {closed}"
    papers = [synthetic(number) for number in range(12)]
    with Store.create(closed, embedder, rebuild=True) as store:
        store.ingest(papers)
        assert_holds(store, papers)


def test_repair_computes_only_the_vectors_that_are_missing(
    closed: Path, embedder: HashEmbedder
) -> None:
    for part, most in (("lexical", 0), ("codes", 12), ("chroma", 12)):
        damage(closed / part, "gone")
        before = embedder.texts
        assert Store.repair(closed, embedder)
        chunks = sum(len(chunk_paper(synthetic(number))) for number in range(most))
        assert embedder.texts - before <= chunks


def test_an_index_of_another_model_is_built_anew_from_its_own_papers(closed: Path) -> None:
    other = HashEmbedder(name="other")
    (done,) = Store.repair(closed, other)
    assert "12 papers" in done
    with Store.open(closed, other) as store:
        assert_holds(store, [synthetic(number) for number in range(12)])


def test_a_rebuilding_that_was_killed_is_completed(closed: Path) -> None:
    other = HashEmbedder(name="other")
    folder = IndexFolder(closed)
    close_journal(folder.records)
    folder.set_records_aside()
    for opening in (Store.open, Store.create):
        with pytest.raises(IndexDamagedError) as caught:
            opening(closed, other)
        assert caught.value.hint == f"assistant repair --index {closed}"
    # As far as a killed one may have come.
    with Store._create(folder, other, cleared=True) as half:
        half.ingest([synthetic(0)])
    with pytest.raises(IndexDamagedError):
        Store.open(closed, other)
    Store.repair(closed, other)
    with Store.open(closed, other) as store:
        assert_holds(store, [synthetic(number) for number in range(12)])


def test_another_embedding_model_is_refused(closed: Path) -> None:
    for opening in (Store.open, Store.create):
        with pytest.raises(IndexMismatchError, match="hash, now other") as caught:
            opening(closed, HashEmbedder(name="other"))
        assert caught.value.hint == f"assistant repair --index {closed}"


def test_rebuild_keeps_what_is_not_part_of_the_index(closed: Path, embedder: HashEmbedder) -> None:
    (closed / "notes.txt").write_text("mine")
    with Store.create(closed, HashEmbedder(name="other"), rebuild=True) as store:
        assert len(store) == 0
    assert (closed / "notes.txt").read_text() == "mine"


def test_check_names_every_kind_of_difference(store: Store) -> None:
    with sqlite3.connect(store.path / "papers.sqlite3") as records:
        records.execute("DELETE FROM papers WHERE id = 'paper-3'")
        records.execute("UPDATE papers SET id = 'renamed' WHERE id = 'paper-4'")
        records.execute("UPDATE papers SET fingerprint = 'abcdef0123456789' WHERE id = 'paper-6'")
        records.execute(
            "UPDATE papers SET fields = replace(fields, 'method', 'way') WHERE id = 'paper-7'"
        )
        records.execute("UPDATE papers SET first_row = first_row + 1 WHERE id = 'paper-8'")
        records.execute("INSERT INTO pending VALUES ('paper-5', 0, 1)")
        records.execute("INSERT INTO state VALUES ('ingesting', 1)")
    records.close()
    store._parts.lexical.replace([(77, synthetic(77))])
    with store._parts.writing():
        store._parts.chroma.delete(0, ["paper-9:0"])
    found = "\n".join(store.check())
    for words in (
        "chunks without a vector: paper-9:0", "vectors without a chunk: paper-3:0",
        "records that do not fit their papers: paper-6, paper-7, renamed",
        "papers in the lexical index in another version: paper-6",
        "papers in the lexical index alone: number 3, number 77",
        "vectors of another version of the text: paper-7:0",
        "searched by other vectors than theirs: paper-8:0",
        "half-written papers: paper-5", "has not ended",
    ):  # fmt: skip
        assert words in found, found
    kept = list(store.papers())
    assert Store.repair(store.path, store._embedder)
    assert store.check() == []
    assert list(store.papers()) == kept


# --- several processes ---------------------------------------------------------------------------


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROCESS), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate()
    assert process.returncode == 0


def kill_after(process: subprocess.Popen[str], writes: int, seconds: float) -> None:
    """Kill a process that has reported so many writes, a moment later."""
    assert process.stdout is not None
    for _ in range(writes):
        process.stdout.readline()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()


def test_an_ingest_killed_anywhere_is_completed_by_the_same_command(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    moments = random.Random(7)
    # New papers; then longer and shorter versions of them, while others are pruned.
    for arguments in ((0, 100, 0, "keep"), (25, 125, 1, "prune")):
        first, last, version, _ = arguments
        for _ in range(4):
            kill_after(start(tmp_path, *arguments), moments.randrange(4), moments.uniform(0, 0.3))
        wanted = [synthetic(number, version) for number in range(first, last)]
        # On a fast machine one of the four may have been through before its kill.
        refusal = None
        try:
            with Store.open(tmp_path, embedder) as store:
                assert_holds(store, wanted)
        except (IndexDamagedError, IndexMissingError) as error:
            refusal = str(error)
        assert refusal is None or re.search(r"interrupted|no index", refusal)
        finish(start(tmp_path, *arguments))
        with Store.open(tmp_path, embedder) as store:
            assert_holds(store, wanted)


def test_an_ingest_killed_and_then_run_with_other_papers_leaves_no_half_paper(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    finish(start(tmp_path, 0, 60, 0, "keep"))
    kill_after(start(tmp_path, 0, 120, 1, "keep"), 3, 0.03)
    with Store.create(tmp_path, embedder) as store:
        store.ingest([synthetic(500)])
        assert store.check() == []
        for paper in store.papers():
            number = int(paper.id.removeprefix("paper-"))
            assert paper in (synthetic(number, 0), synthetic(number, 1))


def test_a_second_writer_is_told_who_is_writing(store: Store) -> None:
    with FileLock(store.path / "writer.lock"):
        (store.path / "writer.pid").write_text("4711")
        for write in (lambda: store.ingest([synthetic(77)]), lambda: store.remove(["paper-1"])):
            with pytest.raises(IndexLockedError, match="process 4711"):
                write()
        assert store.search("Subject1", 1)[0].paper.id == "paper-1"
    store.ingest([synthetic(77)])


def test_a_reader_goes_on_while_another_process_writes_and_sees_what_it_wrote(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    finish(start(tmp_path, 0, 60, 0, "keep"))
    with Store.open(tmp_path, embedder) as reader:
        writer = start(tmp_path, 20, 160, 1, "prune")
        searches = 0
        while writer.poll() is None:
            for passage in reader.search(f"Subject{searches % 160}", 5):
                abstract, chunk = passage.paper.abstract, passage.chunk
                assert abstract[chunk.start : chunk.end] == chunk.text
            with Store.open(tmp_path, embedder) as late:
                assert late.search("Subject40", 1)[0].paper.id == "paper-40"
            searches += 1
        finish(writer)
        assert searches > 0
        assert_holds(reader, [synthetic(number, 1) for number in range(20, 160)])
        (best,) = reader.search("Subject159", 1)
        assert best.similarity is not None


def test_a_reader_sees_an_index_that_was_rebuilt(closed: Path, embedder: HashEmbedder) -> None:
    with Store.open(closed, embedder) as reader:
        assert reader.search("Subject1", 1)[0].paper.id == "paper-1"
        with Store.create(closed, embedder, rebuild=True) as writer:
            writer.ingest([synthetic(100)])
        assert [passage.paper.id for passage in reader.search("Subject1")] == ["paper-100"]


def test_two_stores_of_one_process_may_share_a_folder(closed: Path, embedder: HashEmbedder) -> None:
    with Store.open(closed, embedder) as reader:
        reader.search("Subject1")
        with Store.create(closed, embedder) as writer:
            writer.ingest([synthetic(50)])
        (best,) = reader.search("Subject50", 1)
        assert best.paper.id == "paper-50"
        assert best.similarity is not None


def test_closing_lets_go_of_everything(closed: Path, embedder: HashEmbedder) -> None:
    before = threading.active_count()
    store = Store.open(closed, embedder)
    store.search("Subject1")
    store.close()
    # Chroma closes its database in a thread of its own.
    for _ in range(200):
        left = [path for path in open_files() if path.startswith(str(closed))]
        if not left:
            break
        time.sleep(0.05)
    assert not left
    assert threading.active_count() == before


def open_files() -> set[str]:
    """Return what this process has open; nothing where the system does not tell."""
    folder = Path("/proc/self/fd")
    return {os.path.realpath(link) for link in folder.iterdir()} if folder.exists() else set()


# --- what an ingest would do ---------------------------------------------------------------------


def test_a_difference_is_what_an_ingest_then_does(store: Store) -> None:
    papers = [synthetic(number, version=number % 2) for number in range(10, 40)]
    before = snapshot(store.path)
    expected = Store.difference(store.path, papers)
    assert {name: before[name] for name in before if "sqlite3-" not in name} == {
        name: data for name, data in snapshot(store.path).items() if "sqlite3-" not in name
    }
    report = store.ingest(papers, prune=lambda: True)
    assert expected == Difference(report.added, report.updated, report.unchanged, report.removed)
    assert expected == Difference(added=10, updated=10, unchanged=10, removed=10)


def test_without_an_index_everything_is_new(tmp_path: Path) -> None:
    papers = [synthetic(1), synthetic(2), synthetic(1)]
    assert Store.difference(tmp_path / "nowhere", papers) == Difference(2, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(IndexDamagedError, match="not an index"):
        Store.difference(tmp_path, papers)


def test_whether_to_prune_is_asked_when_the_stream_has_ended(store: Store) -> None:
    ended: list[bool] = []

    def papers() -> Iterator[Paper]:
        yield synthetic(1)
        ended.append(True)

    assert store.ingest(papers(), prune=lambda: not ended).removed == 0
    assert store.ingest(papers(), prune=lambda: bool(ended)).removed == 29

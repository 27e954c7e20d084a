"""A collection as a file: the same papers and vectors come back, and nothing else comes in."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import (
    ArchiveError,
    Collections,
    IndexDamagedError,
    IndexLockedError,
    Paper,
    Store,
    archive,
)
from vectorstore.archive import MANIFEST, ArchiveReader, Item, write_archive
from vectorstore.transfer import export_index, import_index

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = {
    "name": "birds",
    "created_with": "test",
    "embedder": "hash",
    "dimension": 64,
    "chunking_version": 1,
}
Members = dict[str, bytes]


def unit(rows: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def item(number: int) -> Item:
    paper = synthetic(number)
    return paper, ((0, 10), (10, len(paper.abstract))), unit(2, number)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_PART_TEXT_BYTES", 3_000)
    monkeypatch.setattr(archive, "_PART_VECTOR_BYTES", 2_000)


@pytest.fixture
def file(tmp_path: Path, small_parts: None, store: Store) -> Path:
    """The archive of thirty papers, in several parts."""
    path = tmp_path / "birds.zip"
    manifest = export_index(store, path, name="birds")
    assert manifest.papers == 30
    assert len(manifest.members) > 4
    return path


def contents(path: Path) -> list[tuple[Paper, Any, bytes]]:
    with ArchiveReader(path) as reader:
        return [(paper, spans, own.tobytes()) for paper, spans, own in reader.items()]


def repacked(path: Path, change: Callable[[Members, dict[str, Any]], None]) -> Path:
    """The archive after a change of its members or manifest, its hashes right again."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(members, manifest)
    for member in manifest["members"]:
        data = members.get(member["name"], b"")
        if not member.pop("kept", False):
            member |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
        new.writestr(MANIFEST, json.dumps(manifest))
    return changed


# --- there and back ------------------------------------------------------------------------------


def test_a_collection_comes_back_without_embedding(
    tmp_path: Path, store: Store, file: Path
) -> None:
    embedder = HashEmbedder()
    report = import_index(file, tmp_path / "back", embedder)
    assert (report.papers, report.embedded, embedder.texts) == (30, False, 0)
    with Store.open(tmp_path / "back", embedder) as back:
        assert list(back.papers()) == list(store.papers())
        assert back.check() == []
        for query in ("Subject7", "experiment at length"):
            same = [each.paper.id for each in store.search(query)]
            assert [each.paper.id for each in back.search(query)] == same
        pairs = zip(store.exported(), back.exported(), strict=True)
        assert all(np.allclose(one[2], other[2], atol=1e-6) for one, other in pairs)


def test_another_model_embeds_anew_and_says_so(tmp_path: Path, file: Path) -> None:
    embedder, said = HashEmbedder(name="other", dimension=32), list[str]()
    report = import_index(file, tmp_path / "back", embedder, notice=said.append)
    assert report.embedded
    assert "vectors are of hash (64), not of other (32)" in said[0]
    assert embedder.texts == report.chunks
    with Store.open(tmp_path / "back", embedder) as back:
        assert back.search("Subject7")[0].paper.id == "paper-7"


def test_other_chunks_embed_anew_and_say_so(tmp_path: Path, file: Path) -> None:
    older = repacked(file, lambda _, manifest: manifest.update(chunking_version=0))
    embedder, said = HashEmbedder(), list[str]()
    assert import_index(older, tmp_path / "back", embedder, notice=said.append).embedded
    assert "chunks are of version 0" in said[0]
    assert embedder.texts > 0


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
words = texts.filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
ids = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
any_paper = st.builds(
    Paper,
    id=ids,
    title=words,
    abstract=words,
    authors=st.lists(words, max_size=3).map(tuple),
    year=st.none() | st.integers(0, 9999),
    url=st.none() | st.just("https://example.org/a?b=ü"),
    venue=st.none() | texts,
    metadata=st.dictionaries(texts, values, max_size=3),
)


@given(st.lists(any_paper, max_size=5))
def test_whatever_a_paper_holds_comes_back(tmp_path: Path, papers: list[Paper]) -> None:
    path = tmp_path / "any.zip"
    items = [(paper, ((0, len(paper.abstract)),), unit(1)) for paper in papers]
    write_archive(path, items, DESCRIPTION)
    back = contents(path)
    assert [paper for paper, *_ in back] == papers
    assert [paper.fingerprint for paper, *_ in back] == [paper.fingerprint for paper in papers]


def test_the_same_collection_gives_the_same_file(tmp_path: Path, store: Store, file: Path) -> None:
    export_index(store, tmp_path / "again.zip", name="birds")
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()


def test_memory_does_not_grow_with_a_collection(tmp_path: Path, small_parts: None) -> None:
    path = tmp_path / "many.zip"
    tracemalloc.start()
    write_archive(path, (item(number) for number in range(4_000)), DESCRIPTION)
    with ArchiveReader(path) as reader:
        assert sum(1 for _ in reader.items()) == 4_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 2_500_000
    # Twice the list of members: 3,000 parts of two.
    assert peak < 12_000_000


# --- while others work ---------------------------------------------------------------------------


def test_what_is_being_written_is_not_exported(tmp_path: Path, store: Store) -> None:
    with FileLock(store.path / "writer.lock"), pytest.raises(IndexLockedError):
        export_index(store, tmp_path / "x.zip", name="x")
    assert list(tmp_path.glob("*.zip*")) == list(tmp_path.glob(".*partial")) == []


def test_nobody_writes_during_an_export(store: Store) -> None:
    exported = store.exported()
    next(exported)
    with pytest.raises(IndexLockedError):
        store.remove(["paper-3"])
    del exported
    assert store.remove(["paper-3"]) == 1


def test_half_an_ingest_is_not_exported(tmp_path: Path, store: Store) -> None:
    def broken() -> Iterator[Paper]:
        yield from (synthetic(number, version=1) for number in range(300))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ingest(broken())
    with pytest.raises(IndexDamagedError, match="interrupted"):
        export_index(store, tmp_path / "x.zip", name="x")


def test_a_failed_export_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Item]:
        yield item(1)
        raise KeyboardInterrupt

    path = tmp_path / "x.zip"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_archive(path, broken(), DESCRIPTION)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ArchiveError, match="cannot be written"):
        write_archive(tmp_path / "no" / "x.zip", [item(1)], DESCRIPTION)


# --- nothing is believed -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archived") / "birds.zip"
    write_archive(path, map(item, range(3)), DESCRIPTION)
    return path


@settings(max_examples=3 * settings().max_examples)
@given(st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(archived: Path, data: st.DataObject) -> None:
    raw = bytearray(archived.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = archived.with_name("changed.zip")
    changed.write_bytes(raw)
    try:
        found = contents(changed)
    except ArchiveError as error:
        assert str(changed) in str(error)  # noqa: PT017 - either is right
    else:
        assert found == contents(archived)


@settings(max_examples=settings().max_examples * 3 // 5)
@given(st.data())
def test_a_file_that_was_cut_short_is_refused(archived: Path, data: st.DataObject) -> None:
    raw = archived.read_bytes()
    cut = archived.with_name("cut.zip")
    cut.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(ArchiveError):
        contents(cut)


def line(change: Callable[[dict[str, Any]], None]) -> Callable[[Members, dict[str, Any]], None]:
    def changed(members: Members, manifest: dict[str, Any]) -> None:
        first, *rest = members["papers/000000.jsonl"].splitlines(keepends=True)
        value = json.loads(first)
        change(value)
        members["papers/000000.jsonl"] = json.dumps(value).encode() + b"\n" + b"".join(rest)

    return changed


def array(vectors: NDArray[Any], **how: Any) -> Callable[[Members, dict[str, Any]], None]:
    def changed(members: Members, manifest: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, vectors, **how)
        members["vectors/000000.npy"] = buffer.getvalue()

    return changed


def claimed(shape: str) -> Callable[[Members, dict[str, Any]], None]:
    def changed(members: Members, manifest: dict[str, Any]) -> None:
        data = members["vectors/000000.npy"]
        old = b"'shape': (6, 64), }"
        assert old in data
        new = f"'shape': {shape}, }}".encode()
        blanks = data.index(b"\n") - data.index(old) - len(old)
        padded = new + b" " * (blanks + len(old) - len(new))
        members["vectors/000000.npy"] = data.replace(old + b" " * blanks, padded)

    return changed


def outside(members: Members, manifest: dict[str, Any]) -> None:
    members["../evil.jsonl"] = members.pop("papers/000000.jsonl")
    manifest["members"][0]["name"] = "../evil.jsonl"


def added(members: Members, manifest: dict[str, Any]) -> None:
    members["evil.py"] = b"import os"


def missing(members: Members, manifest: dict[str, Any]) -> None:
    del members["vectors/000000.npy"]


def swapped(members: Members, manifest: dict[str, Any]) -> None:
    members["papers/000000.jsonl"] += b" "
    manifest["members"][0]["kept"] = True


def bomb(members: Members, manifest: dict[str, Any]) -> None:
    manifest["members"][0]["kept"] = True
    members["papers/000000.jsonl"] = bytes(300_000_000)


def said_huge(members: Members, manifest: dict[str, Any]) -> None:
    manifest["members"][0] |= {"kept": True, "bytes": 10**15}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (outside, "members are not those"),
        (added, "members are not those"),
        (missing, "members are not those"),
        (swapped, "larger than it may be"),
        (bomb, "larger than it may be"),
        (said_huge, "its manifest is none"),
        (lambda _, m: m.update(papers=4), "its manifest says"),
        (lambda _, m: m.update(chunks=7), "its manifest says"),
        (lambda _, m: m.update(version=9), "its format is 9"),
        (lambda _, m: m.update(format="x"), "not an archive"),
        (lambda _, m: m.update(dimension=32), "not \\(\\(6, 32\\)"),
        (lambda _, m: m.update(dimension="64"), "its manifest is none"),
        (lambda _, m: m.update(more=1), "its manifest is none"),
        (line(lambda v: v["paper"].update(title=" ")), "the title is empty"),
        (line(lambda v: v["paper"].update(id="a\nb")), "the id is"),
        (line(lambda v: v["paper"].update(id=7)), "the id is not text"),
        (line(lambda v: v["paper"].update(url="javascript:x")), "no web address"),
        (line(lambda v: v["paper"].update(year="2020")), "the year"),
        (line(lambda v: v["paper"].update(authors="A")), "the authors"),
        (line(lambda v: v["paper"].update(metadata=[])), "the metadata"),
        (line(lambda v: v["paper"].update(more=1)), "a paper has the fields"),
        (line(lambda v: v["paper"].update(abstract="a\0b")), "NUL"),
        (line(lambda v: v.update(spans=[[0, 10], [10, 10**6]])), "not in its abstract"),
        (line(lambda v: v.update(spans=[[0, 10], [5, 5]])), "not in its abstract"),
        (line(lambda v: v.update(spans=[[0, 10]])), "is \\(\\(6, 64\\)"),
        (line(lambda v: v.update(more=1)), "a line is not"),
        (array(np.array([{}] * 6), allow_pickle=True), "not \\(\\(6, 64\\)"),
        (array(unit(6).astype(np.float64)), "dtype\\('float64'\\)"),
        (array(np.asfortranarray(unit(6))), "True"),
        (array(unit(6) * 2), "norm 1"),
        (array(np.full((6, 64), np.nan, np.float32)), "norm 1"),
        (array(np.full((6, 64), np.inf, np.float32)), "norm 1"),
        (claimed("(10**12, 64)"), "cannot be read"),
        (claimed("(99999999, 64)"), "not \\(\\(6, 64\\)"),
    ],
)
def test_what_was_changed_is_refused_with_its_reason(
    archived: Path, change: Callable[[Members, dict[str, Any]], None], reason: str
) -> None:
    changed = repacked(archived, change)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=reason):
        contents(changed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_two_papers_with_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    whole = [(paper, spans, own) for paper, spans, own in [item(1)] * 2]
    write_archive(path, whole, DESCRIPTION | {"chunking_version": 0})
    with pytest.raises(ArchiveError, match="the same id"):
        import_index(path, tmp_path / "index", HashEmbedder())


def test_chunks_of_another_abstract_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    write_archive(path, [item(1)], DESCRIPTION)
    with pytest.raises(ArchiveError, match="not those of its abstract"):
        import_index(path, tmp_path / "index", HashEmbedder())


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path, archived: Path) -> None:
    huge = 10**8

    def many(_: Members, manifest: dict[str, Any]) -> None:
        for member in manifest["members"]:
            member |= {"bytes": huge, "kept": True}

    changed = repacked(archived, many)
    with ArchiveReader(changed) as reader:
        assert reader.unpacked_bytes == 2 * huge
    with pytest.MonkeyPatch.context() as patch:
        usage = type("Usage", (), {"free": 2 * huge - 1})
        patch.setattr("shutil.disk_usage", lambda _: usage)
        with pytest.raises(ArchiveError, match=r"needs 0\.2 GB"):
            import_index(changed, tmp_path / "index", HashEmbedder())
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file at all" * 100])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="not a ZIP file"):
        ArchiveReader(path)
    with pytest.raises(ArchiveError, match="no such file"):
        ArchiveReader(tmp_path / "missing.zip")


def test_a_kill_leaves_the_old_collection_or_the_new_one(tmp_path: Path) -> None:
    root, path = tmp_path / "collections", tmp_path / "x.zip"
    with Store.create(tmp_path / "index", HashEmbedder()) as store:
        store.ingest(synthetic(number) for number in range(400))
        export_index(store, path, name="birds")
    folder = Collections(root).folder("birds")
    with Store.create(folder, HashEmbedder()) as store:
        store.ingest([synthetic(1)])
    command = [sys.executable, "-m", "tests.vectorstore.import_process"]
    command += [str(root), str(path), "birds"]
    for lines in (0, 1, 2):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        (info,) = Collections(root).all()
        assert info.papers in (1, 400)
        with Store.open(folder, HashEmbedder()) as store:
            assert store.check() == []
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0
    with Store.open(folder, HashEmbedder()) as store:
        assert (len(store), store.check()) == (400, [])
    assert {each.name for each in root.iterdir()} <= {"birds", ".birds.lock"}

"""Papers that are in the index under another id: told, not added twice, replaced if later."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import Difference, IngestReport, Paper, Store
from vectorstore.index.records import Record, Records
from vectorstore.sources.duplicates import IndexedDuplicate, is_newer


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "index", HashEmbedder()) as store:
        yield store


def paper(paper_id: str, title: str = "One: a study", **fields: Any) -> Paper:
    own = {name: fields.pop(name) for name in ("doi", "arxiv_id") if name in fields}
    base: dict[str, Any] = {"authors": ("Ida Moreau",), "year": 2020, "metadata": own}
    return Paper(paper_id, title, f"We study {title}.", **(base | fields))


def ingest(store: Store, *papers: Paper, **how: Any) -> tuple[IngestReport, list[IndexedDuplicate]]:
    told: list[IndexedDuplicate] = []
    compared = list[IndexedDuplicate]()
    difference = Store.difference(store.path, papers, on_duplicate=compared.append)
    report = store.ingest(papers, on_duplicate=told.append, **how)
    # What a dry run says is what happens.
    assert compared == told
    assert difference == Difference(
        report.added, report.updated, report.unchanged,
        report.removed if how.get("prune") else difference.removed, report.edited,
    )  # fmt: skip
    assert store.check() == []
    return report, told


def ids(store: Store) -> list[str]:
    return [each.id for each in store.papers()]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"doi": "10.1000/ABC"}, {"doi": "10.1000/abc"}, "the same DOI 10.1000/abc"),
        ({"arxiv_id": "2301.00001v1"}, {"arxiv_id": "2301.00001"}, "the same arXiv id 2301.00001"),
        ({"arxiv_id": "2301.00001"}, {"url": "https://arxiv.org/abs/2301.00001v2"}, "arXiv id"),
        ({"arxiv_id": "2301.00001v2"}, {"arxiv_id": "2301.00001v2"}, "arXiv id"),
        ({"arxiv_id": "2301.00001v3"}, {"arxiv_id": "2301.00001v2"}, "arXiv id"),
        ({"title": "One: a STUDY"}, {"title": "One - a study"}, "the same title, first author"),
    ],
)
def test_the_same_paper_is_not_added_twice(
    index: Store, first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    ingest(index, paper("a", **({"title": "A"} | first)))
    report, (told,) = ingest(index, paper("b", **({"title": "B"} | second)), paper("c", "Other"))
    assert (report.added, report.updated) == (1, 0)
    assert ids(index) == ["a", "c"]
    assert (told.paper.id, told.indexed.id, told.replaces) == ("b", "a", False)
    assert words in told.words


def test_another_paper_is_no_duplicate(index: Store) -> None:
    ingest(index, paper("a", doi="10.1000/a"))
    others = (
        paper("b", "Two", doi="10.1000/b"),
        paper("c", year=2021),
        paper("d", authors=("Wen Zhao",)),
        paper("e", authors=()),
    )
    report, told = ingest(index, *others)
    assert (report.added, told) == (4, [])


def test_a_paper_of_the_same_id_is_updated_as_ever(index: Store) -> None:
    ingest(index, paper("a", doi="10.1000/a"))
    report, told = ingest(index, paper("a", "New title", doi="10.1000/a"))
    assert (report.updated, told) == (1, [])


def test_without_a_listener_nobody_looks(index: Store) -> None:
    index.ingest([paper("a")])
    assert index.ingest([paper("b")]).added == 1


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        ({"id": "2301.00001v2"}, {"id": "2301.00001v1"}, True),
        ({"id": "2301.00001v10"}, {"id": "2301.00001v9"}, True),
        ({"id": "2301.00001v2"}, {"id": "2301.00001v2"}, False),
        ({"id": "2301.00001v2"}, {"id": "2301.00001"}, False),
        ({"id": "2301.00001"}, {"id": "2301.00001v1"}, False),
        ({"id": "2301.00001v2"}, {"id": "2301.00002v1"}, False),
        ({"arxiv_id": "2301.00001", "id": "2301.00001v2"}, {"id": "2301.00001v1"}, True),
        ({"id": "hep-th/9901001v2"}, {"url": "https://arxiv.org/abs/hep-th/9901001v1"}, True),
        ({"doi": "10.1000/a"}, {"doi": "10.1000/a"}, False),
    ],
)
def test_only_arxiv_says_what_is_newer(
    one: dict[str, Any], other: dict[str, Any], newer: bool
) -> None:
    made = [paper(each.pop("id", "x"), **each) for each in (dict(one), dict(other))]
    assert is_newer(*made) == newer
    assert not (newer and is_newer(*reversed(made)))


def test_a_later_version_takes_the_place(index: Store) -> None:
    ingest(index, paper("2301.00001v1"), paper("z", "Other"))
    report, (told,) = ingest(index, paper("2301.00001v2", "One: a revised study"))
    assert (report.added, report.updated, told.replaces) == (0, 1, True)
    assert set(ids(index)) == {"2301.00001v2", "z"}
    again, none = ingest(index, paper("2301.00001v2", "One: a revised study"))
    assert (again.unchanged, none) == (1, [])
    older, (late,) = ingest(index, paper("2301.00001v1"))
    assert (older.added, late.replaces) == (0, False)
    assert set(ids(index)) == {"2301.00001v2", "z"}


def test_edits_go_over_to_a_later_version(index: Store) -> None:
    ingest(index, paper("2301.00001v1"))
    index.edit("2301.00001v1", {"venue": "Nature"})
    report, _ = ingest(index, paper("2301.00001v2", "One: a revised study"))
    assert (report.updated, report.edited) == (1, 1)
    assert index.paper("2301.00001v2").venue == "Nature"


def test_two_later_versions_take_one_place(index: Store) -> None:
    ingest(index, paper("2301.00001v1"))
    told = list[IndexedDuplicate]()
    index.ingest([paper("2301.00001v2"), paper("2301.00001v3")], on_duplicate=told.append)
    assert [each.replaces for each in told] == [True, False]
    assert ids(index) == ["2301.00001v2"]


def test_a_kill_between_the_old_version_and_the_new_one_is_mended_by_the_next_run(
    index: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(index, paper("2301.00001v1"), paper("z", "Other"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vectorstore.index.writing.Writer._write", killed)
        with pytest.raises(KeyboardInterrupt):
            index.ingest([paper("2301.00001v2")], on_duplicate=lambda _: None)
    index.ingest([paper("2301.00001v2")], on_duplicate=lambda _: None)
    assert set(ids(index)) == {"2301.00001v2", "z"}
    assert index.check() == []


# --- with other features -------------------------------------------------------------------------


def test_pruning_keeps_what_the_stream_has_under_another_id(index: Store) -> None:
    ingest(index, paper("a", doi="10.1000/a"), paper("gone", "Other"))
    report, (told,) = ingest(index, paper("b", "New name", doi="10.1000/a"), prune=True)
    assert told.indexed.id == "a"
    assert (report.added, report.removed) == (0, 1)
    assert ids(index) == ["a"]


def test_keys_follow_updates_and_removals(index: Store) -> None:
    ingest(index, paper("a", doi="10.1000/a"))
    ingest(index, paper("a", "Two", doi="10.1000/b"))
    report, told = ingest(index, paper("b", "Three", doi="10.1000/a"))
    assert (report.added, told) == (1, [])
    index.remove(["a"])
    report, told = ingest(index, paper("c", "Four", doi="10.1000/b"))
    assert (report.added, told) == (1, [])


def test_a_paper_that_is_about_to_change_counts_as_it_will_be(index: Store) -> None:
    ingest(index, paper("a", doi="10.1000/a"))
    report, told = ingest(
        index, paper("b", "Three", doi="10.1000/a"), paper("a", "Two", doi="10.1000/b")
    )
    assert (report.added, report.updated, told) == (1, 1, [])


def test_an_index_with_keys_of_another_version_gets_new_ones_at_the_next_ingest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "index"
    with Store.create(path, HashEmbedder()) as store:
        store.ingest([paper("a"), *(synthetic(number) for number in range(700))])
    with sqlite3.connect(path / "papers.sqlite3") as database:
        database.execute("DELETE FROM keys")
        database.execute("UPDATE state SET value = 0 WHERE name = 'keys'")
    database.close()
    # Reading and removing need none; nor does a dry run, which then sees no duplicates.
    assert Store.difference(path, [paper("b")], on_duplicate=lambda _: None).added == 1
    with Store.open(path, HashEmbedder()) as store:
        store.remove(["paper-3"])
        told = list[IndexedDuplicate]()
        assert store.ingest([paper("b")], on_duplicate=told.append).added == 0
        assert [each.indexed.id for each in told] == ["a"]


def test_memory_does_not_grow_with_the_papers_that_are_known(tmp_path: Path) -> None:
    records = Records(tmp_path / "papers.sqlite3", create=True)
    records.complete_keys()
    for start in range(0, 6_000, 500):
        made = [paper(f"p{n}", f"Title {n}", doi=f"10.1000/{n}") for n in range(start, start + 500)]
        placed = enumerate(made, start=start)
        records.finish([Record(each, ((0, 5),), number, number) for number, each in placed])
    tracemalloc.start()
    assert records.sharing([1, 2, 3]) == {}
    records.complete_keys()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    records.close()
    assert peak < 200_000


def test_a_digest_that_two_keys_share_is_no_duplicate(
    index: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("arrivals", "records"):
        name = f"vectorstore.index.{module}.key_digest"
        # One for all DOIs, one for all titles.
        monkeypatch.setattr(name, lambda key: len(key.split()[0]))
    ingest(index, paper("a", doi="10.1000/a"))
    report, told = ingest(index, paper("b", "Two", doi="10.1000/b"))
    assert (report.added, told) == (1, [])
    report, told = ingest(index, paper("c", "Three", doi="10.1000/b"))
    assert [each.indexed.id for each in told] == ["b"]


def test_the_commands_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from assistant.commands import cli, console

    monkeypatch.delenv("ASSISTANT_COLLECTION", raising=False)
    monkeypatch.setenv("ASSISTANT_INDEX", str(tmp_path / "index"))
    monkeypatch.setattr(console, "open_embedder", lambda settings: HashEmbedder())
    runner = CliRunner()

    def run(*rows: dict[str, Any], more: tuple[str, ...] = ()) -> Any:
        data = "".join(json.dumps({"abstract": "It works."} | row) + "\n" for row in rows)
        result = runner.invoke(cli.app, ["ingest", "-", *more], input=data)
        assert result.exit_code == 0, result.output
        return result

    run({"id": "a", "title": "A", "doi": "10.1000/a"}, {"id": "2301.00001v1", "title": "B"})
    new = ({"id": "b", "title": "C", "doi": "10.1000/a"}, {"id": "2301.00001v2", "title": "D"})
    report = tmp_path / "rows.jsonl"
    for more in (["--dry-run"], ["--report", str(report)]):
        result = run(*new, more=tuple(more))
        assert result.stdout.startswith("+0 added  ~1 updated  =0 unchanged")
        assert '"b" is a duplicate of "a" of the index: the same DOI 10.1000/a' in result.stderr
        assert '"2301.00001v2" replaces "2301.00001v1" of the index' in result.stderr
        assert "1 duplicate\n1 earlier version replaced\n" in result.stderr
    kinds = [json.loads(line)["kind"] for line in report.read_text().splitlines()]
    assert kinds == ["duplicate", "replacement"]
    counts = json.loads(run(*new, more=("--json",)).stdout)
    assert (counts["duplicates"], counts["replaced"], counts["unchanged"]) == (1, 0, 1)

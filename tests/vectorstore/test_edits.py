"""What is edited by hand stays edited, and what becomes of it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import Paper, Store
from vectorstore.edits import edited, edited_fields, with_edits_of
from vectorstore.sources.fields import FieldError

PAPER = Paper(
    "x", "Title", "An abstract.", ("A. One",), 2020, "https://x.org", "V", None, None, {"doi": "1"}
)
VALUES = {
    "title": "T2", "abstract": "B.", "authors": "B. Two; C. Three", "year": "1999",
    "url": "https://y.org", "venue": "W", "code_url": "https://c.org", "doi": "10.1000/a",
    "status": "read",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("title", " Two \n words ", "Two words"),
        ("abstract", "One.\n\nTwo. ", "One.\n\nTwo. "),
        ("authors", "A. One; B. Two", ("A. One", "B. Two")),
        ("authors", "A. One and B. Two", ("A. One", "B. Two")),
        ("year", "1999", 1999),
        ("venue", " Nature ", "Nature"),
        ("url", "https://a.org/x", "https://a.org/x"),
    ],
)
def test_a_field_holds_what_was_typed(field: str, typed: str, value: Any) -> None:
    changed = edited(PAPER, {field: typed})
    assert getattr(changed, field) == value
    assert replace(changed, **{field: getattr(PAPER, field)}, metadata=PAPER.metadata) == PAPER
    assert edited_fields(changed) == (field,)


def test_metadata_hold_everything_else() -> None:
    changed = edited(PAPER, {"doi": "https://doi.org/10.1000/a", "status": "read"})
    assert changed.metadata["doi"] == "10.1000/a"
    assert changed.metadata["status"] == "read"
    gone = edited(changed, {}, ["status", "doi", "url", "authors"])
    assert (gone.url, gone.authors) == (None, ())
    assert gone.metadata == {"edited_fields": ["authors", "doi", "status", "url"]}


@pytest.mark.parametrize(
    ("changes", "removals", "reason"),
    [
        ({"id": "y"}, [], "an id cannot be changed"),
        ({"year": "soon"}, [], 'the year "soon" is not a number'),
        ({"year": "99999"}, [], "is not a number"),
        ({"url": "javascript:x"}, [], "no web address"),
        ({"title": " "}, [], "the title is empty"),
        ({"abstract": "\n"}, [], "the abstract is empty"),
        ({"abstract": "a\0"}, [], "NUL"),
        ({"authors": "A; B\0"}, [], "NUL"),
        ({"venue": "\udcff"}, [], "UTF-8"),
        ({"titel": "x"}, [], 'no field "titel"'),
        ({"edited_fields": "x"}, [], "cannot be edited"),
        ({"": "x"}, [], "cannot be edited"),
        ({}, ["title"], "needs its title"),
        ({}, ["status"], "has no status"),
        ({"year": "1999"}, ["year"], "both set and removed"),
    ],
)
def test_what_no_ingest_would_take_is_refused(
    changes: dict[str, str], removals: list[str], reason: str
) -> None:
    with pytest.raises(FieldError) as caught:
        edited(PAPER, changes, removals)
    assert reason in caught.value.reason
    assert caught.value.hint


def test_what_stays_as_it_was_is_no_edit() -> None:
    assert edited(PAPER, {"title": "Title", "year": "2020"}) == PAPER


@given(
    mine=st.dictionaries(st.sampled_from(sorted(VALUES)), st.just(""), max_size=4),
    theirs=st.dictionaries(st.sampled_from(sorted(VALUES)), st.just(""), max_size=4),
)
def test_edited_fields_stay_and_all_others_come_from_the_source(
    mine: dict[str, str], theirs: dict[str, str]
) -> None:
    here = edited(PAPER, {name: VALUES[name] for name in mine})
    there: dict[str, Any] = {"title": "T3", "abstract": "C.", "venue": "Z", "year": 2001}
    metadata = {"doi": "10.1000/b", "status": "new"}
    source = replace(
        PAPER,
        **{name: value for name, value in there.items() if name in theirs},
        metadata={name: value for name, value in metadata.items() if name in theirs},
    )
    both = with_edits_of(here, source)
    for name in VALUES:
        origin = here if name in mine else source
        if hasattr(origin, name):
            assert getattr(both, name) == getattr(origin, name)
        else:
            assert both.metadata.get(name) == origin.metadata.get(name)
    assert with_edits_of(both, source) == both
    if not mine:
        assert both == source


# --- in an index ---------------------------------------------------------------------------------


def test_an_edit_survives_its_source_and_is_told(store: Store, embedder: HashEmbedder) -> None:
    store.edit("paper-3", {"year": "1999", "status": "read"})
    report = store.ingest(synthetic(number) for number in range(30))
    assert (report.updated, report.unchanged, report.edited) == (0, 30, 1)
    newer = store.ingest(synthetic(number, version=1) for number in range(30))
    assert (newer.updated, newer.edited) == (30, 1)
    paper = store.paper("paper-3")
    assert (paper.year, paper.metadata["status"]) == (1999, "read")
    assert paper.abstract == synthetic(3, version=1).abstract
    assert store.check() == []


def test_a_dry_run_tells_of_edits(store: Store) -> None:
    store.edit("paper-3", {"year": "1999"})
    papers = [synthetic(number) for number in range(30)]
    compared = Store.difference(store.path, papers)
    assert (compared.updated, compared.unchanged, compared.edited) == (0, 30, 1)
    discarding = Store.difference(store.path, papers, keep_edits=False)
    assert (discarding.updated, discarding.unchanged, discarding.edited) == (1, 29, 0)


def test_an_edit_is_discarded_when_asked(store: Store) -> None:
    store.edit("paper-3", {"year": "1999"})
    report = store.ingest([synthetic(3)], keep_edits=False)
    assert (report.updated, report.edited) == (1, 0)
    assert store.paper("paper-3") == synthetic(3)


def test_a_second_edit_replaces_the_first(store: Store) -> None:
    store.edit("paper-3", {"year": "1999"})
    paper = store.edit("paper-3", {"year": "2001"}, ["version"])
    assert store.paper("paper-3") == paper
    assert (paper.year, edited_fields(paper)) == (2001, ("version", "year"))


@pytest.mark.parametrize(
    ("changes", "embeds"),
    [
        ({"year": "1999", "authors": "A; B", "venue": "V"}, False),
        ({"title": "Larch trees"}, True),
        ({"abstract": "Of larches."}, True),
    ],
)
def test_only_another_text_is_embedded(
    store: Store, embedder: HashEmbedder, changes: dict[str, str], embeds: bool
) -> None:
    before = embedder.texts
    store.edit("paper-3", changes)
    assert (embedder.texts > before) == embeds
    assert store.check() == []
    query = "larch" if embeds else "Subject3"
    assert store.search(query)[0].paper.id == "paper-3"


def test_a_half_written_paper_is_embedded_whatever_its_record_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = HashEmbedder()
    with Store.create(tmp_path / "index", embedder) as store:
        store.ingest([synthetic(1)])
        # Killed behind the vectors, before the record.
        with monkeypatch.context() as patch:
            finish = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
            patch.setattr(store._parts.records, "finish", finish)
            with pytest.raises(KeyboardInterrupt):
                store.ingest([synthetic(1, version=1)])
        before = embedder.texts
        store.ingest([synthetic(1)])
        assert embedder.texts > before
        assert store.check() == []


# --- listing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["added", "title", "year"])
@pytest.mark.parametrize("reverse", [False, True])
def test_pages_in_order_hold_each_paper_once(store: Store, order: str, reverse: bool) -> None:
    store.edit("paper-7", {}, ["year"])
    whole = list(store.listed(order, reverse=reverse))
    assert sorted(paper.id for paper in whole) == sorted(paper.id for paper in store.papers())
    pages = [
        paper
        for offset in range(0, 33, 7)
        for paper in store.listed(order, reverse=reverse, limit=7, offset=offset)
    ]
    assert pages == whole
    if order == "year":
        years = [paper.year for paper in whole if paper.year]
        assert years == sorted(years, reverse=reverse)
        assert whole[-1].id == "paper-7"
    elif order == "title":
        titles = [paper.title.lower() for paper in whole]
        assert titles == sorted(titles, reverse=reverse)
    else:
        assert whole == (list(store.papers())[::-1] if reverse else list(store.papers()))

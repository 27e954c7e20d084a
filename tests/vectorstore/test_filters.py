"""Filters against a second, plain reading of the same conditions over all papers."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import HashEmbedder
from vectorstore import Paper, Store
from vectorstore.filters import Condition, Filters, filters

AUTHORS = ("Ida Moreau", "José Núñez", "Núñez Ida", "Li", "Chidi N. Okafor")
VENUES = ("Nature", "Nature Methods", "NeurIPS", None)
CATEGORIES = ("cs.CL", "cs.CV", "stat.ML")


def paper(number: int) -> Paper:
    return Paper(
        id=f"paper-{number}",
        title=f"On grebes {number}",
        abstract=f"Grebes dive in lake {number % 7}. We count {number} of them.",
        authors=(AUTHORS[number % 5], AUTHORS[(number // 5) % 5]),
        year=None if number % 11 == 0 else 2010 + number % 13,
        venue=VENUES[number % 4],
        metadata={
            "categories": [CATEGORIES[number % 3], "q-bio"],
            "upvotes": number,
            "score": number / 4,
            "open": number % 2 == 0,
            "comment": {"pages": str(number % 9), "odd key!": "Yes, it is"},
            "text": "x" * 1_000,
        },
    )


PAPERS = tuple(paper(number) for number in range(150))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.create(tmp_path_factory.mktemp("filtered"), HashEmbedder()) as made:
        made.ingest(PAPERS)
        yield made


def ids(papers: Any) -> set[str]:
    return {each.id for each in papers}


def expected(where: Filters) -> set[str]:
    first, last = where.years

    def in_years(each: Paper) -> bool:
        if (first, last) == (None, None):
            return True
        return each.year is not None and (first or 0) <= each.year <= (last or 9999)

    def compared(each: Paper, condition: Condition) -> bool:
        value: Any = each.metadata[condition.field]
        if condition.operator == "=":
            return condition.value in (value if isinstance(value, list) else [str(value)])
        bound = float(condition.value)
        compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
        return bool(compare[condition.operator](value, bound))

    return ids(
        each
        for each in PAPERS
        if in_years(each)
        and all(any(name in author for author in each.authors) for name in where.authors)
        and (not where.venues or any(v in (each.venue or "") for v in where.venues))
        and all(compared(each, condition) for condition in where.conditions)
        and (where.ids is None or each.id in where.ids)
    )


YEARS = st.sampled_from([None, *range(2008, 2026, 3)])
CONDITIONS = st.one_of(
    st.sampled_from([Condition("categories", "=", each) for each in (*CATEGORIES, "q-bio")]),
    st.builds(
        Condition,
        st.sampled_from(["upvotes", "score"]),
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from(["0", "12", "12.5", "25", "149", "1e3", "-3"]),
    ),
    st.builds(Condition, st.just("upvotes"), st.just("="), st.sampled_from(["0", "7", "300"])),
)


@given(
    where=st.builds(
        Filters,
        years=st.tuples(YEARS, YEARS),
        authors=st.lists(st.sampled_from(["Moreau", "Ida Moreau", "Li"]), max_size=2).map(tuple),
        venues=st.lists(st.sampled_from(["Nature", "Methods", "NeurIPS"]), max_size=2).map(tuple),
        conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
        ids=st.one_of(
            st.none(), st.lists(st.sampled_from([*ids(PAPERS), "nobody"]), max_size=30).map(tuple)
        ),
    )
)
def test_a_search_finds_what_meets_the_filters_and_nothing_else(
    store: Store, where: Filters
) -> None:
    wanted = expected(where)
    assert ids(store.papers(where)) == wanted
    assert store.count(where) == len(wanted)
    assert ids(store.listed("title", where=where)) == wanted
    passages = store.search("grebes dive in lake 3", 200, where)
    assert ids(passage.paper for passage in passages) <= wanted
    # Both rankings reach a hundred papers.
    assert len(passages) >= min(100, len(wanted))
    papers, count = store.holding(["grebes"], 200, where)
    assert (ids(papers), count) == (wanted, len(wanted))


def test_a_filter_does_not_change_the_scores_of_words(store: Store) -> None:
    every = {p.paper.id: p.bm25 for p in store.search("lake 3", 150)}
    some = {p.paper.id: p.bm25 for p in store.search("lake 3", 150, filters(year="2015.."))}
    assert some
    assert all(every[key] == pytest.approx(bm25) for key, bm25 in some.items() if every.get(key))


@pytest.mark.parametrize(
    ("arguments", "meets"),
    [
        ({"authors": ["nunez"]}, lambda p: any("Núñez" in a for a in p.authors)),
        ({"authors": ["JOSÉ NÚÑEZ"]}, lambda p: "José Núñez" in p.authors),
        ({"authors": ["Moreau José"]}, lambda _: False),
        ({"authors": ["Okafor"], "year": "2012"}, lambda p: p.year == 2012
         and "Chidi N. Okafor" in p.authors),
        ({"where": ["open=true"]}, lambda p: p.metadata["open"]),
        ({"where": ["categories=CS.cl"]}, lambda p: "cs.CL" in p.metadata["categories"]),
        ({"where": ["comment.pages=4"]}, lambda p: p.metadata["comment"]["pages"] == "4"),
        ({"where": ["comment.odd key!=yes, it is"]}, lambda _: True),
        ({"where": ["score = 2.5"]}, lambda p: p.metadata["score"] == 2.5),
        ({"where": ["no such field=1"]}, lambda _: False),
        ({"where": ["no such field>1"]}, lambda _: False),
        ({"where": ["text=x"]}, lambda _: False),
    ],
)  # fmt: skip
def test_filters_are_read_as_people_type_them(
    store: Store, arguments: dict[str, Any], meets: Any
) -> None:
    assert ids(store.papers(filters(**arguments))) == ids(filter(meets, PAPERS))


@pytest.mark.parametrize(
    ("text", "years"),
    [("2023", (2023, 2023)), ("2020..2023", (2020, 2023)), ("2023..", (2023, None)),
     ("..2019", (None, 2019)), ("2020-2023", (2020, 2023)), (" 2020 .. 2021 ", (2020, 2021))],
)  # fmt: skip
def test_years_are_read(text: str, years: tuple[int | None, int | None]) -> None:
    assert filters(year=text).years == years


@pytest.mark.parametrize(
    "arguments",
    [{"year": "soon"}, {"year": ".."}, {"year": "2023..2020"}, {"year": ""}, {"authors": ["…"]},
     {"venues": [" "]}, {"where": ["upvotes"]}, {"where": ["=3"]}, {"where": ["upvotes>many"]},
     {"where": ["upvotes>nan"]}, {"where": ["odd (field)>1"]}],
)  # fmt: skip
def test_what_cannot_be_read_is_said(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r'^".*"'):
        filters(**arguments)


def test_without_conditions_every_paper_is_found(store: Store) -> None:
    assert not filters()
    assert ids(store.papers(filters())) == ids(PAPERS)
    assert store.search("grebes", 5, filters()) == store.search("grebes", 5)


def test_an_empty_index_has_nothing_that_meets_a_filter(tmp_path: Path) -> None:
    with Store.create(tmp_path, HashEmbedder()) as empty:
        assert list(empty.papers(filters(year="2020"))) == []
        assert empty.count(filters(year="2020")) == 0

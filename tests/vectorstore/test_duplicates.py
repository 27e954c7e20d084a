"""Which records are of one paper, and what becomes of them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from vectorstore import DuplicatePaperError, Paper, PaperFormatError, read_papers
from vectorstore.sources.duplicates import SeenKeys

BASE = {"abstract": "We do.", "authors": ["Ida Moreau"], "year": 2020}


def read(folder: Path, *records: dict[str, Any]) -> list[Paper | PaperFormatError]:
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps(BASE | record) + "\n" for record in records))
    return list(read_papers([path]))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            {"doi": "10.1000/ABC"},
            {"doi": "https://doi.org/10.1000/abc"},
            "the same DOI",
        ),
        ({"arxiv_id": "2301.00001v1"}, {"arxiv_id": "arXiv:2301.00001v2"}, "arXiv id 2301.00001"),
        ({"id": "2301.00001v1"}, {"id": "2301.00001v2"}, "here 2301.00001v2"),
        (
            {"url": "http://arxiv.org/pdf/2301.00001"},
            {"doi": "10.48550/arXiv.2301.00001"},
            "arXiv",
        ),
        ({"arxiv_id": "hep-ph/9901001"}, {"url": "http://arxiv.org/abs/hep-ph/9901001v3"}, "arXiv"),
    ],
)
def test_the_same_identifier_is_the_same_paper(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    one, other = read(tmp_path, first | {"title": "One"}, second | {"title": "Other"})
    assert isinstance(one, Paper)
    assert isinstance(other, DuplicatePaperError)
    assert words in other.reason
    assert other.first == f"{tmp_path / 'p.jsonl'}:1"
    assert other.first in str(other)
    assert other.line == 2


@pytest.mark.parametrize(
    ("change", "is_duplicate"),
    [
        ({"title": "One: a STUDY", "authors": ["I. Moreau", "B. Two"]}, True),
        ({"title": "Oné – a study", "authors": "Moreau, I. and B. Two"}, False),
        ({"year": 2021}, False),
        ({"authors": ["Wen Zhao"]}, False),
        ({"authors": []}, False),
        ({"title": "Two"}, False),
    ],
)
def test_the_same_title_needs_the_same_first_author_and_year(
    tmp_path: Path, change: dict[str, Any], is_duplicate: bool
) -> None:
    records = [{"title": "One: a study", "id": "a"}, {"title": "One: a study", "id": "b"} | change]
    _, other = read(tmp_path, *records)
    assert isinstance(other, DuplicatePaperError) == is_duplicate


def test_the_same_id_stays_an_error(tmp_path: Path) -> None:
    _, error = read(tmp_path, {"id": "x", "title": "One"}, {"id": "x", "title": "One"})
    assert isinstance(error, PaperFormatError)
    assert not isinstance(error, DuplicatePaperError)
    assert 'the id "x" was already used' in error.reason


def test_a_third_record_is_known_by_what_the_second_added(tmp_path: Path) -> None:
    records = (
        {"title": "One", "doi": "10.1000/a"},
        {"title": "Two", "doi": "10.1000/a", "arxiv_id": "2301.00001"},
        {"title": "Three", "arxiv_id": "2301.00001v4"},
    )
    _, second, third = read(tmp_path, *records)
    assert isinstance(second, DuplicatePaperError)
    assert isinstance(third, DuplicatePaperError)
    assert second.first == third.first == f"{tmp_path / 'p.jsonl'}:1"


def test_the_same_paper_in_two_bibliographies_is_a_duplicate(tmp_path: Path) -> None:
    entry = "@misc{key, title={One}, abstract={We do.}, author={A. B}, year=2020, doi={10.1000/a}}"
    for name in ("a.bib", "b.bib"):
        (tmp_path / name).write_text(entry)
    _, other = read_papers([tmp_path])
    assert isinstance(other, DuplicatePaperError)
    (tmp_path / "b.bib").write_text("@misc{key, title={Two}, abstract={We do.}}")
    _, error = read_papers([tmp_path])
    assert isinstance(error, PaperFormatError)
    assert not isinstance(error, DuplicatePaperError)


def test_what_was_seen_takes_no_memory_of_its_own() -> None:
    seen = SeenKeys()
    tracemalloc.start()
    for number in range(20_000):
        assert seen.match([f"doi {number}", f"title {number}"], "p", number, None) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen.match(["new", "title 7"], "q", 1, None) == ("title 7", "p:7")
    assert seen.match(["new"], "r", 1, None) == ("new", "p:7")
    seen.close()
    assert peak < 1_000_000

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorstore import Paper, PaperFormatError, read_papers

ABSTRACT = "We study something, and find it."


def read(path: Path | str) -> tuple[list[Paper], list[PaperFormatError]]:
    read = list(read_papers([path]))
    papers = [item for item in read if isinstance(item, Paper)]
    return papers, [item for item in read if isinstance(item, PaperFormatError)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


# --- page dump -----------------------------------------------------------------------------------


def test_the_seeds_are_68_papers_and_nothing_else(seeds: Path) -> None:
    papers, errors = read(seeds)
    text = seeds.read_text(encoding="utf-8")
    assert (len(papers), errors) == (68, [])
    assert len({paper.id for paper in papers}) == 68
    assert papers[0].title.startswith("Unpaired Multi-domain Attribute Translation")
    assert papers[-1].title == "Order Matters: Sequence to sequence for sets"
    blocks = [block.strip() for block in text.split("\n\n") if block.strip()]
    assert [part for p in papers for part in (p.title, p.abstract)] == blocks[5:]
    for paper in papers:
        assert "\n" not in paper.title
        assert len(paper.title) < 140 < 1_300 < len(paper.abstract)
        assert not paper.title.endswith(".")


def test_links_of_the_seeds_become_fields_and_stay_in_the_abstract(seeds: Path) -> None:
    papers, _ = read(seeds)
    with_code = [paper for paper in papers if paper.code_url]
    assert len(with_code) == 25
    for paper in with_code:
        assert paper.code_url is not None
        assert paper.code_url in paper.abstract
        assert paper.code_url[-1].isalnum()
    (filmed,) = [paper for paper in papers if paper.video_url]
    assert filmed.video_url == "https://youtu.be/gCuUyGETbTU"


@pytest.mark.parametrize("dropped", range(1, 12, 2))
def test_the_header_may_be_cut_off_anywhere(seeds: Path, tmp_path: Path, dropped: int) -> None:
    text = "".join(seeds.read_text(encoding="utf-8").splitlines(keepends=True)[dropped - 1 :])
    papers, errors = read(write(tmp_path, "cut.txt", text))
    assert (len(papers), errors) == (68, [])


def test_a_dump_may_have_dates_between_and_abstracts_of_several_paragraphs(tmp_path: Path) -> None:
    long = "A sentence that goes on for a while, as sentences do in abstracts of papers. " * 4
    text = f"noise\n\nMar 11\n\nOne\n\n{long}\n\n{long}\n\nMar 10\n\nTwo\n\n{long}"
    papers, errors = read(write(tmp_path, "dump.txt", text))
    assert [paper.title for paper in papers] == ["One", "Two"]
    assert papers[0].abstract == f"{long.strip()}\n\n{long.strip()}"
    assert errors == []


def test_a_title_without_abstract_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    long = "A sentence that goes on for a while, as sentences do in abstracts of papers. " * 4
    text = f"One\n\n{long}\n\nLonely title\n\nTwo\n\n{long}\n\nLast"
    papers, errors = read(write(tmp_path, "dump.txt", text))
    assert [paper.title for paper in papers] == ["One", "Two"]
    assert [error.line for error in errors] == [5, 11]
    assert "Lonely title" in str(errors[0])


def test_text_that_is_no_dump_is_an_error(tmp_path: Path) -> None:
    papers, (error,) = read(write(tmp_path, "notes.txt", "buy milk\n\ncall home\n"))
    assert not papers
    assert "no title followed by an abstract" in str(error)


# --- records -------------------------------------------------------------------------------------

RECORD = {
    "ID": 7,
    "Title": "A  title\n over lines",
    "ABSTRACT": ABSTRACT,
    "Authors": "Ida Moreau; Wen Zhao",
    "year": "2024",
    "URL": "https://example.org/7",
    "venue": "Journal",
    "Keywords": ["a", "b"],
    "none": None,
}


def test_every_field_is_read_whatever_the_case_of_its_name(tmp_path: Path) -> None:
    (paper,), errors = read(write(tmp_path, "p.jsonl", lines(RECORD)))
    assert not errors
    assert paper == Paper(
        id="7",
        title="A title over lines",
        abstract=ABSTRACT,
        authors=("Ida Moreau", "Wen Zhao"),
        year=2024,
        url="https://example.org/7",
        venue="Journal",
        metadata={"Keywords": ["a", "b"]},
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", lines({"title": "One", "abstract": ABSTRACT}) * 1 + "\n"),
        ("p.ndjson", "\ufeff" + lines({"title": "One", "abstract": ABSTRACT})),
        ("p.json", json.dumps([{"title": "One", "abstract": ABSTRACT}], indent=2)),
        ("p.json", json.dumps({"title": "One", "abstract": ABSTRACT}, indent=2)),
        ("p.jsonl", json.dumps([{"title": "One", "abstract": ABSTRACT}])),
        ("p.csv", f'title,abstract\nOne,"{ABSTRACT}"\n'),
        ("p.csv", f'\ufeffTitle;Abstract\r\nOne;"{ABSTRACT}"\r\n'),
        ("p.tsv", f"\n\ntitle\tabstract\tyear\nOne\t{ABSTRACT}\n"),
    ],
)
def test_one_paper_in_every_format(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path, name, content)) == ([Paper("one", "One", ABSTRACT)], [])


@pytest.mark.parametrize(
    ("authors", "expected"),
    [
        (["A. One", "B. Two "], ("A. One", "B. Two")),
        ("A. One; B. Two;", ("A. One", "B. Two")),
        ("A. One and B. Two", ("A. One", "B. Two")),
        ("One, A. and Two, B.", ("One, A.", "Two, B.")),
        ("Anderson, Brand", ("Anderson, Brand",)),
        ("", ()),
        (None, ()),
    ],
)
def test_authors(tmp_path: Path, authors: object, expected: tuple[str, ...]) -> None:
    record = {"title": "One", "abstract": ABSTRACT, "authors": authors}
    (paper,), _ = read(write(tmp_path, "p.jsonl", lines(record)))
    assert paper.authors == expected


def test_what_is_no_web_address_is_kept_but_never_a_link(tmp_path: Path) -> None:
    record = {"title": "One", "abstract": ABSTRACT, "url": "javascript:alert(1)"}
    (paper,), _ = read(write(tmp_path, "p.jsonl", lines(record)))
    assert paper.url is None
    assert paper.metadata == {"url": "javascript:alert(1)"}


GOOD = {"title": "Good", "abstract": ABSTRACT}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{broken", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"title": "", "abstract": "x"}', "the title is empty"),
        (b'{"abstract": "x"}', "the title is empty"),
        (b'{"title": "T", "abstract": " \\n"}', "the abstract is empty"),
        (b'{"title": "T"}', "the abstract is empty"),
        (b'{"title": 3, "abstract": "x"}', "the title is not text"),
        (b'{"title": "T", "abstract": ["x"]}', "the abstract is not text"),
        (b'{"title": "T", "abstract": "x", "year": "soon"}', 'the year "soon" is not a number'),
        (b'{"title": "T", "abstract": "x", "year": true}', "is not a number"),
        (b'{"title": "T", "abstract": "x", "year": NaN}', "is not a number"),
        (b'{"title": "T", "abstract": "x", "year": -3}', "is not a number"),
        (b'{"title": "T", "abstract": "x", "id": 1.5}', "the id is neither"),
        (b'{"title": "T", "abstract": "x", "id": "a\\nb"}', "the id is longer"),
        (b'{"title": "T", "abstract": "x", "authors": 5}', "the authors are neither"),
        (b'{"title": "T", "abstract": "half \\ud83d"}', "half a character"),
        (b'{"title": "T", "abstract": "nul \\u0000"}', "NUL"),
        (b'{"title": "T", "abstract": "x", "k": {"d": ["\\ud83d"]}}', "half a character"),
        ('{"title": "T", "abstract": "é"}'.encode("latin-1"), "not UTF-8 (byte 0xE9)"),
        (b'{"title": "T", "abstract": "' + b"x" * 1_000_001 + b'"}', "longer than 1,000,000"),
        (b'{"title": "T", "abstract": "x", "year": 1' + b"0" * 5000 + b"}", "not"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line_and_the_good_ones_are_read(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    good = json.dumps(GOOD).encode()
    other = json.dumps(GOOD | {"title": "Other"}).encode()
    path = write(tmp_path, "p.jsonl", good + b"\n" + bad + b"\n" + other + b"\n")
    papers, (error,) = read(path)
    assert [paper.title for paper in papers] == ["Good", "Other"]
    assert (error.path, error.line) == (str(path), 2)
    assert reason in error.reason
    assert str(error).startswith(f"{path}:2: ")
    assert error.hint


def test_a_damaged_first_line_does_not_spoil_the_rest(tmp_path: Path) -> None:
    papers, (error,) = read(write(tmp_path, "p.jsonl", "{oops}\n" + lines(GOOD)))
    assert [paper.title for paper in papers] == ["Good"]
    assert error.line == 1


def test_a_mistake_within_a_json_list_keeps_what_is_before_it(tmp_path: Path) -> None:
    path = write(tmp_path, "p.json", f"[\n{json.dumps(GOOD)},\n{{oops}}\n]")
    papers, (error,) = read(path)
    assert ([paper.title for paper in papers], error.line) == (["Good"], 3)


CSV_HEAD = "title,abstract,year\nGood,fine,2020\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("T,a,b,c\n", "4 fields, but the header names 3"),
        ("T,a,soon\n", 'the year "soon"'),
        (",a,2020\n", "the title is empty"),
        ("T\n", "the abstract is empty"),
        ("T,nul \0,2020\n", "NUL"),
        ('T,"a"b,2020\n', "not valid CSV"),
        (f"T,{'x' * 1_000_100},2020\n", "longer than 1,000,000"),
    ],
)
def test_a_bad_row_is_named_and_the_next_is_read(tmp_path: Path, row: str, reason: str) -> None:
    papers, (error,) = read(write(tmp_path, "p.csv", CSV_HEAD + row + "Other,fine,\n"))
    assert [paper.title for paper in papers] == ["Good", "Other"]
    assert error.line == 3
    assert reason in error.reason


def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path: Path) -> None:
    papers, (error,) = read(write(tmp_path, "p.csv", CSV_HEAD + 'T,"open\nmore\nmore\n'))
    assert [paper.title for paper in papers] == ["Good"]
    assert error.line == 3
    assert "never closed" in error.reason


def test_a_record_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    rows = 'title,abstract\nOne,"a\nb\nc"\n,"x\ny"\n'
    papers, (error,) = read(write(tmp_path, "p.csv", rows))
    assert (papers[0].abstract, error.line) == ("a\nb\nc", 5)


def test_a_long_field_is_read(tmp_path: Path) -> None:
    long = "word " * 100_000
    papers, errors = read(write(tmp_path, "p.csv", f'title,abstract\nOne,"{long}"\n'))
    assert (papers[0].abstract, errors) == (long, [])


def test_a_missing_column_is_one_error_that_names_it(tmp_path: Path) -> None:
    papers, (error,) = read(write(tmp_path, "p.csv", "title,notes\nA,b\nC,d\n"))
    assert not papers
    assert 'no column "abstract"' in error.reason
    assert "title, notes" in error.reason
    assert "--map abstract=COLUMN" in error.hint
    assert error.line == 1


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "txt", "other"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", "x".encode("utf-16")])
def test_a_file_without_text_is_one_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    papers, (error,) = read(write(tmp_path, f"p.{suffix}", content))
    assert not papers
    assert ("UTF-16" if content.startswith(b"\xff\xfe") else "empty") in error.reason


@pytest.mark.parametrize("content", ["title,abstract\n", "[]"])
def test_a_file_without_papers_is_one_error(tmp_path: Path, content: str) -> None:
    papers, (error,) = read(write(tmp_path, "p.other", content))
    assert not papers
    assert "holds no papers" in error.reason


def test_a_missing_file_is_one_error_and_the_next_is_read(tmp_path: Path) -> None:
    good = write(tmp_path, "p.jsonl", lines(GOOD))
    error, paper = read_papers([tmp_path / "nowhere.jsonl", good])
    assert isinstance(error, PaperFormatError)
    assert "no such file" in str(error)
    assert isinstance(paper, Paper)


def test_a_folder_is_all_paper_files_below_it_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b/1.jsonl", "a.jsonl", "c.JSONL", ".hidden/x.jsonl", ".x.jsonl"):
        write(tmp_path, name, lines({"title": name, "abstract": ABSTRACT}))
    write(tmp_path, "README.md", "not a paper")
    papers, errors = read(tmp_path)
    assert [paper.title for paper in papers] == ["a.jsonl", "b/1.jsonl", "c.JSONL"]
    assert errors == []


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    _, (error,) = read(tmp_path)
    assert "no paper files" in error.reason


def test_the_second_of_two_equal_ids_is_an_error_that_names_both(tmp_path: Path) -> None:
    first = write(tmp_path, "a.jsonl", lines(GOOD | {"id": "x"}))
    second = write(tmp_path, "b.jsonl", lines(GOOD, GOOD | {"id": "x", "title": "Other"}))
    papers, (error,) = read(tmp_path)
    assert [paper.id for paper in papers] == ["x", "good"]
    assert f"{first}:1" in error.reason
    assert (error.path, error.line) == (str(second), 2)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", lines(GOOD))
    assert len(list(read_papers([path, tmp_path, str(path)]))) == 1


def test_ids_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    titles = ["C++", "C#", "Pointer Networks", "x" * 90, "x" * 91]
    paths = [
        write(tmp_path, f"{n}.jsonl", lines({"title": title, "abstract": ABSTRACT}))
        for n, title in enumerate(titles)
    ]

    def ids(order: Sequence[Path]) -> dict[str, str]:
        return {p.title: p.id for p in read_papers(order) if isinstance(p, Paper)}

    assert ids(paths) == ids(paths[::-1])
    assert len(set(ids(paths).values())) == len(titles)


@pytest.mark.parametrize(
    "text",
    [
        lines(GOOD),
        "\n\n  [" + json.dumps(GOOD) + "]",
        f"abstract,title\n{ABSTRACT!r},Good\n".replace("'", '"'),
        f"header\n\nGood\n\n{ABSTRACT * 10}\n",
    ],
)
def test_the_format_of_standard_input_is_told_by_its_beginning(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    (paper,) = read_papers(["-"])
    assert isinstance(paper, Paper)
    assert paper.title == "Good"
    assert not stream.buffer.closed


class CountingStream(io.RawIOBase):
    """Endless JSON Lines; counts what has been read of them."""

    def __init__(self) -> None:
        self.served = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        line = lines({"title": f"Paper {self.served}", "abstract": ABSTRACT}).encode()
        buffer[: len(line)] = line
        self.served += len(line)
        return len(line)


def test_records_are_read_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = CountingStream()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(stream)))
    assert isinstance(next(read_papers(["-"])), Paper)
    assert stream.served < 100_000


@given(
    content=st.binary(max_size=300)
    | st.text('{}[]",:\\ntileabsrc \x00', max_size=120).map(lambda text: text.encode()),
    suffix=st.sampled_from(["jsonl", "json", "csv", "tsv", "txt", "bin"]),
)
def test_any_bytes_give_papers_or_errors_and_never_a_crash(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    papers, errors = read(write(tmp_path, f"p.{suffix}", content))
    assert papers or errors
    for paper in papers:
        assert paper.title.strip()
        assert paper.abstract.strip()
        paper.fingerprint.encode()

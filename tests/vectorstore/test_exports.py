"""What is exported and read again by the real readers gives the same papers."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.vectorstore import samples
from tests.vectorstore.synthetic import synthetic
from vectorstore import Paper, read_papers
from vectorstore.sources.bibliographies import decode_latex
from vectorstore.sources.exports import EXPORTERS, latex

SUFFIXES = {"bibtex": "bib", "csl-json": "json", "jsonl": "jsonl"}
_FIELDS = (
    "id", "title", "abstract", "authors", "year", "url", "venue", "code_url", "video_url",
)  # fmt: skip
_NUMBERS = ("doi", "arxiv_id")


def read(path: Path) -> list[Paper]:
    found = list(read_papers([path]))
    papers = [each for each in found if isinstance(each, Paper)]
    assert papers == found
    return papers


def there_and_back(papers: Sequence[Paper], form: str, folder: Path) -> list[Paper]:
    path = folder / f"back.{SUFFIXES[form]}"
    path.write_text("".join(EXPORTERS[form](papers)), encoding="utf-8")
    return read(path)


def same(paper: Paper, *, blanks: bool) -> dict[str, Any]:
    """What a bibliography says of a paper, with its white space or without."""
    values = {name: getattr(paper, name) for name in _FIELDS}
    values |= {name: paper.metadata.get(name) for name in _NUMBERS}
    if blanks:
        return values
    return {
        name: " ".join(value.split()) if isinstance(value, str) else value
        for name, value in values.items()
    }


# Characters and pieces that some format gives a meaning to.
pieces = st.sampled_from(
    [
        "\\", "{", "}", "$", "$x^2_i$", "$\\alpha > 5\\%$", "$5 and $6", "$a{b$", "\\$5", "%", "&",
        "#", "_", "~", "^", "--", "---", "``", "''", '"', "'", "@article{x,", "=", ",", "\n\n",
        "\n", "\\emph{it}", "\\textbackslash", "{\\textbackslash}", "\\par", "\\'e", "{\\\"o}", "é",
        "Ł", "ß", "–", "…", "“a”", "x\u0301", "BenchX", "GPT-4", "A", "X-Ray", "中文", "😀", "<b>",
        "?`",
        "https://example.org/a_b?c=~d#e", " and ", "others", "\\begin{x}", "ER  - ", "{}", "\\\\",
    ]
)  # fmt: skip
letters = st.text(st.characters(exclude_categories=["C"]), max_size=8)
texts = st.lists(pieces | letters | st.just(" "), min_size=1, max_size=8).map("".join)
prose = texts.filter(str.strip)
names = st.one_of(
    st.sampled_from(
        [
            "Ashish Vaswani", "Jan van der Berg", "Martin Luther King Jr.", "al-Khwarizmi",
            "The ATLAS Collaboration", "H1 Collaboration", "Cher", "J. K. Rowling", "King, Martin",
            "Charles de la Vallée Poussin", "Simon and Garfunkel", "Jean-Pierre d'Alembert",
            "AT&T Labs", "Li Wei III", "ludwig van Beethoven", "Barnes and Noble, Inc.",
            "{Curly", "O'Neil", "van Gogh",
        ]
    ),
    prose.filter(lambda text: "others" not in text.lower()),
)  # fmt: skip
records = st.fixed_dictionaries(
    {"title": prose, "abstract": prose},
    optional={
        "id": st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
        | st.sampled_from(["a b", "x,y", "{z}", "1706.03762v7", "doi:10.1/x", "ünï", "A", "a"]),
        "authors": st.lists(names, max_size=4),
        "year": st.integers(1500, 2099),
        "venue": prose,
        "url": st.sampled_from(["https://example.org/a_b~c%20d#e", "http://x.org/{a}", "ftp://x"]),
        "doi": st.sampled_from(["10.1000/ABC_d", "10.1000/(x)y%z"]),
        "arxiv_id": st.sampled_from(["1706.03762", "hep-th/9901001v2"]),
        "code_url": st.just("https://github.com/a/b_c"),
        "keywords": st.lists(prose, max_size=2),
        "type": st.sampled_from(["article", "inproceedings", "thesis", "x", "paper-conference"]),
    },
)
HERE = settings(
    suppress_health_check=list(HealthCheck), max_examples=settings().max_examples * 3 // 2
)


@HERE
@given(record=records)
@pytest.mark.parametrize("form", EXPORTERS)
def test_a_paper_comes_back(tmp_path: Path, form: str, record: dict[str, Any]) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    papers = read(path)
    back = there_and_back(papers, form, tmp_path)
    if form == "jsonl":
        assert back == papers
        assert [each.fingerprint for each in back] == [each.fingerprint for each in papers]
    else:
        blanks = form != "bibtex"
        assert [same(each, blanks=blanks) for each in back] == [
            same(each, blanks=blanks) for each in papers
        ]


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zotero.bib", samples.ZOTERO_BIBTEX),
        ("arxiv.bib", samples.ARXIV_BIBTEX),
        ("zotero.ris", samples.ZOTERO_RIS),
        ("zotero.json", samples.ZOTERO_CSL_JSON),
        ("zotero.csv", samples.ZOTERO_CSV),
        ("arxiv.jsonl", samples.ARXIV_SNAPSHOT),
        ("arxiv.xml", samples.ARXIV_ATOM),
        ("pubmed.nbib", samples.PUBMED_NBIB),
    ],
)
def test_what_other_programs_wrote_comes_back(
    tmp_path: Path, form: str, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    papers = read(path)
    blanks = form != "bibtex"
    back = there_and_back(papers, form, tmp_path)
    assert [same(each, blanks=blanks) for each in back] == [
        same(each, blanks=blanks) for each in papers
    ]
    if form == "jsonl":
        assert back == papers


def test_the_bundled_papers_come_back(tmp_path: Path, seeds: Path) -> None:
    papers = read(seeds)
    for form in EXPORTERS:
        back = there_and_back(papers, form, tmp_path)
        assert [same(each, blanks=False) for each in back] == [
            same(each, blanks=False) for each in papers
        ]


# --- JSON Lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"title": " "}, "the title is empty"),
        ({"url": "javascript:x"}, "the url is no web address"),
        ({"authors": "A; B"}, "the authors are not a list"),
        ({"year": True}, "the year True is not a number"),
        ({"id": " x"}, "the id is empty, or begins"),
        ({"metadata": {"a": "\0"}}, "NUL"),
    ],
)
def test_an_export_that_was_changed_is_checked(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "x.jsonl"
    (line,) = EXPORTERS["jsonl"]([synthetic(1)])
    path.write_text(json.dumps(json.loads(line) | change) + "\n" + line)
    error, paper = read_papers([path])
    assert reason in str(error)
    assert paper == synthetic(1)


# --- CSL-JSON ------------------------------------------------------------------------------------

# Of csl-data.json 1.0.2: what is required, and the names that are used here.
CSL_TYPES = {
    "article", "article-journal", "paper-conference", "book", "chapter", "report", "thesis",
}  # fmt: skip
CSL_STRINGS = {
    "title", "container-title", "abstract", "URL", "DOI", "volume", "number", "issue", "page",
    "publisher", "edition", "ISSN", "ISBN", "language", "keyword",
}  # fmt: skip
CSL_NAME = {"family", "given", "suffix", "non-dropping-particle", "literal"}


@HERE
@given(record=records)
def test_csl_json_is_what_its_schema_says(tmp_path: Path, record: dict[str, Any]) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    (item,) = json.loads("".join(EXPORTERS["csl-json"](read(path))))
    assert isinstance(item.pop("id"), str)
    assert item.pop("type") in CSL_TYPES
    for name in item.pop("author", []):
        assert name.keys() <= CSL_NAME
        assert all(isinstance(part, str) and part for part in name.values())
    date = item.pop("issued", {"date-parts": [[2000]]})
    assert date.keys() == {"date-parts"}
    assert isinstance(date["date-parts"][0][0], int)
    assert isinstance(item.pop("custom", {}), dict)
    assert item.keys() <= CSL_STRINGS
    assert all(isinstance(value, str) for value in item.values())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "Jan van der Berg",
            {"given": "Jan", "non-dropping-particle": "van der", "family": "Berg"},
        ),
        ("Martin L. King Jr.", {"given": "Martin L.", "family": "King", "suffix": "Jr."}),
        ("The ATLAS Collaboration", {"literal": "The ATLAS Collaboration"}),
        ("Cher", {"literal": "Cher"}),
    ],
)
def test_names_are_taken_apart(name: str, parts: dict[str, str]) -> None:
    paper = Paper("x", "T", "A.", authors=(name,))
    (item,) = json.loads("".join(EXPORTERS["csl-json"]([paper])))
    assert item["author"] == [parts]


def test_no_papers_are_an_empty_file_of_the_format() -> None:
    texts = {form: "".join(export([])) for form, export in EXPORTERS.items()}
    assert texts == {"bibtex": "", "csl-json": "[]\n", "jsonl": ""}


# --- BibTeX --------------------------------------------------------------------------------------


@settings(max_examples=4 * settings().max_examples)
@given(text=texts, title=st.booleans())
@example(text="costs $5 and $6", title=False)
def test_latex_is_undone_by_the_reader(text: str, title: bool) -> None:
    written = latex(text, title=title)
    assert decode_latex(written).split() == text.split()
    # BibTeX counts braces; LaTeX takes no bare sign outside a formula.
    assert written.count("{") == written.count("}")
    outside = re.sub(r"(?<!\\)\$(?:[^$\\]|\\.)*\$", "", written)
    assert not re.search(r"(?<!\\)[$&%#_]|[\^~]", outside)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10% of R&D_x #1", r"10\% of R\&D\_x \#1"),
        ("$R^3$ in {R}", r"$R^3$ in {\textbraceleft}R{\textbraceright}"),
        ("$5 and $6", r"\$5 and \$6"),
        (r"\emph", r"{\textbackslash}emph"),
        ("a -- b", "a -{}- b"),
        ("one\n\ntwo\nthree", r"one \par two three"),
    ],
)
def test_text_for_latex(text: str, written: str) -> None:
    assert latex(text) == written


def test_a_brace_that_bibtex_would_count_is_encoded_in_an_address(tmp_path: Path) -> None:
    paper = Paper("x", "T", "A.", url="https://x.org/{a", metadata={"doi": "10.1000/{b}c"})
    (back,) = there_and_back([paper], "bibtex", tmp_path)
    assert (back.url, back.metadata["doi"]) == ("https://x.org/%7Ba", "10.1000/{b}c")


def test_a_style_changes_no_name_in_a_title() -> None:
    assert latex("BenchX and GPT-4 for a Chest X-Ray", title=True) == (
        "{BenchX} and {GPT}-4 for a Chest {X}-Ray"
    )


def entries(papers: Sequence[Paper]) -> list[tuple[str, str]]:
    text = "".join(EXPORTERS["bibtex"](papers))
    return re.findall(r"^@(\w+)\{([^\s,]+),$", text, re.MULTILINE)


def test_keys_are_ids_where_they_can_be_and_unique() -> None:
    ids = ["Vaswani2017", "vaswani2017", "1706.03762v7", "a b", "a,b", "a-b", "ünï", "%", "中"]
    keys = [key for _, key in entries([Paper(each, each, "A.") for each in ids])]
    assert keys[:3] == ["Vaswani2017", "vaswani2017-2", "1706.03762v7"]
    assert keys[3:] == ["a-b", "a-b-2", "a-b-3", "uni", "paper", "paper-2"]


@HERE
@given(ids=st.lists(st.text("aAbB é,%-2", min_size=1).filter(str.strip), unique=True))
def test_no_two_keys_are_equal_for_bibtex(tmp_path: Path, ids: list[str]) -> None:
    made = [Paper(each, f"T{n}", "A.") for n, each in enumerate(map(str.strip, ids))]
    papers = list({paper.id: paper for paper in made}.values())
    keys = [key.lower() for _, key in entries(papers)]
    assert len(set(keys)) == len(keys) == len(papers)
    if papers:
        back = there_and_back(papers, "bibtex", tmp_path)
        assert [each.id for each in back] == [each.id for each in papers]


@pytest.mark.parametrize(
    ("venue", "metadata", "kind"),
    [
        (None, {}, "misc"),
        ("Nature", {}, "article"),
        ("Proceedings of X", {}, "inproceedings"),
        ("Advances in Y", {"type": "article-journal"}, "article"),
        (None, {"type": "phdthesis"}, "phdthesis"),
    ],
)
def test_the_kind_of_an_entry(venue: str | None, metadata: dict[str, Any], kind: str) -> None:
    paper = Paper("x", "T", "A.", venue=venue, metadata=metadata)
    assert entries([paper]) == [(kind, "x")]


@pytest.mark.parametrize("form", EXPORTERS)
def test_memory_does_not_grow_with_an_export(form: str) -> None:
    export: Callable[..., Any] = EXPORTERS[form]
    sum(len(part) for part in export([synthetic(0)]))
    tracemalloc.start()
    size = sum(len(part) for part in export(synthetic(number) for number in range(600)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 600_000
    assert peak < 300_000


def test_an_empty_cell_of_a_table_is_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"title": "T", "abstract": "A.", "score": NaN, "other": 1.5}')
    (paper,) = read(path)
    assert paper.metadata == {"other": 1.5}

"""Files as the programs of researchers write them, to papers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectorstore import samples
from vectorstore import Paper, PaperFormatError, read_papers
from vectorstore.sources.bibliographies import decode_latex
from vectorstore.sources.compression import RecordStream, UnreadableError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TRANSFORMER = samples.ABSTRACT
NIPS = "Advances in Neural Information Processing Systems"
ADDRESS = "https://proceedings.neurips.cc/paper/7181"


def read(*paths: Path, **options: Any) -> tuple[list[Paper], list[PaperFormatError]]:
    found = list(read_papers(paths, **options))
    papers = [item for item in found if isinstance(item, Paper)]
    return papers, [item for item in found if isinstance(item, PaperFormatError)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def papers_of(folder: Path, name: str, content: str | bytes) -> list[Paper]:
    papers, errors = read(write(folder, name, content))
    assert errors == []
    return papers


# --- bibliographies ------------------------------------------------------------------------------


def test_bibtex_of_zotero(tmp_path: Path) -> None:
    first, second = papers_of(tmp_path, "library.bib", samples.ZOTERO_BIBTEX)
    assert first.id == "vaswani_attention_2017"
    assert first.title == "Attention is All you Need"
    assert first.abstract == TRANSFORMER
    assert first.authors == ("Ashish Vaswani", "Noam Shazeer", "Łukasz Kaiser")
    assert (first.year, first.venue, first.url) == (2017, NIPS, ADDRESS)
    assert second.title == r"10% of Müller's Co$_{2}$ \& Études"
    assert second.abstract == (
        "We improve by 10% over Müller & co., at a cost of $5. "
        "Code: https://github.com/mueller/etudes."
    )
    assert second.authors == ("Jörg Müller", "Jan van der Berg Jr.", "The ATLAS Collaboration")
    assert second.venue == "Journal of Café Studies"
    assert second.url == "https://doi.org/10.1000/xyz123"
    assert second.code_url == "https://github.com/mueller/etudes"
    assert second.metadata["doi"] == "10.1000/xyz123"
    assert second.metadata["keywords"] == "coffee, études"


def test_bibtex_of_arxiv(tmp_path: Path) -> None:
    (paper,) = papers_of(tmp_path, "one.bib", samples.ARXIV_BIBTEX)
    assert (paper.url, paper.metadata["arxiv_id"]) == (
        "https://arxiv.org/abs/1706.03762",
        "1706.03762",
    )


def test_bibtex_has_macros_comments_and_quoted_and_joined_fields(tmp_path: Path) -> None:
    text = (
        "@comment{nothing}\n@preamble{{x}}\n@string{jml = {Journal of ML}}\n"
        'Text between.\n@article{a,title="A",abstract="One" # " two",journal=jml, year=2001}\n'
    )
    (paper,) = papers_of(tmp_path, "a.bib", text)
    assert (paper.abstract, paper.venue, paper.year) == ("One two", "Journal of ML", 2001)


@pytest.mark.parametrize(
    "bad", ["@article{b, title = {open\n", "@article{b, title = }\n", "@article{b, =}\n"]
)
def test_a_damaged_entry_spoils_no_other(tmp_path: Path, bad: str) -> None:
    good = "@misc{{{0}, title={{{0}}}, abstract={{Fine.}}}}\n"
    path = write(tmp_path, "a.bib", good.format("a") + bad + good.format("c"))
    papers, (error,) = read(path)
    assert [paper.id for paper in papers] == ["a", "c"]
    assert error.line == 2
    assert "not valid BibTeX" in error.reason
    assert str(error).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"Erd\H{o}s, Mu\~noz, na\"ive, {\O}re, Stra\ss e", "Erdős, Muñoz, naïve, Øre, Straße"),
        (r"a 5% gain over {GPT}-3 --- ``so''", "a 5% gain over GPT-3 — “so”"),
        (r"the $O(n^{2})$ of \emph{x\_1} costs \$5", "the $O(n^{2})$ of x_1 costs $5"),
        (r"a {\textbackslash}\{set\} of 50\%", r"a \{set} of 50%"),
        (r"unbalanced { stays", "unbalanced  stays"),
        (r"x < y & z # 1", "x < y & z # 1"),
    ],
)
def test_latex_is_decoded(latex: str, text: str) -> None:
    assert decode_latex(latex) == text


def test_ris_of_zotero(tmp_path: Path) -> None:
    first, second = papers_of(tmp_path, "library.ris", samples.ZOTERO_RIS)
    assert first.authors == ("Ashish Vaswani", "Noam Shazeer", "Martin Luther King Jr.")
    assert (first.title, first.abstract) == ("Attention is All you Need", TRANSFORMER)
    assert (first.year, first.venue, first.url) == (2017, NIPS, ADDRESS)
    assert first.metadata["keywords"] == ["attention", "translation"]
    assert second == Paper(
        id=second.id,
        title="Études of coffee",
        abstract="We improve by 10%.",
        authors=("Jörg Müller",),
        year=2020,
        url="https://doi.org/10.1000/xyz123",
        venue="Journal of Café Studies",
        metadata=second.metadata,
    )


def test_a_ris_record_without_end_is_named(tmp_path: Path) -> None:
    good = "TY  - JOUR\nTI  - {}\nAB  - Fine.\nER  - \n"
    bad = "TY  - JOUR\nTI  - Open\n"
    papers, (error,) = read(write(tmp_path, "a.ris", good.format("A") + bad + good.format("C")))
    assert [paper.title for paper in papers] == ["A", "C"]
    assert (error.line, error.reason) == (5, 'the record has no line "ER  -"')


def test_csl_json_of_zotero(tmp_path: Path) -> None:
    first, second = papers_of(tmp_path, "library.json", samples.ZOTERO_CSL_JSON)
    assert first.authors == ("Ashish Vaswani", "Jan van der Berg", "The ATLAS Collaboration")
    assert (first.year, first.venue, first.url) == (2017, NIPS, ADDRESS)
    assert (second.year, second.url) == (2020, "https://doi.org/10.1000/xyz123")


@pytest.mark.parametrize("name", ["pubmed.nbib", "pubmed.txt", "pubmed"])
def test_medline_of_pubmed(tmp_path: Path, name: str) -> None:
    first, second = papers_of(tmp_path, name, samples.PUBMED_NBIB)
    assert first.id == "pmid-38012345"
    assert first.title.endswith("trial in three hospitals.")
    assert first.abstract.startswith("BACKGROUND: Radiographs are read by few. METHODS: We")
    assert first.authors == ("Ida Moreau", "Wen Zhao", "The CHEST Group")
    assert (first.year, first.venue) == (2023, "Nature")
    assert first.url == "https://doi.org/10.1038/s41586-023-00001-1"
    assert first.metadata["mesh_terms"] == ["*Deep Learning", "Humans"]
    assert (second.year, second.venue) == (1998, "Lancet")
    assert second.url == "https://pubmed.ncbi.nlm.nih.gov/38012346/"


# --- XML -----------------------------------------------------------------------------------------


def test_atom_of_the_arxiv_api(tmp_path: Path) -> None:
    first, second = papers_of(tmp_path, "arxiv.xml", samples.ARXIV_ATOM)
    assert first == Paper(
        id="1706.03762",
        title="Attention Is All You Need",
        abstract="The dominant sequence transduction models are based on complex recurrent "
        "networks.\n\nWe propose the Transformer & more.",
        authors=("Ashish Vaswani", "Noam Shazeer"),
        year=2017,
        url="https://arxiv.org/abs/1706.03762v7",
        metadata={
            "published": "2017-06-12T17:57:34Z",
            "updated": "2023-08-02T00:41:18Z",
            "comment": "15 pages, 5 figures",
            "categories": ["cs.CL", "cs.LG"],
            "arxiv_id": "1706.03762v7",
        },
    )
    assert (second.id, second.year) == ("hep-ex/0307015", 2003)
    assert second.venue == "Eur.Phys.J. C31 (2003) 17-29"
    assert second.metadata["doi"] == "10.1140/epjc/s2003-01326-x"


def test_oai_of_arxiv(tmp_path: Path) -> None:
    (paper,) = papers_of(tmp_path, "oai.xml", samples.ARXIV_OAI)
    assert (paper.id, paper.year) == ("0704.0004", 2007)
    assert paper.title.endswith("acyclic single-source automata")
    assert paper.abstract.endswith("unlabeled acyclic single-source automata.")
    assert paper.authors == ("David Callan",)
    assert paper.url == "https://arxiv.org/abs/0704.0004"
    assert paper.metadata["categories"] == ["math.CO", "math.NT"]


def test_oai_in_dublin_core(tmp_path: Path) -> None:
    (paper,) = papers_of(tmp_path, "dc.xml", samples.DUBLIN_CORE)
    assert (paper.id, paper.year) == ("0704.0002", 2007)
    assert paper.authors == ("Ileana Streinu", "Louis Theran")
    assert paper.abstract == "We describe a new algorithm, the pebble game."


def test_xml_of_pubmed(tmp_path: Path) -> None:
    first, second = papers_of(tmp_path, "pubmed.xml", samples.PUBMED_XML)
    assert first.title == "Deep learning for chest radiographs."
    assert first.abstract == ("BACKGROUND: Radiographs are read by few. RESULTS: CO2 fell by 4%.")
    assert first.authors == ("Ida Moreau", "The CHEST Group")
    assert (first.id, first.year, first.venue) == ("pmid-38012345", 2023, "Nature")
    assert first.metadata["doi"] == "10.1038/s41586-023-00001-1"
    assert first.metadata["keywords"] == ["radiography"]
    assert (second.year, second.metadata.get("doi")) == (1998, None)


@pytest.mark.parametrize("text", [samples.BILLION_LAUGHS, samples.EXTERNAL_ENTITY])
def test_entities_are_refused(tmp_path: Path, text: str) -> None:
    papers, (error,) = read(write(tmp_path, "bomb.xml", text))
    assert not papers
    assert "never expanded" in error.reason


def test_xml_that_is_cut_off_keeps_what_is_before(tmp_path: Path) -> None:
    path = write(tmp_path, "a.xml", samples.ARXIV_ATOM[:-300])
    papers, (error,) = read(path)
    assert [paper.id for paper in papers] == ["1706.03762"]
    assert str(error).startswith(f"{path}, record 2: not valid XML")


def test_a_bad_xml_record_is_named_by_its_number(tmp_path: Path) -> None:
    text = samples.ARXIV_ATOM.replace("Attention Is All\n  You Need", " ")
    (paper,), (error,) = read(write(tmp_path, "a.xml", text))
    assert paper.id == "hep-ex/0307015"
    assert (error.line, error.record, error.reason) == (None, 1, "the title is empty")


def test_xml_of_another_kind_names_its_root(tmp_path: Path) -> None:
    _, (error,) = read(write(tmp_path, "page.xml", "<html><body>Hi</body></html>"))
    assert "<html>" in error.reason


# --- tables --------------------------------------------------------------------------------------


def test_csv_of_zotero_is_read_and_the_guess_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "papers.csv", samples.ZOTERO_CSV)
    notices: list[str] = []
    (paper,), errors = read(path, notice=notices.append)
    assert errors == []
    assert (paper.title, paper.abstract) == ("Attention is All you Need", TRANSFORMER)
    assert paper.authors == ("Ashish Vaswani", "Noam Shazeer")
    assert (paper.year, paper.venue, paper.url) == (2017, NIPS, ADDRESS)
    assert paper.metadata["Manual Tags"] == "attention"
    assert notices == [
        f'{path}: abstract = "Abstract Note", authors = "Author", year = "Publication Year", '
        'venue = "Publication Title" (--map FIELD=COLUMN to change)'
    ]


def test_the_arxiv_snapshot(tmp_path: Path) -> None:
    (paper,) = papers_of(tmp_path, "arxiv.jsonl", samples.ARXIV_SNAPSHOT)
    assert paper.id == "0704.0001"
    assert paper.title.endswith("at Tevatron and LHC energies")
    assert paper.abstract == (
        "A fully differential calculation in perturbative quantum chromodynamics is presented for "
        "the production of massive photon pairs.\n\n"
        "Good agreement is shown with data from the Fermilab Tevatron."
    )
    assert paper.authors == ("C. Balázs", "E. L. Berger", "M. L. King Jr.")
    assert (paper.year, paper.venue) == (2007, "Phys.Rev.D76:013009,2007")
    assert paper.url == "https://arxiv.org/abs/0704.0001"
    assert paper.metadata["doi"] == "10.1103/PhysRevD.76.013009"
    assert paper.metadata["categories"] == "hep-ph"


def test_daily_papers_of_hugging_face(tmp_path: Path) -> None:
    inner = {
        "id": "2401.00001",
        "authors": [{"_id": "1", "name": "Ida Moreau", "hidden": False}],
        "publishedAt": "2024-01-01T00:00:00.000Z",
        "title": "One",
        "summary": "We do.",
        "upvotes": 3,
    }
    daily = [{"paper": inner, "publishedAt": "2024-01-02", "title": "One", "numComments": 1}]
    (paper,) = papers_of(tmp_path, "daily.json", json.dumps(daily))
    assert (paper.id, paper.abstract, paper.authors) == ("2401.00001", "We do.", ("Ida Moreau",))
    assert (paper.year, paper.url) == (2024, "https://arxiv.org/abs/2401.00001")


def table() -> pa.Table:
    return pa.table(
        {
            "arxiv_id": ["2401.00001", "2401.00002"],
            "title": ["One", "Two"],
            "summary": ["First.", "Second."],
            "authors": [["Ida Moreau", "Wen Zhao"], ["B. Two"]],
            "date": pa.array(["2024-01-01", "2023-05-01"]).cast(pa.timestamp("s")),
            "image": [b"\x89PNG", b""],
            "upvotes": [3, 4],
        }
    )


def parquet(data: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(data, stream)
    return stream.getvalue()


def arrow(data: pa.Table, writer: Callable[..., Any]) -> bytes:
    stream = io.BytesIO()
    with writer(stream, data.schema) as file:
        file.write_table(data, max_chunksize=1)
    return stream.getvalue()


TABLES = [
    ("p.parquet", parquet(table())),
    ("p", parquet(table())),
    ("p.arrow", arrow(table(), pa.ipc.new_stream)),
    ("p.feather", arrow(table(), pa.ipc.new_file)),
    ("p.parquet.zst", zstd.compress(parquet(table()))),
]


@pytest.mark.parametrize(("name", "content"), TABLES)
def test_a_dataset_of_hugging_face(tmp_path: Path, name: str, content: bytes) -> None:
    first, second = papers_of(tmp_path, name, content)
    assert first == Paper(
        id="one",
        title="One",
        abstract="First.",
        authors=("Ida Moreau", "Wen Zhao"),
        year=2024,
        url="https://arxiv.org/abs/2401.00001",
        metadata={"date": "2024-01-01T00:00:00", "upvotes": 3, "arxiv_id": "2401.00001"},
    )
    assert second.year == 2023


def test_a_bad_row_is_named_by_its_number(tmp_path: Path) -> None:
    data = pa.table({"title": ["One", None, "Three"], "abstract": ["a", "b", "c"]})
    path = write(tmp_path, "p.parquet", parquet(data))
    papers, (error,) = read(path)
    assert [paper.title for paper in papers] == ["One", "Three"]
    assert str(error) == f"{path}, record 2: the title is empty"


def test_text_that_is_not_utf8_in_one_row_spoils_no_other(tmp_path: Path) -> None:
    broken = pa.array([b"a", b"\xff", b"c"]).cast(pa.binary()).view(pa.string())
    data = pa.table({"title": ["One", "Two", "Three"], "abstract": broken})
    papers, (error,) = read(write(tmp_path, "p.parquet", parquet(data)))
    assert [paper.title for paper in papers] == ["One", "Three"]
    assert (error.record, "cannot be read" in error.reason) == (2, True)


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1 junk", parquet(table())[:-40], b"ARROW1  "])
def test_a_damaged_table_is_one_error(tmp_path: Path, content: bytes) -> None:
    papers, (error,) = read(write(tmp_path, "p", content))
    assert not papers
    assert "not valid" in error.reason


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_a_map_wins_over_names_and_guesses(tmp_path: Path, name: str) -> None:
    row = {"title": "no", "headline": "One", "abstract": "no", "text": "Yes.", "when": "May 2001"}
    if name.endswith("csv"):
        content = f"{','.join(row)}\n{','.join(row.values())}\n".encode()
    elif name.endswith("jsonl"):
        content = json.dumps(row).encode()
    else:
        content = parquet(pa.table({key: [value] for key, value in row.items()}))
    columns = {"title": "Headline", "abstract": "text", "year": "when"}
    notices: list[str] = []
    (paper,), errors = read(write(tmp_path, name, content), columns=columns, notice=notices.append)
    assert (errors, notices) == ([], [])
    assert (paper.title, paper.abstract, paper.year) == ("One", "Yes.", 2001)
    assert paper.metadata == {"title": "no", "abstract": "no", "when": "May 2001"}


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_a_map_to_a_column_that_is_not_there_names_those_that_are(
    tmp_path: Path, name: str
) -> None:
    row = {"title": "One", "abstract": "Yes."}
    if name.endswith("csv"):
        content = b"title,abstract\nOne,Yes.\n"
    elif name.endswith("jsonl"):
        content = json.dumps(row).encode()
    else:
        content = parquet(pa.table({key: [value] for key, value in row.items()}))
    _, (error,) = read(write(tmp_path, name, content), columns={"venue": "where"})
    assert error.reason == 'no column "where" for venue; the file has: title, abstract'
    assert "--map venue=" in error.hint


def test_a_map_of_an_unknown_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no field autor"):
        read_papers([tmp_path], columns={"autor": "x"})


def test_a_guess_never_takes_the_place_of_the_fields_own_name(tmp_path: Path) -> None:
    row = {"title": "One", "name": "n", "abstract": "Yes.", "summary": "s", "url": "", "link": "l"}
    (paper,) = papers_of(tmp_path, "p.jsonl", json.dumps(row))
    assert (paper.title, paper.abstract, paper.url) == ("One", "Yes.", None)
    assert paper.metadata == {"name": "n", "summary": "s", "link": "l"}


# --- compression and detection -------------------------------------------------------------------

SAMPLES: dict[str, str | bytes] = {
    "a.bib": samples.ZOTERO_BIBTEX,
    "a.ris": samples.ZOTERO_RIS,
    "a.json": samples.ZOTERO_CSL_JSON,
    "a.csv": samples.ZOTERO_CSV,
    "a.jsonl": samples.ARXIV_SNAPSHOT,
    "a.xml": samples.ARXIV_ATOM,
    "b.xml": samples.ARXIV_OAI,
    "c.xml": samples.PUBMED_XML,
    "a.nbib": samples.PUBMED_NBIB,
    "a.parquet": parquet(table()),
    "a.arrow": arrow(table(), pa.ipc.new_stream),
    "a.feather": arrow(table(), pa.ipc.new_file),
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstd.compress,
}


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_format_is_told_by_its_beginning_from_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packing: str
) -> None:
    content = as_bytes(SAMPLES[name])
    named = papers_of(tmp_path, name, content)
    assert named
    assert papers_of(tmp_path, f"{name}{packing}", PACKINGS[packing](content)) == named

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = io.BufferedReader(Pipe(PACKINGS[packing](content)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    assert list(read_papers(["-"])) == named


@pytest.mark.parametrize("name", [name for name, text in SAMPLES.items() if isinstance(text, str)])
def test_lines_may_end_as_on_windows(tmp_path: Path, name: str) -> None:
    content = as_bytes(SAMPLES[name])
    there = papers_of(tmp_path, name, content)
    assert papers_of(tmp_path, f"crlf{name}", content.replace(b"\n", b"\r\n")) == there


def test_a_bibliography_may_begin_with_comments(tmp_path: Path) -> None:
    text = f"% Encoding: UTF-8\n\n% two\n{samples.ARXIV_BIBTEX}"
    assert [paper.id for paper in papers_of(tmp_path, "odd", text)] == ["vaswani2023attention"]


def test_packed_files_of_a_folder_are_read(tmp_path: Path) -> None:
    for packing, pack in PACKINGS.items():
        row = json.dumps({"title": f"Paper {packing}", "abstract": "Fine."})
        write(tmp_path, f"p.jsonl{packing}", pack(row.encode()))
    write(tmp_path, "archive.tar.gz", gzip.compress(b"no papers"))
    papers, errors = read(tmp_path)
    assert (len(papers), errors) == (3, [])


_random = random.Random(7)
ROWS = [
    {"title": f"Paper {n}", "abstract": f"The number is {_random.randbytes(50).hex()}."}
    for n in range(5_000)
]
MANY = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.xml", "p.bib"])
def test_a_packed_file_that_is_cut_off_keeps_what_is_before(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    if name == "p.xml":
        entry = "<entry><title>{title}</title><summary>{abstract}</summary></entry>"
        text = f"<feed>{''.join(entry.format(**row) for row in ROWS)}</feed>"
    elif name == "p.csv":
        text = "title,abstract\n" + "".join(f"{r['title']},{r['abstract']}\n" for r in ROWS)
    elif name == "p.bib":
        entry = "@misc{{{0},title={{Paper {0}}},abstract={{{1}}}}}\n"
        text = "".join(entry.format(n, row["abstract"]) for n, row in enumerate(ROWS))
    else:
        text = MANY.decode()
    packed = pack(text.encode())
    path = write(tmp_path, name, packed[: len(packed) * 3 // 4])
    papers, (error,) = read(path)
    assert 0 < len(papers) < len(ROWS)
    assert [paper.title for paper in papers] == [row["title"] for row in ROWS[: len(papers)]]
    assert "cut off or damaged" in error.reason
    assert error.path == str(path)


@pytest.mark.parametrize("content", [b"\x1f\x8b junk", b"\x28\xb5\x2f\xfdjunk", b"\x1f\x8b"])
def test_damaged_compression_is_one_error(tmp_path: Path, content: bytes) -> None:
    papers, (error,) = read(write(tmp_path, "p.jsonl.gz", content))
    assert not papers
    assert "cut off or damaged" in error.reason


def test_one_record_may_take_so_much_and_no_more() -> None:
    stream = io.BufferedReader(RecordStream(io.BytesIO(b"x" * 100_000), limit=50_000))
    with pytest.raises(UnreadableError, match="one record takes more"):
        stream.read()


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.xml", "p.bib", "p.ris", "p.nbib", "p.txt"])
def test_a_bomb_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("vectorstore.sources.papers.RecordStream", _small_stream)
    beginnings = {
        "p.jsonl": '{"title": "',
        "p.csv": 'title,abstract\n"',
        "p.xml": "<feed><entry><title>",
        "p.bib": "@misc{a, title={",
        "p.ris": "TY  - JOUR\nTI  - ",
        "p.nbib": "PMID- 1\nTI  - ",
        "p.txt": "",
    }
    path = tmp_path / f"{name}.gz"
    with gzip.open(path, "wb") as file:
        file.write(beginnings[name].encode())
        for _ in range(30):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    papers, errors = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not papers
    assert "longer than" in errors[-1].reason or "takes more than" in errors[-1].reason
    assert peak < 20_000_000


def _small_stream(stream: Any) -> RecordStream:
    return RecordStream(stream, limit=2_000_000)


# --- properties ----------------------------------------------------------------------------------

_words = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Zs")), min_size=1, max_size=9
)
_sentences = st.lists(_words, min_size=1, max_size=9).map(" ".join)
_names = st.from_regex(r"[A-ZÉŁ][a-zöß]{1,8} [A-ZÉŁ][a-zöß]{1,8}", fullmatch=True)
_papers = st.builds(
    Paper,
    id=st.from_regex(r"[a-z]{1,9}[0-9]{1,3}", fullmatch=True),
    title=_sentences,
    abstract=_sentences.map(lambda text: f"{text} "),
    authors=st.lists(_names, max_size=3).map(tuple),
    year=st.none() | st.integers(1900, 2030),
    venue=st.none() | _sentences,
)


def _row(paper: Paper) -> dict[str, Any]:
    return {
        "id": paper.id,
        "title": paper.title,
        "abstract": paper.abstract,
        "authors": list(paper.authors),
        "year": paper.year,
        "venue": paper.venue,
    }


def as_jsonl(papers: list[Paper]) -> bytes:
    return "".join(json.dumps(_row(paper)) + "\n" for paper in papers).encode()


def as_csv(papers: list[Paper]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(_row(papers[0]))
    for paper in papers:
        writer.writerow((_row(paper) | {"authors": "; ".join(paper.authors)}).values())
    return stream.getvalue().encode()


def as_parquet(papers: list[Paper]) -> bytes:
    kinds = [pa.string()] * 3 + [pa.list_(pa.string()), pa.int64(), pa.string()]
    schema = pa.schema(list(zip(_row(papers[0]), kinds, strict=True)))
    return parquet(pa.Table.from_pylist([_row(paper) for paper in papers], schema))


@pytest.mark.parametrize(
    ("suffix", "form"), [("jsonl", as_jsonl), ("csv", as_csv), ("parquet", as_parquet)]
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, form: Callable[[list[Paper]], bytes]
) -> None:
    folder = tmp_path_factory.mktemp("roundtrip")

    @given(st.lists(_papers, min_size=1, max_size=5, unique_by=lambda paper: paper.id))
    def check(papers: list[Paper]) -> None:
        found, errors = read(write(folder, f"p.{suffix}", form(papers)))
        kept = [paper.id for paper in found]
        assert all("duplicate" in error.reason for error in errors)
        assert found == [_linked(paper, found) for paper in papers if paper.id in kept]
        assert len(found) + len(errors) == len(papers)

    check()


def _linked(paper: Paper, found: list[Paper]) -> Paper:
    """The paper with the links that reading found in its abstract."""
    from dataclasses import replace

    other = next(each for each in found if each.id == paper.id)
    return replace(paper, code_url=other.code_url, video_url=other.video_url)


_LATEX = str.maketrans({char: f"\\{char}" for char in "&%$#_{}"} | {"ö": '{\\"o}', "ß": "{\\ss}"})


@given(
    title=st.lists(
        st.from_regex(r"[A-Za-zöß0-9&%$#_,.:;()+=/-]{1,9}", fullmatch=True), min_size=1, max_size=6
    ).map(" ".join),
    names=st.lists(_names, min_size=1, max_size=3),
)
def test_bibtex_that_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, title: str, names: list[str]
) -> None:
    title = title.replace("--", "-").replace("--", "-")
    cited = [", ".join(reversed(name.split())) for name in names]
    entry = (
        f"@article{{key1,\n\ttitle = {{{title.translate(_LATEX)}}},\n"
        f"\tabstract = {{{title.translate(_LATEX)}}},\n"
        f"\tauthor = {{{' and '.join(cited).translate(_LATEX)}}},\n\tyear = {{2020}},\n}}\n"
    )
    path = write(tmp_path_factory.getbasetemp(), "one.bib", entry)
    (paper,), errors = read(path)
    assert errors == []
    assert (paper.title, paper.abstract, paper.authors) == (title, title, tuple(names))


@given(
    content=st.binary(max_size=200)
    | st.text('@{}[]<>",:=-\n TYERPMIDABtiles&;#\\$%', max_size=120).map(str.encode),
    suffix=st.sampled_from(["bib", "ris", "nbib", "xml", "parquet", "arrow", "jsonl.gz"]),
)
def test_any_bytes_give_papers_or_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    papers, errors = read(write(tmp_path_factory.getbasetemp(), f"any.{suffix}", content))
    assert papers or errors


# --- memory --------------------------------------------------------------------------------------


def _generated(path: Path, count: int) -> None:
    """Write so many papers in the format that the name says."""
    rows = ({"title": f"Paper {n}", "abstract": f"We study {n}. " * 20} for n in range(count))
    if path.suffix == ".parquet":
        schema = pa.schema([("title", pa.string()), ("abstract", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, count, 1000):
                part = [next(rows) for _ in range(min(1000, count - start))]
                writer.write_table(pa.Table.from_pylist(part, schema))
        return
    with path.open("w") as file:
        for text in _texts(path.suffix, rows):
            file.write(text)


def _texts(suffix: str, rows: Iterator[dict[str, str]]) -> Iterator[str]:
    templates = {
        ".csv": ("title,abstract\n", "{title},{abstract}\n", ""),
        ".bib": ("", "@misc{{a, title={{{title}}},\nabstract={{{abstract}}}}}\n", ""),
        ".ris": ("", "TY  - JOUR\nTI  - {title}\nAB  - {abstract}\nER  - \n\n", ""),
        ".nbib": ("", "PMID- {title}\nTI  - {title}\nAB  - {abstract}\n\n", ""),
        ".xml": (
            "<feed>",
            "<entry><title>{title}</title><summary>{abstract}</summary></entry>",
            "",
        ),
        ".jsonl": ("", '{{"title": "{title}", "abstract": "{abstract}"}}\n', ""),
    }
    before, template, after = templates[suffix]
    yield before
    for row in rows:
        text = template.format(**row)
        yield text.replace("{a,", f"{{{row['title'].replace(' ', '')},")
    yield after + ("</feed>" if suffix == ".xml" else "")


def _peak(path: Path) -> tuple[int, int]:
    tracemalloc.start()
    count = sum(isinstance(item, Paper) for item in read_papers([path]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return count, peak


@pytest.mark.parametrize(
    ("suffix", "count"),
    [("jsonl", 20_000), ("csv", 4_000), ("bib", 4_000), ("ris", 4_000), ("nbib", 4_000),
     ("xml", 4_000), ("parquet", 4_000)],
)  # fmt: skip
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str, count: int) -> None:
    small, large = tmp_path / f"small.{suffix}", tmp_path / f"large.{suffix}"
    _generated(small, count // 4)
    _generated(large, count)
    assert _peak(small)[0] == count // 4  # also: what is loaded late is loaded
    (_, little), (found, much) = _peak(small), _peak(large)
    assert found == count
    assert much < little + 200_000
    assert much < 8_000_000

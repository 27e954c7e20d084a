r"""Papers to the formats of bibliographies: BibTeX, CSL-JSON, JSON Lines. The readers' counterpart.

What is written and read again gives the same papers: JSON Lines hold every field to the character;
BibTeX and CSL-JSON hold what bibliographies have a field for, BibTeX up to white space. Papers come
and go as a stream.

BibTeX is for LaTeX: signs are escaped, formulas (``$...$``) stay as they are, words with capitals
inside are braced, so that no style changes their case.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from vectorstore.sources.bibliographies import authors_of_bibtex
from vectorstore.sources.duplicates import SeenKeys
from vectorstore.sources.fields import fields_of
from vectorstore.sources.names import names_of_list
from vectorstore.types import Paper

if TYPE_CHECKING:
    from pybtex.database import Person

# What a paper is, as CSL calls it (csl-data.json 1.0.2) and as BibTeX does.
_ARTICLE, _CONFERENCE, _PREPRINT = "article-journal", "paper-conference", "article"
_BIBTEX_TYPES = {
    _ARTICLE: "article", _CONFERENCE: "inproceedings", _PREPRINT: "misc", "book": "book",
    "chapter": "incollection", "report": "techreport", "thesis": "phdthesis",
}  # fmt: skip
_TYPES = {
    **{name: csl for csl, name in _BIBTEX_TYPES.items()},
    **{csl: csl for csl in _BIBTEX_TYPES if csl != _PREPRINT},
    "conference": _CONFERENCE, "conferencepaper": _CONFERENCE, "journalarticle": _ARTICLE,
    "inbook": "chapter", "mastersthesis": "thesis", "preprint": _PREPRINT,
}  # fmt: skip
_MEETING = re.compile(
    r"\b(?:proceedings|proc\.|conference|symposium|workshop|advances in)\b", re.IGNORECASE
)
# Metadata that both have a field for: its name here in small letters, in CSL, in BibTeX.
_MORE = (
    ("volume", "volume", "volume"),
    ("number", "number", "number"),
    ("issue", "issue", "number"),
    ("page", "page", "pages"),
    ("pages", "page", "pages"),
    ("publisher", "publisher", "publisher"),
    ("edition", "edition", "edition"),
    ("issn", "ISSN", "issn"),
    ("isbn", "ISBN", "isbn"),
    ("language", "language", "language"),
    ("keywords", "keyword", "keywords"),
    ("keyword", "keyword", "keywords"),
)
_GROUP = re.compile(r"\b(?:collaboration|consortium|group|team|initiative|project)$", re.IGNORECASE)
_SUFFIX = re.compile(r"(.+) ([^ ,]+),? ((?:Jr|Sr)\.?|II|III|IV)")
_PARTICLES = re.compile(r"(?:(.+?) )?((?:[a-z'’]+\.? )*)([^ ]+)")


def export_jsonl(papers: Iterable[Paper]) -> Iterator[str]:
    """Yield a line for each paper, with all its fields; ``read_papers`` takes them as they are."""
    for paper in papers:
        yield json.dumps(fields_of(paper), ensure_ascii=False) + "\n"


# --- CSL-JSON ------------------------------------------------------------------------------------


def export_csl_json(papers: Iterable[Paper]) -> Iterator[str]:
    """Yield the parts of a CSL-JSON list (csl-data.json 1.0.2, as Zotero and pandoc read it).

    What CSL has no field for, the arXiv id and the links to code and video, is in ``custom``.
    """
    before = "[\n"
    for paper in papers:
        yield before + json.dumps(_csl_item(paper), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _csl_item(paper: Paper) -> dict[str, Any]:
    item = {
        "id": paper.id,
        "type": _csl_type(paper),
        "title": paper.title,
        "author": [_csl_name(name) for name in paper.authors],
        "issued": _csl_date(paper),
        "container-title": paper.venue,
        "abstract": paper.abstract,
        "URL": paper.url,
        "DOI": _text_of(paper.metadata.get("doi")),
        "custom": {
            name: value
            for name, value in (
                ("arxiv_id", _text_of(paper.metadata.get("arxiv_id"))),
                ("code_url", paper.code_url),
                ("video_url", paper.video_url),
            )
            if value
        },
    }
    item |= _more(paper, csl=True)
    return {name: value for name, value in item.items() if value}


def _csl_type(paper: Paper) -> str:
    said = _TYPES.get(str(paper.metadata.get("type", "")).lower())
    if said:
        return said
    if not paper.venue:
        return _PREPRINT
    return _CONFERENCE if _MEETING.search(paper.venue) else _ARTICLE


def _csl_date(paper: Paper) -> dict[str, Any] | None:
    return None if paper.year is None else {"date-parts": [[paper.year]]}


def _csl_name(name: str) -> dict[str, str]:
    """Take a name apart, unless it would not come together again."""
    parts: dict[str, str] = {}
    whole = name
    if suffix := _SUFFIX.fullmatch(name):
        whole, parts["suffix"] = f"{suffix[1]} {suffix[2]}", suffix[3]
    match = _PARTICLES.fullmatch(whole)
    if match is None or not match[1] or _GROUP.search(name):
        return {"literal": name}
    given, particle, family = match[1], match[2].strip(), match[3]
    parts |= {"given": given, "family": family}
    parts |= {"non-dropping-particle": particle} if particle else {}
    return parts if names_of_list([parts]) == [name] else {"literal": name}


def _more(paper: Paper, *, csl: bool) -> dict[str, str]:
    held = {name.lower(): value for name, value in paper.metadata.items()}
    found: dict[str, str] = {}
    for name, in_csl, in_bibtex in _MORE:
        if text := _text_of(held.get(name)):
            found.setdefault(in_csl if csl else in_bibtex, text)
    return found


def _text_of(value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    return " ".join(str(value).split()) if is_text else ""


# --- BibTeX --------------------------------------------------------------------------------------


def export_bibtex(papers: Iterable[Paper]) -> Iterator[str]:
    """Yield an entry for each paper.

    The id is the key where LaTeX takes it as one; otherwise the key is made of it and the id is in
    the field ``paper-id``. No two keys differ in case alone, for BibTeX takes such as one.
    """
    from pybtex.database import BibliographyData, Entry
    from pybtex.database.output.bibtex import Writer

    class LatexWriter(Writer):  # type: ignore[misc]  # published without types
        """Writes what is LaTeX already."""

        def _encode(self, text: str) -> str:
            return text

    writer = LatexWriter()
    with closing(SeenKeys()) as seen:
        for number, paper in enumerate(papers):
            key = _bibtex_key(paper.id, seen)
            persons = {"author": [_person(name) for name in paper.authors]}
            entry = Entry(_BIBTEX_TYPES[_csl_type(paper)], _bibtex_fields(paper, key), persons)
            text = io.StringIO()
            writer.write_stream(BibliographyData({key: entry}), text)
            yield ("\n" if number else "") + text.getvalue()


_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/+*-]*")
_NO_KEY = re.compile(r"[^A-Za-z0-9:._/+*-]+")


def _bibtex_key(paper_id: str, seen: SeenKeys) -> str:
    plain = unicodedata.normalize("NFKD", paper_id).encode("ascii", "ignore").decode()
    stem = paper_id if _KEY.fullmatch(paper_id) else _NO_KEY.sub("-", plain).strip("-:._/+*")
    key, number = stem or "paper", 1
    while seen.match([key.lower()], "", None, None):
        number += 1
        key = f"{stem or 'paper'}-{number}"
    return key


def _bibtex_fields(paper: Paper, key: str) -> dict[str, str]:
    kind = _csl_type(paper)
    venue = {_CONFERENCE: "booktitle", _PREPRINT: "howpublished", "chapter": "booktitle"}
    arxiv_id = _text_of(paper.metadata.get("arxiv_id"))
    fields = {
        "title": latex(paper.title, title=True),
        "year": "" if paper.year is None else str(paper.year),
        venue.get(kind, "journal"): latex(paper.venue or ""),
        "doi": _verbatim(_text_of(paper.metadata.get("doi"))),
        "eprint": _verbatim(arxiv_id),
        "archiveprefix": "arXiv" if arxiv_id else "",
        "url": _verbatim(paper.url or ""),
        "code_url": _verbatim(paper.code_url or ""),
        "video_url": _verbatim(paper.video_url or ""),
        "abstract": latex(paper.abstract),
        "paper-id": "" if key == paper.id else _every_blank(paper.id),
    }
    more = {name: latex(value) for name, value in _more(paper, csl=False).items()}
    return {name: value for name, value in {**more, **fields}.items() if value}


def _every_blank(text: str) -> str:
    """Return a text for LaTeX in which also blanks beside each other stay."""
    return "{ }".join(map(latex, text.split(" ")))


def _person(name: str) -> Person:
    """Return a name in the parts that BibTeX sees in it; in braces if they would not come back."""
    from pybtex.database import Person
    from pybtex.exceptions import PybtexError

    text = latex(name)
    candidates = [] if _GROUP.search(name) else [text]
    if suffix := _SUFFIX.fullmatch(text):
        candidates.insert(0, f"{suffix[2]}, {suffix[3]}, {suffix[1]}")
    for candidate in candidates:
        try:
            person = Person(candidate)
        except PybtexError:
            continue
        if authors_of_bibtex(_written(person)) == [name]:
            return person
    return Person(last=f"{{{text}}}")


def _written(person: Person) -> str:
    from pybtex.database.output.bibtex import Writer

    return str(Writer()._format_name(None, person))


def _verbatim(text: str) -> str:
    """Return an address or number as it is; braces that BibTeX would count are percent-encoded."""
    return text if _is_balanced(text) else text.replace("{", "%7B").replace("}", "%7D")


# A formula as pandoc tells it from an amount of money: no blank inside its signs, no digit behind.
_FORMULA = re.compile(r"((?<!\\)\$(?![\s$])(?:[^$\\]|\\.)*(?<![\s\\])\$(?!\d))", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)%")
_ESCAPES = {
    "\\": r"{\textbackslash}", "{": r"{\textbraceleft}", "}": r"{\textbraceright}",
    "~": r"{\textasciitilde}", "^": r"{\textasciicircum}",
    **{sign: f"\\{sign}" for sign in "$&%#_"},
}  # fmt: skip
# TeX sets these pairs as one character.
_LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=`)(?=`)|(?<=')(?=')|(?<=,)(?=,)|(?<=[?!])(?=`)")
_WORD = re.compile(r"([^\W_]+)")


def latex(text: str, *, title: bool = False) -> str:
    """Return a text for LaTeX, on one line; ``decode_latex`` undoes it, up to white space.

    Args:
        text: Any text; formulas in it stay as they are.
        title: Keep the case of words with capitals inside, whatever a style does.
    """
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return r" \par ".join(_paragraph(" ".join(each.split()), title=title) for each in paragraphs)


def _paragraph(text: str, *, title: bool) -> str:
    parts = _FORMULA.split(text)
    return "".join(
        part if n % 2 and _is_formula(part) else _prose(part, title=title)
        for n, part in enumerate(parts)
    )


def _prose(text: str, *, title: bool) -> str:
    # Every other part is a word, which holds nothing to escape.
    parts = _WORD.split(_LIGATURES.sub("\0", text))
    return "".join(
        _escape(part) if n % 2 == 0 else f"{{{part}}}" if title and _has_capitals(part) else part
        for n, part in enumerate(parts)
    )


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text).replace("\0", "{}")


def _has_capitals(word: str) -> bool:
    return any(map(str.isupper, word[1:])) or (len(word) == 1 and word.isupper() and word != "A")


def _is_formula(text: str) -> bool:
    return _is_balanced(text) and not _COMMENT.search(text)


def _is_balanced(text: str) -> bool:
    """Tell whether BibTeX takes a text: it counts braces, also escaped ones."""
    depth = 0
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0


EXPORTERS: Mapping[str, Callable[[Iterable[Paper]], Iterator[str]]] = {
    "bibtex": export_bibtex,
    "csl-json": export_csl_json,
    "jsonl": export_jsonl,
}
"""By the name of the format; each yields a text in parts."""

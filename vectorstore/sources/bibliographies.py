"""Bibliographies to raw records: BibTeX, RIS, and MEDLINE as PubMed writes it.

A file is cut into its entries by the line that begins each, and an entry is parsed by itself: so
each has a line, memory holds one, and a damaged one spoils no other.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vectorstore.errors import PaperFormatError
from vectorstore.sources.formats import Parsed, RawRecord, format_error
from vectorstore.sources.names import display_name

_Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    text: str


def _entries(lines: Iterable[str], begin: re.Pattern[str]) -> Iterator[_Entry]:
    """Yield the parts of a text that begin with a line that matches; what is before is dropped."""
    start, gathered = 0, list[str]()
    for number, line in enumerate(lines, start=1):
        if begin.match(line):
            if start:
                yield _Entry(start, "".join(gathered))
            start, gathered = number, []
        if start:
            gathered.append(line)
    if start:
        yield _Entry(start, "".join(gathered))


# --- BibTeX --------------------------------------------------------------------------------------

_BIBTEX_ENTRY = re.compile(r"\ufeff?\s*@\s*[A-Za-z]+\s*[{(]")
_BIBTEX_HINT = "close every brace and quote, and put commas between the fields"
# Decoded for display; an address must stay as it is.
_BIBTEX_TEXT = ("title", "abstract", "journal", "booktitle", "publisher", "keywords", "note")


def parse_bibtex(lines: Iterable[str], path: str) -> Parsed:
    r"""Parse BibTeX. Accents and braces of LaTeX are decoded, for they are its way to write text.

    The key of an entry is its id. Formulas (``$...$``) stay as they are.

    Args:
        lines: The text, line by line.
        path: Named in errors.
    """
    from pybtex.database.input.bibtex import LowLevelParser, month_names
    from pybtex.exceptions import PybtexError

    macros = dict(month_names)
    for entry in _entries(lines, _BIBTEX_ENTRY):
        errors: list[Exception] = []
        # What @string defines goes into the macros, for all entries below it.
        parser = LowLevelParser(entry.text, handle_error=errors.append, macros=macros)
        try:
            commands = list(parser)
        except (PybtexError, RecursionError) as error:
            errors.append(error)
        if errors:
            yield _not_bibtex(path, entry.line, errors[0])
            continue
        for kind, content in commands:
            if kind.lower() not in ("string", "comment", "preamble"):
                yield RawRecord(entry.line, _bibtex_fields(kind, *content))


def _not_bibtex(path: str, line: int, error: Exception) -> PaperFormatError:
    detail = re.sub(r"^syntax error in line \d+: ", "", str(error)) or "nested too deeply"
    return format_error(path, line, f"not valid BibTeX ({detail})", _BIBTEX_HINT)


def _bibtex_fields(kind: str, key: str | None, parts: list[tuple[str, list[str]]]) -> _Fields:
    raw = {name.lower(): " ".join("".join(value).split()) for name, value in parts}
    fields: dict[str, Any] = {
        name: decode_latex(value) if name in _BIBTEX_TEXT else value for name, value in raw.items()
    }
    fields["type"] = kind.lower()
    if key:
        fields["id"] = key
    if "paper-id" in raw:  # that of this program, where it cannot be a key
        fields["id"] = decode_latex(fields.pop("paper-id"))
    if "author" in raw:
        fields["authors"] = authors_of_bibtex(raw["author"])
        del fields["author"]
    if "year" in raw:
        # Not always a number: {2020a}, {in press}.
        fields["published"] = fields.pop("year")
    return fields


def authors_of_bibtex(text: str) -> list[str]:
    """Return the names of a field ``author``, in reading order and without LaTeX."""
    from pybtex.bibtex.utils import split_name_list
    from pybtex.database import Person
    from pybtex.exceptions import PybtexError

    names: list[str] = []
    for name in split_name_list(text):
        try:
            person = Person(name)
        except PybtexError:
            names.append(decode_latex(name))
            continue
        parts = [
            *person.first_names, *person.middle_names, *person.prelast_names, *person.last_names,
            *person.lineage_names,
        ]  # fmt: skip
        names.append(decode_latex(" ".join(parts)))
    return [name for name in names if name.lower() != "others"]


_LATEX = re.compile(r"[\\{}~]|--|``|''")
_MATH = re.compile(r"((?<!\\)\$(?:[^$\\]|\\.)*\$)")
_SIGN = re.compile(
    r"\\[{}$_#&%]|%|\{\\text(?:backslash|braceleft|braceright|asciitilde|asciicircum)\}"
)
_NAMED = {
    r"{\textbackslash}": "\\", r"{\textbraceleft}": "{", r"{\textbraceright}": "}",
    r"{\textasciitilde}": "~", r"{\textasciicircum}": "^",
}  # fmt: skip
# Characters that no text has stand for the signs while commands and braces are taken away.
_PRIVATE = 0xE000
_SIGNS = {_PRIVATE + ord(sign): sign for sign in "{}$_#&%\\~^"}
_COMMAND = re.compile(r"\\[A-Za-z]+\*?\s*(?=\{)|\{\\(?:em|it|bf|sc|tt|rm)\s+")


def decode_latex(text: str) -> str:
    r"""Return a text without LaTeX: ``G{\"o}del`` becomes ``Gödel``; formulas stay as they are.

    Args:
        text: As a BibTeX file has it; what is no LaTeX is kept.
    """
    import latexcodec  # noqa: F401 - brings the codec "ulatex"

    decoded = [
        _decode_prose(part) if n % 2 == 0 else part for n, part in enumerate(_MATH.split(text))
    ]
    return "".join(decoded).replace("\xa0", " ").strip()


def _decode_prose(text: str) -> str:
    if not _LATEX.search(text):
        # Most of a library; the codec takes a millisecond for an abstract.
        return text
    # An escaped sign stands for itself, and so does a percent sign, which would begin a comment.
    kept = _SIGN.sub(lambda sign: chr(_PRIVATE + ord(_NAMED.get(sign[0], sign[0][-1]))), text)
    plain: str = codecs.decode(kept, "ulatex")  # type: ignore[call-overload]
    plain = re.sub("[{}]", "", _COMMAND.sub("", plain)).translate(_SIGNS)
    # The codec drops what a formula is set off with.
    before, after = (" " if part.isspace() else "" for part in (text[:1], text[-1:]))
    return f"{before}{plain.strip()}{after}"


# --- RIS -----------------------------------------------------------------------------------------

_RIS_ENTRY = re.compile(r"\ufeff?\s*TY  -")
_RIS_END = re.compile(r"^ER  -", re.MULTILINE)
_RIS_FIELDS = {
    "title": ("title", "primary_title", "translated_title", "short_title"),
    "abstract": ("abstract", "notes_abstract"),
    "published": ("year", "publication_year", "date"),
    "venue": (
        "secondary_title", "journal_name", "alternate_title3", "alternate_title2", "publisher",
    ),
    "doi": ("doi",),
}  # fmt: skip
_RIS_AUTHORS = ("authors", "first_authors")


def parse_ris(lines: Iterable[str], path: str) -> Parsed:
    """Parse RIS as Zotero, EndNote and publishers write it.

    Args:
        lines: The text, line by line.
        path: Named in errors.
    """
    import rispy

    for entry in _entries(lines, _RIS_ENTRY):
        end = _RIS_END.search(entry.text)
        if end is None:
            hint = 'end every record with a line "ER  - "'
            yield format_error(path, entry.line, 'the record has no line "ER  -"', hint)
            continue
        try:
            (record,) = rispy.loads(entry.text[: end.start()].lstrip("\ufeff") + "ER  - \n")
        except (ValueError, LookupError, OSError) as error:
            reason = f"not valid RIS ({error})"
            yield format_error(path, entry.line, reason, 'begin every field with a tag: "TI  - "')
            continue
        yield RawRecord(entry.line, _ris_fields(record))


def _ris_fields(record: dict[str, Any]) -> _Fields:
    fields: dict[str, Any] = {}
    for field, names in _RIS_FIELDS.items():
        name = next((name for name in names if name in record), None)
        if name is not None:
            fields[field] = record.pop(name)
    authors = [name for tag in _RIS_AUTHORS for name in record.pop(tag, [])]
    fields["authors"] = [display_name(name) for name in authors]
    # The first is where the paper is; the others are kept as they are.
    fields["url"] = next(iter(record.get("urls", [])), None)
    return {**record, **fields}


# --- MEDLINE -------------------------------------------------------------------------------------

_MEDLINE_ENTRY = re.compile(r"\ufeff?PMID- ")


def parse_medline(lines: Iterable[str], path: str) -> Parsed:
    """Parse MEDLINE text, as PubMed saves it (.nbib, or "PubMed" format).

    Args:
        lines: The text, line by line.
        path: Named in errors.
    """
    from Bio import Medline

    for entry in _entries(lines, _MEDLINE_ENTRY):
        try:
            lines_of_entry = entry.text.lstrip("\ufeff").splitlines()
            record = Medline.read(lines_of_entry)  # type: ignore[no-untyped-call]
        except (ValueError, LookupError) as error:
            reason = f"not valid MEDLINE ({error})"
            yield format_error(path, entry.line, reason, "save it from PubMed again")
            continue
        fields = _medline_fields(record)
        yield RawRecord(entry.line, {name: value for name, value in fields.items() if value})


def _medline_fields(record: Mapping[str, Any]) -> _Fields:
    pmid = record.get("PMID", "").strip()
    articles = [*_listed(record.get("LID")), *_listed(record.get("AID"))]
    doi = next((text.split()[0] for text in articles if text.endswith("[doi]")), None)
    return {
        "id": f"pmid-{pmid}" if pmid else None,
        "pmid": pmid,
        "title": record.get("TI") or record.get("BTI") or "",
        "abstract": record.get("AB", ""),
        "authors": [
            *(display_name(name) for name in record.get("FAU") or record.get("AU", [])),
            *_listed(record.get("CN")),
        ],
        "published": record.get("DP", ""),
        "venue": record.get("JT") or record.get("TA") or "",
        "doi": doi,
        "keywords": record.get("OT", []),
        "mesh_terms": record.get("MH", []),
    }


def _listed(value: object) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [str(item) for item in items if item]

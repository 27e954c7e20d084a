"""One record to one paper: what its fields must hold, and how the usual forms are read. Pure.

Knows nothing of files; which column holds which field is the business of ``columns``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from vectorstore.identifiers import arxiv_address, doi_address, find_arxiv_id, find_doi
from vectorstore.sources.formats import MAX_FIELD_CHARS, shorten
from vectorstore.sources.links import find_links
from vectorstore.sources.names import names_of_citation, names_of_list, names_of_text
from vectorstore.sources.slugs import slug
from vectorstore.types import Paper

MAX_ID_CHARS = 200
ENCODING_HINT = "convert it: iconv -f latin1 -t utf-8 FILE > NEW_FILE"

_LAST_YEAR = 9999
# A year, alone or at the beginning of a date without separators.
_YEAR_OF_DATE = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?=\D|\d{4}(?!\d)|$)")


class FieldError(Exception):
    """A field of a record does not hold what it must."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def paper_of(fields: Mapping[str, Any], chosen: Mapping[str, str]) -> Paper:
    """Make a paper of a record.

    Args:
        fields: As the file has them.
        chosen: Fields of a paper by column, as ``columns.choose`` returns them. A column of another
            name than the field's is read leniently: it was not written for this program.

    Raises:
        FieldError: If the record is not that of a paper.
    """
    known, metadata = _split(fields, chosen)
    for name, value in fields.items():
        _check(name, value)
    title = " ".join(_text(known, "title").split())
    abstract = _text(known, "abstract")
    if "authors_parsed" in fields:
        abstract = unwrapped(abstract)
    for name, text in (("title", title), ("abstract", abstract)):
        if not text.strip():
            raise FieldError(f"the {name} is empty", f"fill in the {name}, or remove the record")
    identifier = _identifier(known.get("id"))
    links = find_links(abstract)
    address = _address(known, identifier, metadata)
    web = {name: _web_address(known, name, metadata) for name in ("url", "code_url", "video_url")}
    return Paper(
        id=identifier or slug(title),
        title=title,
        abstract=abstract,
        authors=_authors(known.get("authors"), cited=_is_renamed(chosen, "authors")),
        year=_year(known.get("year"), dated=_is_renamed(chosen, "year")),
        url=web["url"] or address,
        venue=_text(known, "venue").strip() or None,
        code_url=web["code_url"] or links.code_url,
        video_url=web["video_url"] or links.video_url,
        metadata=metadata,
    )


PAPER_FIELDS = tuple(field.name for field in dataclasses.fields(Paper))
"""Of a record that is a whole paper, as this program writes it."""


def fields_of(paper: Paper) -> dict[str, Any]:
    """Return all fields of a paper, for JSON; ``checked_paper`` makes the same paper of them."""
    return dataclasses.asdict(paper)


def checked_paper(fields: object) -> Paper:
    """Make a paper of all its fields, without guessing or adding any.

    Args:
        fields: As ``fields_of`` returns them, from a file that anybody may have changed.

    Raises:
        FieldError: If they are not those of a paper as an ingest would take it.
    """
    if not isinstance(fields, Mapping) or fields.keys() != set(PAPER_FIELDS):
        raise FieldError(f"a paper has the fields {', '.join(PAPER_FIELDS)}", "give all of them")
    _check("record", fields)
    identifier = _text(fields, "id")
    if _identifier(identifier) != identifier or not identifier:
        raise FieldError("the id is empty, or begins or ends with a blank", "write it without")
    for name in ("title", "abstract"):
        if not _text(fields, name).strip():
            raise FieldError(f"the {name} is empty", f"fill in the {name}")
    authors, year, metadata = (fields[name] for name in ("authors", "year", "metadata"))
    if not isinstance(authors, list | tuple) or not all(isinstance(each, str) for each in authors):
        raise FieldError("the authors are not a list of names", "write each as a string")
    if year is not None and (type(year) is not int or not 0 <= year <= _LAST_YEAR):
        raise FieldError(f"the year {year!r} is not a number", "write it in digits: 2024")
    if not isinstance(metadata, Mapping):
        raise FieldError("the metadata are not an object", 'write them as {"name": value}')
    for name in ("url", "code_url", "video_url"):
        if fields[name] is not None and not _is_web_address(_text(fields, name)):
            raise FieldError(f"the {name} is no web address", "begin it with https://")
    _text(fields, "venue")
    return Paper(**{**fields, "authors": tuple(authors), "metadata": dict(metadata)})


def edited_value(field: str, text: str) -> Any:
    """Return what a field holds when somebody types a text for it.

    Raises:
        FieldError: If it cannot hold that.
    """
    if field == "title":
        return " ".join(text.split())
    if field == "authors":
        return _authors(text, cited=False)
    if field == "year":
        return _year(text, dated=False)
    if field == "doi":
        return find_doi(text) or text.strip()
    if field == "arxiv_id":
        return find_arxiv_id(text) or text.strip()
    return text if field == "abstract" else text.strip()


def unwrapped(text: str) -> str:
    """Undo the line breaks of arXiv's abstracts; a line that is set in begins a paragraph."""
    paragraphs = re.split(r"\n[ \t]{2,}|\n\s*\n", text.strip())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs if each.strip())


def _split(
    fields: Mapping[str, Any], chosen: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Known fields by name, and the rest as the file names it, without the empty."""
    known: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name, value in fields.items():
        field = chosen.get(name)
        if value in (None, ""):
            continue
        is_renamed = field is not None and name.strip().lower() != field
        if field is None or (is_renamed and not _fits(field, value)):
            if value == value:  # an empty cell may be NaN, which JSON has not
                metadata[name] = value
            continue
        known.setdefault(field, value)
        if is_renamed and field == "year" and not re.fullmatch(r"\d{4}", str(value).strip()):
            # A date says more than its year.
            metadata[name] = value
    return known, metadata


def _fits(field: str, value: object) -> bool:
    """Tell whether a value may be that of an optional field that was guessed by its name."""
    if field == "arxiv_id":
        return isinstance(value, str) and find_arxiv_id(value) is not None
    return field in ("title", "abstract", "authors", "year", "id") or isinstance(value, str)


def _is_renamed(chosen: Mapping[str, str], field: str) -> bool:
    return any(held == field and name.strip().lower() != field for name, held in chosen.items())


def _check(name: str, value: object) -> None:
    """Refuse what can be stored in no index: bytes that were not UTF-8, lone surrogates, NUL."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check(name, key)
            _check(name, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(name, item)
    elif isinstance(value, str):
        _check_text(name, value)


def _check_text(name: str, value: str) -> None:
    if len(value) > MAX_FIELD_CHARS:
        short = shorten(name.strip()).lower()
        reason = f"the {short} is longer than {MAX_FIELD_CHARS:,} characters"
        raise FieldError(reason, f"shorten the {short}")
    bad = re.search("[\0\ud800-\udfff]", value)
    if bad is None:
        return
    code = ord(bad.group())
    if code == 0:
        raise FieldError("a field holds a NUL character", "remove the character")
    if 0xDC80 <= code <= 0xDCFF:
        raise FieldError(f"the text is not UTF-8 (byte 0x{code - 0xDC00:02X})", ENCODING_HINT)
    raise FieldError(f"a field holds half a character (\\u{code:04x})", "remove the character")


def _text(known: Mapping[str, Any], name: str) -> str:
    value = known.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FieldError(f"the {name} is not text", f"write the {name} as a string")
    return value


def _identifier(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError("the id is neither text nor a whole number", "write the id as a string")
    text = str(value).strip()
    if len(text) > MAX_ID_CHARS or not text.isprintable():
        reason = f"the id is longer than {MAX_ID_CHARS} characters or not printable"
        raise FieldError(reason, "shorten the id, or leave it out to have one made from the title")
    return text


def _authors(value: object, *, cited: bool) -> tuple[str, ...]:
    names: list[str] | None = None
    if value is None:
        return ()
    if isinstance(value, str):
        names = names_of_citation(value) if cited else names_of_text(value)
    elif isinstance(value, list):
        names = names_of_list(value)
    if names is None:
        hint = 'write them as a list of names, or as one string: "A. Author; B. Author"'
        raise FieldError("the authors are neither text nor a list of names", hint)
    return tuple(clean for name in names if (clean := " ".join(name.split())))


def _year(value: object, *, dated: bool) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if dated:
        found = _YEAR_OF_DATE.search(str(value[0] if isinstance(value, list) and value else value))
        return int(found.group()) if found else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if isinstance(value, bool | float) or not re.fullmatch(r"[0-9]{1,4}(\.0)?", text):
        shown = text if len(text) <= 20 else text[:19] + "…"
        raise FieldError(f'the year "{shown}" is not a number', "write it in digits: 2024")
    return int(float(text))


def _web_address(known: Mapping[str, Any], name: str, metadata: dict[str, Any]) -> str | None:
    """Keep anything but a web address as metadata: pages turn these fields into links."""
    value = _text(known, name).strip()
    if _is_web_address(value):
        return value
    if value:
        metadata[name] = value
    return None


def _is_web_address(text: str) -> bool:
    return bool(re.fullmatch(r"https?://[^\s<>\"]+", text, re.IGNORECASE))


def _address(known: Mapping[str, Any], identifier: str, metadata: dict[str, Any]) -> str | None:
    """Note DOI and arXiv id, and return where they lead."""
    doi, arxiv_id = known.get("doi"), known.get("arxiv_id")
    if doi is not None:
        metadata["doi"] = doi = find_doi(str(doi)) or doi
    if arxiv_id is not None or find_arxiv_id(identifier):
        named = str(identifier if arxiv_id is None else arxiv_id)
        metadata["arxiv_id"] = arxiv_id = find_arxiv_id(named) or arxiv_id
    if arxiv_id is not None and find_arxiv_id(str(arxiv_id)):
        return arxiv_address(str(arxiv_id))
    if doi is not None and find_doi(str(doi)):
        return doi_address(str(doi))
    pmid = str(metadata.get("pmid", ""))
    return f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/" if pmid.isdecimal() else None

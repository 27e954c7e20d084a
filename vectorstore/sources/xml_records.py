"""XML to raw records: arXiv's API (Atom), OAI-PMH (arXiv, Dublin Core), PubMed.

Read as it comes: what has ended is dropped. Entities are refused, whatever they expand to, and
nothing outside the file is ever looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError

from vectorstore.errors import PaperFormatError
from vectorstore.identifiers import find_arxiv_id, find_doi, without_version
from vectorstore.sources.fields import unwrapped
from vectorstore.sources.formats import Parsed, RawRecord
from vectorstore.sources.names import display_name

_Fields = Mapping[str, Any]


def parse_xml(stream: BinaryIO, path: str) -> Parsed:
    """Parse XML; its root tells which kind.

    Args:
        stream: The bytes of the file.
        path: Named in errors.
    """
    from defusedxml.common import DefusedXmlException

    number = 0
    try:
        for number, element in enumerate(_records(stream), start=1):
            if isinstance(element, str):
                hint = "read are arXiv API (Atom), OAI-PMH, and PubMed XML"
                yield _error(path, None, f"XML of an unknown kind: <{element}>", hint)
                return
            fields = _MAPPERS[_local(element)](element)
            if fields is not None:
                yield RawRecord(number, {name: each for name, each in fields.items() if each})
    except ParseError as error:
        reason = f"not valid XML ({error})"
        yield _error(path, number + 1, reason, "fetch the file again; it may be cut off")
    except DefusedXmlException:
        reason = "the file declares XML entities, which are never expanded"
        yield _error(path, number + 1, reason, "remove its <!ENTITY ...> declarations")


def _records(stream: BinaryIO) -> Iterator[Element | str]:
    """Yield the record elements, or the name of a root that has none."""
    from defusedxml.ElementTree import iterparse

    parents: list[Element] = []
    record: Element | None = None
    # PubMed's files name their DTD, which is not fetched.
    for event, element in iterparse(stream, ("start", "end"), forbid_dtd=False):
        if event == "start":
            if not parents and _local(element) not in _ROOTS:
                yield _local(element)
                return
            parents.append(element)
            if record is None and _local(element) in _MAPPERS:
                record = element
            continue
        parents.pop()
        if record is not None and element is record:
            yield record
            record = None
        if record is None and parents:
            parents[-1].remove(element)


def _error(path: str, record: int | None, reason: str, hint: str) -> PaperFormatError:
    return PaperFormatError(reason, path=path, line=None, record=record, hint=hint)


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(element: Element, *names: str) -> list[Element]:
    """Return the elements below one along a path of local names."""
    found = [element]
    for name in names:
        found = [child for each in found for child in each if _local(child) == name]
    return found


def _texts(element: Element, *names: str) -> list[str]:
    return [" ".join("".join(each.itertext()).split()) for each in _all(element, *names)]


def _text(element: Element, *names: str) -> str:
    return next(iter(_texts(element, *names)), "")


def _wrapped(element: Element, *names: str) -> str:
    return next((unwrapped("".join(each.itertext())) for each in _all(element, *names)), "")


def _own_id(text: str) -> str | None:
    """Return the arXiv id that a text names, the same for all versions."""
    arxiv_id = find_arxiv_id(text)
    return without_version(arxiv_id) if arxiv_id else None


# --- arXiv API -----------------------------------------------------------------------------------


def _atom(entry: Element) -> _Fields:
    address = _text(entry, "id")
    arxiv_id = find_arxiv_id(address)
    links = {link.get("rel", "alternate"): link.get("href") for link in _all(entry, "link")}
    return {
        "id": _own_id(address),
        "arxiv_id": arxiv_id,
        "title": _text(entry, "title"),
        "abstract": _wrapped(entry, "summary"),
        "authors": _texts(entry, "author", "name"),
        "published": _text(entry, "published") or _text(entry, "updated"),
        "updated": _text(entry, "updated"),
        "url": None if arxiv_id else links.get("alternate"),
        "venue": _text(entry, "journal_ref"),
        "doi": _text(entry, "doi"),
        "comment": _text(entry, "comment"),
        "categories": [each.get("term", "") for each in _all(entry, "category")],
    }


# --- OAI-PMH -------------------------------------------------------------------------------------


def _oai(record: Element) -> _Fields | None:
    if any(header.get("status") == "deleted" for header in _all(record, "header")):
        return None
    for form in (each for metadata in _all(record, "metadata") for each in metadata):
        if _local(form) in ("arXiv", "arXivRaw"):
            return _oai_arxiv(form)
        if _local(form) == "dc":
            return _oai_dublin_core(form)
    return {}


def _oai_arxiv(form: Element) -> _Fields:
    authors = [
        " ".join(filter(None, (_text(author, name) for name in ("forenames", "keyname", "suffix"))))
        for author in _all(form, "authors", "author")
    ]
    return {
        "id": _own_id(_text(form, "id")),
        "arxiv_id": _text(form, "id"),
        "title": _text(form, "title"),
        "abstract": _wrapped(form, "abstract"),
        "authors": authors or re.split(r",\s*(?:and\s+)?|\s+and\s+", _text(form, "authors")),
        "published": _text(form, "created") or _text(form, "version", "date"),
        "updated": _text(form, "updated"),
        "venue": _text(form, "journal-ref"),
        "doi": _text(form, "doi"),
        "comment": _text(form, "comments"),
        "categories": _text(form, "categories").split(),
    }


def _oai_dublin_core(form: Element) -> _Fields:
    identifiers = _texts(form, "identifier")
    arxiv_id = next(filter(None, map(find_arxiv_id, identifiers)), None)
    return {
        "id": _own_id(arxiv_id or ""),
        "arxiv_id": arxiv_id,
        "doi": next(filter(None, map(find_doi, identifiers)), None),
        "url": next((each for each in identifiers if each.startswith("http")), None)
        if arxiv_id is None
        else None,
        "title": _text(form, "title"),
        "abstract": _wrapped(form, "description"),
        "authors": [display_name(name) for name in _texts(form, "creator")],
        "published": min(_texts(form, "date"), default=""),
        "keywords": _texts(form, "subject"),
    }


# --- PubMed --------------------------------------------------------------------------------------


def _pubmed(record: Element) -> _Fields:
    citation = next(iter([*_all(record, "MedlineCitation"), *_all(record, "BookDocument")]), record)
    article = next(iter(_all(citation, "Article")), citation)
    dois = [
        *(each for each in _all(article, "ELocationID") if each.get("EIdType") == "doi"),
        *(
            each
            for each in _all(record, "PubmedData", "ArticleIdList", "ArticleId")
            if each.get("IdType") == "doi"
        ),
    ]
    dates = [
        *_all(article, "Journal", "JournalIssue", "PubDate"), *_all(article, "ArticleDate"),
        *_all(article, "Book", "PubDate"),
    ]  # fmt: skip
    return {
        "id": f"pmid-{_text(citation, 'PMID')}" if _text(citation, "PMID") else None,
        "pmid": _text(citation, "PMID"),
        "title": _text(article, "ArticleTitle"),
        "abstract": " ".join(map(_labelled, _all(article, "Abstract", "AbstractText"))),
        "authors": [_pubmed_author(each) for each in _all(article, "AuthorList", "Author")],
        "published": next((" ".join(each.itertext()) for each in dates), ""),
        "venue": _text(article, "Journal", "Title"),
        "doi": next(("".join(each.itertext()) for each in dois), None),
        "keywords": _texts(citation, "KeywordList", "Keyword"),
        "mesh_terms": _texts(citation, "MeshHeadingList", "MeshHeading", "DescriptorName"),
    }


def _labelled(part: Element) -> str:
    """Return a part of a structured abstract as PubMed shows it: ``METHODS: We ...``."""
    text = " ".join("".join(part.itertext()).split())
    label = part.get("Label")
    return f"{label}: {text}" if label and label != "UNLABELLED" else text


def _pubmed_author(author: Element) -> str:
    parts = (_text(author, name) for name in ("ForeName", "LastName", "Suffix"))
    return " ".join(filter(None, parts)) or _text(author, "CollectiveName")


_ROOTS = frozenset(
    {"feed", "entry", "OAI-PMH", "ListRecords", "record", "PubmedArticleSet", "PubmedArticle"}
)
_MAPPERS: Mapping[str, Callable[[Element], _Fields | None]] = {
    "entry": _atom,
    "record": _oai,
    "PubmedArticle": _pubmed,
    "PubmedBookArticle": _pubmed,
}

"""Identifiers that papers have everywhere: DOI, arXiv id. Pure text."""

from __future__ import annotations

import re

_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"<>]+")
_ARXIV = r"(?:\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?"
_ARXIV_ALONE = re.compile(rf"(?:arxiv:\s*)?({_ARXIV})", re.IGNORECASE)
_ARXIV_PLACED = re.compile(
    rf"(?:arxiv\.org/(?:abs|pdf|html)/|10\.48550/arxiv\.|oai:arxiv\.org:|huggingface\.co/papers/)"
    rf"({_ARXIV})",
    re.IGNORECASE,
)
_VERSION = re.compile(r"v\d+$")


def find_doi(text: str) -> str | None:
    """Return the first DOI of a text, without the address or the punctuation around it."""
    match = _DOI.search(text)
    return match.group().rstrip(".,;)]}") if match else None


def find_arxiv_id(text: str) -> str | None:
    """Return the arXiv id that a text is, or that an address or DOI in it names."""
    text = text.strip()
    match = _ARXIV_ALONE.match(text) if _ARXIV_ALONE.fullmatch(text.partition(" ")[0]) else None
    match = match or _ARXIV_PLACED.search(text)
    return match.group(1) if match else None


def without_version(arxiv_id: str) -> str:
    """Return an arXiv id without its version: ``2301.00001v2`` becomes ``2301.00001``."""
    return _VERSION.sub("", arxiv_id)


def arxiv_address(arxiv_id: str) -> str:
    """Return the page of a paper on arXiv."""
    return f"https://arxiv.org/abs/{arxiv_id}"


def doi_address(doi: str) -> str:
    """Return where a DOI leads."""
    return f"https://doi.org/{doi}"

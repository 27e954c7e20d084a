"""Papers as references, made from their records: BibTeX and CSL-JSON. Pure.

Reference:
    CSL-JSON schema 1.0.2 (citationstyles.org); Patashnik, "BibTeXing", 1988.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from assistant.escaping import json_text, plain_line
from vectorstore import Paper
from vectorstore.slugs import slug

Format = Literal["bibtex", "csl-json"]

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "#": r"\#", "%": r"\%", "&": r"\&",
    "_": r"\_", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")


def references(papers: Sequence[Paper], form: Format) -> str:
    """The papers as a file of references, each once, in their order."""
    unique = list({paper.id: paper for paper in papers}.values())
    if form == "csl-json":
        return json_text([csl(paper) for paper in unique], indent=2) + "\n"
    keys = citation_keys(unique)
    return "\n".join(_bibtex(paper, keys[paper.id]) for paper in unique)


def csl(paper: Paper) -> dict[str, Any]:
    """One paper as an item of CSL-JSON."""
    doi, venue = _metadata(paper, "doi"), paper.venue
    item: dict[str, Any] = {
        "id": paper.id,
        "type": "article-journal" if venue else "article",
        "title": plain_line(paper.title),
        "author": [_csl_name(name) for name in paper.authors],
        "issued": {"date-parts": [[paper.year]]} if paper.year is not None else None,
        "container-title": venue,
        "DOI": doi,
        "URL": paper.url,
        "abstract": paper.abstract,
    }
    return {name: value for name, value in item.items() if value}


def citation_keys(papers: Sequence[Paper]) -> Mapping[str, str]:
    """A key for each paper, by id: ``moreau2024larch``; no two are the same."""
    taken: dict[str, str] = {}
    for paper in papers:
        author = paper.authors[0].split()[-1] if paper.authors and paper.authors[0].split() else ""
        word = next((w for w in slug(paper.title).split("-") if len(w) > 3), "paper")
        stem = re.sub(r"[^a-z0-9]", "", slug(author).lower() if author.strip() else "")
        key = base = f"{stem}{paper.year or ''}{word}"
        number = 1
        while key in taken.values():
            number += 1
            key = f"{base}-{number}"
        taken[paper.id] = key
    return taken


def latex_text(text: str) -> str:
    """The text as LaTeX prints it unchanged: nothing in it is a command, a comment or a formula."""
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], plain_line(text))


def _bibtex(paper: Paper, key: str) -> str:
    arxiv = _metadata(paper, "arxiv_id")
    fields = {
        "title": "{" + latex_text(paper.title) + "}",
        "author": " and ".join(_bibtex_name(name) for name in paper.authors),
        "year": str(paper.year) if paper.year is not None else "",
        "journal": latex_text(paper.venue or ""),
        "doi": latex_text(_metadata(paper, "doi") or ""),
        "eprint": latex_text(arxiv or ""),
        "archiveprefix": "arXiv" if arxiv else "",
        "url": _bibtex_url(paper.url or ""),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    kind = "article" if paper.venue else "misc"
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _bibtex_name(name: str) -> str:
    """Braced where BibTeX would see a list or a comma in it."""
    text = latex_text(name)
    return f"{{{text}}}" if "," in text or re.search(r"\band\b", text) else text


def _bibtex_url(url: str) -> str:
    return re.sub(r"[\s{}\\]", lambda match: f"%{ord(match[0]):02X}", url)


def _csl_name(name: str) -> dict[str, str]:
    given, _, family = plain_line(name).rpartition(" ")
    return {"family": family, "given": given} if given else {"literal": family}


def _metadata(paper: Paper, name: str) -> str | None:
    value = paper.metadata.get(name)
    return str(value) if value else None

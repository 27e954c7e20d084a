"""Papers as references, each once. The formats are those of ``vectorstore.sources.exports``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from vectorstore import Paper
from vectorstore.sources.exports import export_bibtex, export_csl_json

Format = Literal["bibtex", "csl-json"]

_KEY = re.compile(r"\s*@\w+\{([^,\s]+),")


def references(papers: Sequence[Paper], form: Format) -> str:
    """The papers as a file of references, each once, in their order."""
    write = export_csl_json if form == "csl-json" else export_bibtex
    return "".join(write(_unique(papers)))


def citation_keys(papers: Sequence[Paper]) -> Mapping[str, str]:
    """The key of each paper in the BibTeX of all of them, by id."""
    unique = _unique(papers)
    keys = [_KEY.match(entry) for entry in export_bibtex(unique)]
    return {paper.id: key[1] for paper, key in zip(unique, keys, strict=True) if key}


def _unique(papers: Sequence[Paper]) -> list[Paper]:
    return list({paper.id: paper for paper in papers}.values())

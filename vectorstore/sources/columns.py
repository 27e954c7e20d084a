"""Which column of a file holds which field of a paper. The one mechanism for every format.

A column of the field's own name holds it, whatever the case. Where a file has none, the first of
its usual other names does; ``--map FIELD=COLUMN`` wins over both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from vectorstore.sources.formats import shorten

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "paperid", "corpusid"),
    "title": ("papertitle", "articletitle", "itemtitle", "name"),
    "abstract": ("abstractnote", "summary", "abstracttext", "paperabstract", "description", "text"),
    "authors": ("author", "authornames", "authorlist", "creators"),
    "year": (
        "publicationyear", "pubyear", "issued", "published", "publishedat", "publicationdate",
        "publisheddate", "date", "versions", "created", "updatedate",
    ),
    "url": ("link", "paperurl", "paperpage", "articleurl"),
    "venue": (
        "journal", "containertitle", "publicationtitle", "journalref", "booktitle", "conference",
        "conferencename", "publication", "howpublished",
    ),
    "doi": (),
    "arxiv_id": ("arxivid", "arxiv", "eprint"),
    "code_url": ("github", "githubrepo", "codelink"),
    "video_url": (),
}  # fmt: skip
"""Other names of each field, the likeliest first; in small letters, without what is between words.

Zotero, Hugging Face datasets, CSL-JSON and the arXiv snapshot name their columns so.
"""

FIELDS = tuple(SYNONYMS)
REQUIRED = ("title", "abstract")
# The snapshot's `authors` is one line of names; this is what was made of it.
_BETTER = {"authors": "authors_parsed"}
_SHOWN_COLUMNS = 30


def choose(names: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Choose the columns that hold fields.

    Args:
        names: The columns of a file or the keys of a record.
        mapping: Columns by field, as the user gave them.

    Returns:
        Fields by column. Several columns may hold one field; the first that is not empty counts.
    """
    by_name: dict[str, list[str]] = {}
    by_words: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name.strip().lower(), []).append(name)
        by_words.setdefault(re.sub(r"[\W_]+", "", name.lower()), name)
    given = {field: by_name.get(column.strip().lower(), []) for field, column in mapping.items()}
    taken = {column for columns in given.values() for column in columns}
    chosen = {column: field for field, columns in given.items() for column in columns}
    for field in FIELDS:
        if field not in given:
            columns = by_name.get(_BETTER.get(field, "")) or by_name.get(field)
            words = (by_words[word] for word in SYNONYMS[field] if word in by_words)
            columns = columns or [name for name in words if name not in taken][:1]
            chosen |= {column: field for column in columns if column not in taken}
    return chosen


def guesses(chosen: Mapping[str, str], mapping: Mapping[str, str]) -> str:
    """Return in words which columns were chosen by another name than the field's; may be empty."""
    parts = [
        f'{field} = "{shorten(column)}"'
        for field in FIELDS
        for column, held in chosen.items()
        if held == field and field not in mapping and column.strip().lower() != field
    ]
    return ", ".join(parts)


def missing(
    names: Iterable[str], chosen: Mapping[str, str], mapping: Mapping[str, str]
) -> tuple[str, str] | None:
    """Tell what a file lacks whose columns are known.

    Returns:
        Reason and hint, naming field and column and the columns that there are; None if nothing.
    """
    for field, column in mapping.items():
        if field not in chosen.values():
            return lacking(field, column, names)
    absent = [f'"{field}"' for field in sorted(REQUIRED) if field not in chosen.values()]
    if not absent:
        return None
    reason = f"no column {' and '.join(absent)}; the file has: {_listed(names)}"
    return reason, f"say which one it is: --map {absent[0][1:-1]}=COLUMN"


def lacking(field: str, column: str, names: Iterable[str]) -> tuple[str, str]:
    """Return reason and hint for a mapping to a column that is not there."""
    reason = f'no column "{column}" for {field}; the file has: {_listed(names)}'
    return reason, f"name one of these columns: --map {field}=COLUMN"


def _listed(names: Iterable[str]) -> str:
    shown = [shorten(name) for name in names]
    more = len(shown) - _SHOWN_COLUMNS
    return ", ".join(shown[:_SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")

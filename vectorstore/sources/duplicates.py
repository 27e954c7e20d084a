"""Which papers are the same: the policy, and the memory of what was read.

Two records are of one paper if they have the same DOI, or the same arXiv id whatever the version,
or the same title, first author and year.

- Of two records of one ingest, the one that is read first is kept, and the other is reported. So it
  is with versions too: records come as a stream, and a paper that has gone into the index cannot be
  taken back for a later one; put the file with the newest versions first.
- A record that is of a paper in the index, but has another id, is reported and not added. One
  exception: if both say their arXiv version and the record has the higher one, it takes the place
  of the paper in the index. A record with the id of a paper in the index is that paper, and
  updates it.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vectorstore.errors import place
from vectorstore.identifiers import find_arxiv_id, find_doi, without_version
from vectorstore.types import Paper


class Key(NamedTuple):
    """What two records of one paper have in common."""

    value: str
    words: str
    """How the user is told."""


def keys(paper: Paper) -> Iterator[Key]:
    """Yield the keys of a paper; two papers that share one are the same."""
    if doi := find_doi(str(paper.metadata.get("doi", ""))):
        yield Key(f"doi {doi.lower()}", f"the same DOI {doi}")
    if arxiv_id := arxiv_id_of(paper):
        bare = without_version(arxiv_id)
        yield Key(f"arxiv {bare.lower()}", f"the same arXiv id {bare}, here {arxiv_id}")
    title = _words(paper.title)
    if title and paper.authors and paper.year is not None:
        author = _words(paper.authors[0]).rpartition(" ")[2]
        yield Key(f"title {title}\n{author}\n{paper.year}", "the same title, first author and year")


def arxiv_id_of(paper: Paper) -> str | None:
    """Return the arXiv id of a paper, from whichever field has it."""
    return next(_arxiv_ids(paper), None)


def _arxiv_ids(paper: Paper) -> Iterator[str]:
    doi = paper.metadata.get("doi", "")
    named = (paper.metadata.get("arxiv_id", ""), paper.url or "", doi, paper.id)
    return (found for text in named if (found := find_arxiv_id(str(text))))


def is_newer(paper: Paper, other: Paper) -> bool:
    """Tell whether a paper is a later version of the other; only arXiv says so."""
    one, two = arxiv_id_of(paper), arxiv_id_of(other)
    if one is None or two is None or without_version(one) != without_version(two):
        return False
    mine, theirs = _version(paper, one), _version(other, two)
    return mine is not None and theirs is not None and mine > theirs


def _version(paper: Paper, arxiv_id: str) -> int | None:
    """Return the version that any of the fields has."""
    bare = without_version(arxiv_id)
    found = (each[len(bare) + 1 :] for each in _arxiv_ids(paper) if each.startswith(f"{bare}v"))
    return next((int(version) for version in found if version.isdecimal()), None)


@dataclass(frozen=True, slots=True)
class IndexedDuplicate:
    """A record that is of a paper in the index, which has another id."""

    paper: Paper
    """As it was read."""
    indexed: Paper
    words: str
    """What both have in common."""
    replaces: bool
    """Whether it is a later version, and takes the other's place."""


def _words(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    return " ".join(re.findall(r"\w+", plain))


class SeenKeys:
    """Where each key was first read: 8 bytes of its hash, in a temporary file beyond 32 MB."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        # An empty name is a database in a temporary file, which SQLite removes by itself.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -32768")
        self._database.execute(
            "CREATE TABLE seen "
            "(key INTEGER PRIMARY KEY, path INTEGER, line INTEGER, record INTEGER)"
        )
        self._database.execute("BEGIN")
        self._paths: list[str] = []

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def match(
        self, wanted: Sequence[str], path: str, line: int | None, record: int | None
    ) -> tuple[str, str] | None:
        """Look for the first record with one of some keys, and remember them all as its own.

        Args:
            wanted: Keys of the record that was just read.
            path: Where it was read.
            line: As for an error.
            record: As for an error.

        Returns:
            The key that was seen before and where, in words; None if all are new.
        """
        if not self._paths or self._paths[-1] != path:
            self._paths.append(path)
        own = (len(self._paths) - 1, line, record)
        digests = [key_digest(key) for key in wanted]
        rows = [self._database.execute(_FIND, [digest]).fetchone() for digest in digests]
        found = next((pair for pair in zip(wanted, rows, strict=True) if pair[1]), None)
        first = found[1] if found else own
        self._database.executemany(_ADD, [(digest, *first) for digest in digests])
        return (found[0], place(self._paths[first[0]], *first[1:])) if found else None


_FIND = "SELECT path, line, record FROM seen WHERE key = ?"
_ADD = "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)"


def key_digest(key: str) -> int:
    """Return 8 bytes of a hash of a key; who finds an equal one compares the keys."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)

"""Readable ids for papers that come without one. Pure; knows nothing of files.

An id depends on the title alone, so that it is the same in whatever order files are read.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_SLUG_CHARS = 60
_HASH_CHARS = 8
# Two titles that differ in these alone are one paper; whatever else is lost gets a hash.
_FAITHFUL = re.compile(r"[a-z0-9\s\-:,.;?!'\"()/]*")


def slug(title: str) -> str:
    """Make an id out of a title: ``"Pointer Networks"`` becomes ``"pointer-networks"``.

    Args:
        title: A title that is not blank.

    Returns:
        At most ``MAX_SLUG_CHARS`` characters of ``[a-z0-9-]``, cut at a word. Where the cut or the
        alphabet loses something, a short hash of the title keeps different titles apart.
    """
    folded = _fold(title)
    words = re.findall(r"[a-z0-9]+", folded.replace("'", ""))
    whole = "-".join(words)
    if whole and len(whole) <= MAX_SLUG_CHARS and _FAITHFUL.fullmatch(folded):
        return whole
    return f"{_cut(whole, MAX_SLUG_CHARS - _HASH_CHARS - 1) or 'paper'}-{_digest(title)}"


def _fold(title: str) -> str:
    decomposed = unicodedata.normalize("NFKD", title)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.sub("[‐-―]", "-", re.sub("[‘’]", "'", re.sub("[“”]", '"', plain))).lower()


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[: limit + 1].rpartition("-")[0] or text[:limit]


def _digest(title: str) -> str:
    canonical = " ".join(unicodedata.normalize("NFC", title).casefold().split())
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]

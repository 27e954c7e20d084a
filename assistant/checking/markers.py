"""Text without what looks like a citation marker, such as "[3]": only our own may stand there."""

from __future__ import annotations

import re

_MARKER = re.compile(r"\s*\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]")


def without_markers(text: str) -> str:
    """Return a text without the citation markers that a question, abstract or title holds."""
    return _MARKER.sub("", text)


def plain(text: str) -> str:
    """Return a text on one line, without citation markers."""
    return " ".join(without_markers(text).split())

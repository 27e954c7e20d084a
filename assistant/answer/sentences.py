"""Sentences of an abstract or an answer, as exact character spans. Pure.

pysbd (Sadvilkar and Neumann 2020, doi:10.18653/v1/2020.nlposs-1.15) knows decimals, "e.g.",
"et al." and the like. It also cuts enumerations ("(i) ... (ii) ..."); a piece that does not end
like a sentence is therefore joined to the next one.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import Any

Span = tuple[int, int]

_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]}$]*$")
_ABBREVIATED_END = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|Fig|Eq|Sec|resp|approx|a\.k\.a|w\.r\.t)\.$")
_LOCK = threading.Lock()


@functools.cache
def _segmenter() -> Any:
    from pysbd import Segmenter

    return Segmenter(language="en", clean=False)


@functools.lru_cache(maxsize=4096)
def sentence_spans(text: str) -> tuple[Span, ...]:
    """Spans (start, end) in characters, in order, without the white space around them.

    No character but white space lies outside the spans.
    """
    # pysbd takes what stands between two dashes for a quotation and does not look inside.
    text = text.replace("--", ",,")
    with _LOCK:  # pysbd keeps the text in the segmenter
        pieces: list[str] = _segmenter().segment(text) if text.strip() else []
    spans: list[Span] = []
    position = 0
    for piece in pieces:
        words = piece.strip()
        start = text.find(words, position) if words else -1
        if start < 0:
            continue
        # What pysbd dropped between two pieces belongs to the later one.
        start = position + len(text[position:start]) - len(text[position:start].lstrip())
        position = text.find(words, start) + len(words)
        if spans and not ends_sentence(text[slice(*spans[-1])]):
            start = spans.pop()[0]
        spans.append((start, position))
    rest = text[position:].rstrip()
    if rest.strip():
        start = spans.pop()[0] if spans else len(text) - len(text.lstrip())
        spans.append((start, position + len(rest)))
    return tuple(spans)


def ends_sentence(piece: str) -> bool:
    """Whether a text ends where a sentence may end."""
    return bool(_SENTENCE_END.search(piece)) and not _ABBREVIATED_END.search(piece)

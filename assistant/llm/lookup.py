"""What comes next, guessed from a text that is likely to be copied from. Pure.

An answer that keeps to the words of an abstract repeats long runs of it. Where the last tokens
written stand in the abstract, the tokens behind them are a good guess; the model checks a whole
guess in one pass, which costs little more than one token where decoding waits for memory. What is
written stays the same to the token (Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023,
arXiv:2304.04487).
"""

from __future__ import annotations

from collections.abc import Sequence

MATCHED = 2
"""Tokens at the end that must stand in the source for a guess."""

COPIED = 4
"""Tokens at the end from which on it is taken for a copy."""

GUESSED, GUESSED_OF_COPY = 1, 15
"""Tokens that are guessed at a time. A pass over 16 tokens fills a tile of llama.cpp's matrix
product and takes as long as one over 12 (see docs/engine.md)."""

_LONGEST = 16


class Lookup:
    """Guesses from one source.

    Args:
        source: Tokens that may be copied.
    """

    def __init__(self, source: Sequence[int]) -> None:
        self._source = list(source)
        self._places: dict[tuple[int, ...], list[int]] = {}
        for end in range(MATCHED, len(self._source)):
            self._places.setdefault(tuple(self._source[end - MATCHED : end]), []).append(end)

    def guess(self, written: Sequence[int], most: int) -> list[int]:
        """The tokens that follow in the source, none if the end of ``written`` is not in it.

        Of several places the one with the longest match counts, of equals the last. The longer it
        is, the more is guessed.
        """
        places = self._places.get(tuple(written[-MATCHED:]), [])
        if not places or most < 1:
            return []
        matched, place = max((self._matched(written, end), end) for end in places)
        length = GUESSED_OF_COPY if matched >= COPIED else GUESSED
        return self._source[place : place + min(length, most)]

    def _matched(self, written: Sequence[int], end: int) -> int:
        length = 0
        while (
            length < min(len(written), end, _LONGEST)
            and self._source[end - 1 - length] == written[-1 - length]
        ):
            length += 1
        return length

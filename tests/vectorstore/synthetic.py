"""Papers with words of their own."""

from __future__ import annotations

from vectorstore import Paper


def synthetic(number: int, version: int = 0) -> Paper:
    """Return a paper that only "Subject<number>" finds; the number of chunks differs by version."""
    own = f"Subject{number}"
    sentence = f"The method of {own} is examined in experiment {{}} of series{version}, at length. "
    sentences = 4 + (number + 3 * version) % 7 * 4
    return Paper(
        id=f"paper-{number}",
        title=f"On {own} and its neighbours",
        abstract="".join(sentence.format(n) for n in range(sentences)).strip(),
        year=2000 + number % 25,
        metadata={"version": version},
    )

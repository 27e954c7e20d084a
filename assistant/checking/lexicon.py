"""Word lists of the check: words that carry logic, and which words mean the same or the opposite.

``lexicon.toml`` has the closed classes, ``wordnet.tsv`` has pairs of ordinary words.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_CLASSES = ("negators", "hedges", "quantifiers", "limits", "light", "parts_of_a_text", "stop")


@functools.cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@functools.lru_cache(maxsize=65536)
def stem_of(word: str) -> str:
    """Return the Snowball stem of a lowercase word, the same for British and American spelling."""
    word = re.sub(r"is(e[ds]?|ing|ation|ations)$", r"iz\1", word)
    if len(word) > 5:
        word = re.sub(r"our(s|ed|ing|al)?$", r"or\1", word)
    return str(_stemmer().stemWord(word))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The word lists. Lists of words hold words as written; relations hold stems."""

    negators: frozenset[str]
    hedges: frozenset[str]
    quantifiers: frozenset[str]
    limits: frozenset[str]
    light: frozenset[str]
    parts_of_a_text: frozenset[str]
    stop: frozenset[str]
    rising: frozenset[str]
    falling: frozenset[str]
    synonyms: Mapping[str, frozenset[str]]
    derived: Mapping[str, frozenset[str]]
    antonyms: Mapping[str, frozenset[str]]


@functools.cache
def lexicon() -> Lexicon:
    """Return the word lists, read once."""
    parts = tomllib.loads((_FOLDER / "lexicon.toml").read_text(encoding="utf-8"))
    pairs = _wordnet_pairs()
    for group in parts["synonyms"]:
        pairs["synonym"] += itertools.permutations(group.split(), 2)
    for pair in parts["antonyms"].split():
        one, other = pair.split("-")
        pairs["antonym"].append((one, other))
    words = {name: frozenset(parts[name].split()) for name in _CLASSES}
    return Lexicon(
        **words,
        rising=frozenset(map(stem_of, parts["rising"].split())),
        falling=frozenset(map(stem_of, parts["falling"].split())),
        synonyms=_related(pairs["synonym"]),
        derived=_related(pairs["derived"]),
        antonyms=_related(pairs["antonym"]),
    )


def _wordnet_pairs() -> defaultdict[str, list[tuple[str, str]]]:
    pairs = defaultdict[str, list[tuple[str, str]]](list)
    for line in (_FOLDER / "wordnet.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            relation, one, other = line.split("\t")
            pairs[relation].append((one, other))
    return pairs


def _related(pairs: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
    related = defaultdict[str, set[str]](set)
    for one, other in pairs:
        first, second = stem_of(one), stem_of(other)
        if first != second:
            related[first].add(second)
            related[second].add(first)
    return {stem: frozenset(others) for stem, others in related.items()}

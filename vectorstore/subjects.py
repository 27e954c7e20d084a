"""Groups of near papers, named by their own words. Only importer of ``sklearn``.

k-means on the embeddings; a group's name are the words and pairs of words with the highest
class-based TF-IDF (Grootendorst 2022, arXiv:2203.05794): frequent in the group, rare outside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_SEED = 0
_MOST_TERMS = 20_000
_WORD = re.compile(r"(?u)\b[^\W\d_][\w-]+\b")
_OF_EVERY_PAPER = frozenset(
    """according achieve achieves approach approaches art based demonstrate different effective
    existing experiments extensive findings framework http https introduce investigate method
    methods novel outperforms paper performance present problem propose proposed recent result
    results show shows significant state state-of-the-art studies study task tasks used using
    various work works www""".split()
)
"""Words of abstracts that tell nothing of their subject."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One group."""

    words: tuple[str, ...]
    """Most telling first; none is part of another."""
    members: tuple[int, ...]
    """Positions of its texts, the most typical first."""


def find_subjects(
    texts: Sequence[str], vectors: NDArray[np.float32], most: int
) -> tuple[Subject, ...]:
    """Group texts by their vectors, into about the square root of half their number.

    Args:
        texts: What names the groups.
        vectors: Shape (len(texts), dimension), rows of norm 1.
        most: Most groups.

    Returns:
        The groups, largest first; every text is in one of them.
    """
    from sklearn.cluster import KMeans

    count = max(1, min(most, round((len(texts) / 2) ** 0.5)))
    fitted = KMeans(n_clusters=count, n_init=10, random_state=_SEED).fit(vectors)
    centres = fitted.cluster_centers_ / np.linalg.norm(
        fitted.cluster_centers_, axis=1, keepdims=True
    )
    near = np.einsum("ij,ij->i", vectors, centres[fitted.labels_])
    groups = [np.flatnonzero(fitted.labels_ == each) for each in range(count)]
    groups = sorted((group for group in groups if len(group)), key=len, reverse=True)
    words = _telling_words(texts, groups)
    return tuple(
        Subject(words[i], tuple(int(each) for each in group[np.argsort(-near[group])]))
        for i, group in enumerate(groups)
    )


def _telling_words(
    texts: Sequence[str], groups: Sequence[NDArray[np.intp]]
) -> list[tuple[str, ...]]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    silent = ENGLISH_STOP_WORDS | _OF_EVERY_PAPER

    def terms_of(text: str) -> list[str]:
        """Words that tell something, and pairs of them that stand next to each other."""
        words = _WORD.findall(text.lower())
        telling = [word not in silent and not word.endswith("ly") for word in words]
        pairs = zip(pairwise(words), pairwise(telling), strict=True)
        return [
            *(word for word, tells in zip(words, telling, strict=True) if tells),
            *(f"{one} {other}" for (one, other), tell in pairs if all(tell)),
        ]

    vectorizer = CountVectorizer(analyzer=terms_of, binary=True, max_features=_MOST_TERMS)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # nothing but stop words
        return [() for _ in groups]
    terms = vectorizer.get_feature_names_out()
    by_group = np.vstack([np.asarray(counts[group].sum(axis=0)).ravel() for group in groups])
    share = by_group / np.array([[len(group)] for group in groups])
    weight = share * np.log(1 + len(groups) * share.mean() / share.mean(axis=0))
    pairs = np.array([" " in term for term in terms])
    # A pair says more than its words, which are at least as frequent.
    weight = np.where(pairs, 1.5 * weight, weight)
    # What only one of several papers says is not what they have in common.
    weight = np.where(by_group < 2, 0.1 * weight, weight)
    return [_distinct(terms[np.argsort(-row, kind="stable")[:40]]) for row in weight]


def _distinct(ranked: Sequence[str]) -> tuple[str, ...]:
    """Without a term that shares a word with a better one; singular and plural are one word."""
    chosen: list[str] = []
    taken: set[str] = set()
    for term in ranked:
        words = {re.sub(r"s$", "", word) for word in term.split()}
        if not words & taken:
            chosen.append(term)
            taken |= words
    return tuple(chosen)

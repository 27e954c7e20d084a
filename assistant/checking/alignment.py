"""Which word of a sentence is which word of the paper, and which of its sentences are meant.

The words of a sentence are laid on the words of the abstract so that the same words, synonyms and
derived forms meet and their order is kept as far as possible: the best path through the candidates,
found by a beam search (the monolingual alignment of MacCartney et al. 2008, D08-1084, in small).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from assistant.checking.lexicon import lexicon
from assistant.checking.sentences import sentence_spans
from assistant.checking.words import Kind, Word, letters_of, words_of

MOST_SENTENCES = 3
"""Sentences of an abstract that one sentence may rest on."""
NEXT_SENTENCE_ADDS = 0.1
"""Share of a sentence's weight that a further sentence of the abstract must add."""
LIGHT_WEIGHT = 0.3
"""Weight of words such as "study" and "show"; a content word weighs 1."""
SHORTEST_LETTERS = 5
"""Letters from which a word may also be found inside another: "upregulation" in "up-regulation"."""
_TITLE_WORTH = 0.8
_CANDIDATES, _BEAM = 12, 12
_SKIPPED = 0.35
_JUMP, _BACKWARDS, _OTHER_SENTENCE = 0.12, 0.25, 0.6
_APART = 1000
"""Distance between the sentences of an abstract, in words: more than any sentence has."""


def similarity(one: Word, other: Word) -> float:
    """Return how nearly two words mean the same, in [0, 1]."""
    if one.number is not None or other.number is not None:
        same = one.number is not None and one.number == other.number
        return float(same or one.plain == other.plain)
    if one.stem == other.stem:
        return 1.0
    known = lexicon()
    if other.stem in known.derived.get(one.stem, ()):
        return 0.8
    shared = _shared_beginning(one.plain, other.plain)
    longer = max(len(one.plain), len(other.plain))
    shorter = min(len(one.plain), len(other.plain))
    if shared >= 5 and shared >= 0.7 * longer:
        return 0.85
    if shared >= 4 and shared >= 0.75 * shorter and shared >= 0.55 * longer:
        return 0.7
    return 0.6 if other.stem in known.synonyms.get(one.stem, ()) else 0.0


def _shared_beginning(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def weight_of(word: Word) -> float:
    """Return how much a word of a sentence matters."""
    if word.kind in (Kind.LIMIT, Kind.FUNCTION) or word.plain in lexicon().light:
        return LIGHT_WEIGHT
    return 1.0


class PaperWords:
    """The words of a paper, prepared once for all sentences that are compared with it.

    Args:
        title: Counts as text, but is never quoted.
        abstract: Spans point into it.
    """

    def __init__(self, title: str, abstract: str) -> None:
        self.spans = sentence_spans(abstract)
        self.sentences = [
            words_of(abstract[start:end], sentence=number, offset=start)
            for number, (start, end) in enumerate(self.spans)
        ]
        self.title = words_of(title)
        self.title_letters = letters_of(title)
        self.sentence_letters = [letters_of(abstract[start:end]) for start, end in self.spans]
        self.letters = self.title_letters + letters_of(abstract)

    @property
    def all_words(self) -> list[Word]:
        """The words of title and abstract."""
        return [*self.title, *(word for sentence in self.sentences for word in sentence)]


@dataclass(frozen=True, slots=True)
class Place:
    """A word of the paper that a word of a sentence was laid on.

    Attributes:
        word: The paper's word.
        position: Its place among the words of the chosen sentences.
        similarity: How nearly it means the same, in (0, 1].
    """

    word: Word
    position: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """A sentence laid on the sentences of a paper that hold most of it.

    Attributes:
        words: All words of the sentence.
        laid: Those that are no function words, in order.
        places: By position of a laid word in the sentence: where it was laid.
        chosen: Numbers of the abstract's sentences that are meant, in order.
        found: By position: how nearly the chosen sentences or the title hold the word, in [0, 1].
    """

    words: Sequence[Word]
    laid: Sequence[Word]
    places: Mapping[int, Place]
    chosen: Sequence[int]
    found: Mapping[int, float]

    @property
    def content(self) -> list[Word]:
        """The words with content."""
        return [word for word in self.words if word.has_content]


def align(paper: PaperWords, sentence: str) -> Alignment:
    """Lay a sentence on a paper."""
    words = words_of(sentence)
    content = [word for word in words if word.has_content]
    chosen, covered = _chosen_sentences(paper, content)
    found = {
        word.position: max(
            covered.get(word.position, 0.0),
            _TITLE_WORTH * max((similarity(word, each) for each in paper.title), default=0.0),
        )
        for word in content
    }
    laid = [word for word in words if word.kind is not Kind.FUNCTION]
    line = [
        (rank * _APART + word.position, word)
        for rank, number in enumerate(chosen)
        for word in paper.sentences[number]
    ]
    return Alignment(words, laid, _laid_places(laid, line), chosen, found)


def _chosen_sentences(
    paper: PaperWords, content: Sequence[Word]
) -> tuple[list[int], dict[int, float]]:
    """Take the sentences that hold most of what is still missing, one after the other."""
    held = [_held(paper, number, content) for number in range(len(paper.sentences))]
    total = sum(map(weight_of, content))
    chosen: list[int] = []
    covered: dict[int, float] = {}
    while len(chosen) < MOST_SENTENCES:
        gains = [
            sum(
                weight_of(word) * max(0.0, here[word.position] - covered.get(word.position, 0.0))
                for word in content
                if word.position in here
            )
            for here in held
        ]
        best = max(range(len(gains)), key=gains.__getitem__, default=-1)
        if best < 0 or gains[best] <= 0 or (chosen and gains[best] < NEXT_SENTENCE_ADDS * total):
            break
        chosen.append(best)
        for position, value in held[best].items():
            covered[position] = max(value, covered.get(position, 0.0))
    return sorted(chosen), covered


def _held(paper: PaperWords, number: int, content: Sequence[Word]) -> dict[int, float]:
    held: dict[int, float] = {}
    for word in content:
        value = max((similarity(word, each) for each in paper.sentences[number]), default=0.0)
        if not value and is_inside(word, paper.sentence_letters[number]):
            value = 0.9
        if value:
            held[word.position] = value
    return held


def is_inside(word: Word, letters: str) -> bool:
    """Return True if a text's letters hold those of a long word, whatever stands between them."""
    own = "".join(char for char in word.plain if char.isalnum())
    return word.number is None and len(own) >= SHORTEST_LETTERS and own in letters


@dataclass(frozen=True, slots=True)
class _Path:
    score: float
    last: tuple[int, int] | None
    """Position in the paper and in the sentence of the last word that was laid."""
    places: tuple[Place | None, ...]


def _laid_places(laid: Sequence[Word], line: Sequence[tuple[int, Word]]) -> dict[int, Place]:
    beam = [_Path(0.0, None, ())]
    for word in laid:
        candidates = _candidates(word, line)
        grown = [
            _Path(path.score - _SKIPPED * weight_of(word), path.last, (*path.places, None))
            for path in beam
        ]
        grown += [_extended(path, word, place) for path in beam for place in candidates]
        grown.sort(key=lambda path: -path.score)
        best: dict[int | None, _Path] = {}
        for path in grown:
            best.setdefault(path.last and path.last[0], path)
            if len(best) == _BEAM:
                break
        beam = list(best.values())
    places = zip(laid, beam[0].places, strict=True)
    return {word.position: place for word, place in places if place is not None}


def _extended(path: _Path, word: Word, place: Place) -> _Path:
    weight, cost = weight_of(word), 0.0
    if path.last is not None:
        step = place.position - path.last[0]
        expected = word.position - path.last[1]
        cost = _JUMP * math.log1p(abs(step - expected))
        if abs(step) >= _APART / 2:
            cost = _OTHER_SENTENCE
        cost += _BACKWARDS * (step <= 0) + (step == 0)
    score = path.score + weight * place.similarity - cost * min(1.0, weight + LIGHT_WEIGHT)
    return _Path(score, (place.position, word.position), (*path.places, place))


def _candidates(word: Word, line: Sequence[tuple[int, Word]]) -> list[Place]:
    likeness = _likeness(word)
    places = [
        Place(other, position, value) for position, other in line if (value := likeness(other))
    ]
    return places[:_CANDIDATES]


def _likeness(word: Word) -> Callable[[Word], float]:
    if word.kind is Kind.NEGATOR:
        return lambda other: (
            1.0 if other.plain == word.plain else 0.8 * (other.kind is Kind.NEGATOR)
        )
    if word.kind is Kind.LIMIT:
        return lambda other: float(other.stem == word.stem)
    return lambda other: similarity(word, other)

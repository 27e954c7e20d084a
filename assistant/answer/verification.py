"""Which words, numbers and names a question or a sentence shares with a paper. Pure.

Finds the sentences of an abstract that have most to do with a text; whether a paper says what a
sentence says is judged by `assistant.checking`.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from assistant.checking.sentences import Span, sentence_spans
from vectorstore import Paper

DocumentFrequency = Callable[[Iterable[str]], Mapping[str, int]]

STOP_WORDS = frozenset(
    """a about above across after again against all almost along also although always among an and
    another any are around as at be because been before being below between both but by can could
    did do does doing done down during each either else etc ever every few for from further had has
    have having he her here hers him his how however i if in into is it its itself just least less
    like made make makes many may me might more most much must my near neither never no nor not now
    of off often on once one only or other others our out over own paper per perhaps quite rather
    same say says she should since so some such than that the their them then there these they
    this those though through thus to together too toward towards under until up upon us use used
    uses using very via was we well were what when where whether which while who whom whose why
    will with within without would yes yet you your abstract authors author described describes
    mention mentioned mentions propose proposed proposes called named approach method work study
    question answer achieved achieve achieves show shows shown include includes including
    """.split()
)

COMMON_AT_LEAST, COMMON_SHARE = 3, 0.05
"""Papers, and share of all papers, from which on a name is a word of the field."""

_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
        fifteen sixteen seventeen eighteen nineteen twenty""".split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "hundred": "100", "threefold": "3"}

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?", re.UNICODE)
_NAME = re.compile(r"[^\W_][\w\-^+*/.]*[^\W_]|[^\W_]", re.UNICODE)
_COUNTED = re.compile(r"(?<![\w.(-])\d+(?:[.,]\d+)*(?![\w)]|\.\d)")
_LATEX = re.compile(r"\\[\"'`^~=.]\{?([A-Za-z])\}?|\\[a-zA-Z]+\s*|[\\{}$^~]")


class Evidence:
    """One paper, prepared for checking sentences against it.

    Args:
        paper: Spans point into its abstract; the title counts as text, but is never quoted.
        frequency: Number of papers that hold each of the given words.
        collection_size: Number of papers.
    """

    def __init__(self, paper: Paper, frequency: DocumentFrequency, collection_size: int) -> None:
        title, abstract = paper.title, paper.abstract
        self.paper = paper
        self._frequency = frequency
        self._size = max(collection_size, 1)
        self._spans = sentence_spans(abstract)
        self._stems_by_span = [stems(abstract[a:b]) for a, b in self._spans]
        self._stems = stems(title).union(*self._stems_by_span)
        self._numbers = numbers(f"{title} {abstract}")
        self._flat = flatten(f"{title} {abstract}")
        self._initials = "".join(
            word[0] for word in re.findall(r"[a-z]+", f"{title} {abstract}".casefold())
        )

    def lacks_a_number(self, sentence: str) -> bool:
        """Return True if a sentence has a number that the paper has nowhere."""
        return bool(numbers(sentence) - self._numbers)

    def supporting_spans(self, weights: Mapping[str, float], most: int = 3) -> tuple[Span, ...]:
        """Greedy cover: the abstract's sentences that together hold most of the weight.

        A further sentence is taken only for at least an eighth of the weight that is held at all.
        """
        open_stems = {stem for stem in weights if stem in self._stems}
        enough = sum(weights[stem] for stem in open_stems) / 8
        chosen: list[int] = []
        while len(chosen) < most:
            gains = [
                sum(weights[stem] for stem in open_stems & held) for held in self._stems_by_span
            ]
            best = max(range(len(gains)), key=gains.__getitem__, default=-1)
            if best < 0 or gains[best] <= 0 or (chosen and gains[best] < enough):
                break
            chosen.append(best)
            open_stems -= self._stems_by_span[best]
        return tuple(self._spans[index] for index in sorted(chosen))

    def _weights(self, sentence: str) -> dict[str, float]:
        by_word = content_words(sentence)
        frequency = self._frequency(by_word)
        weights: dict[str, float] = {}
        for word in by_word:
            idf = math.log(1 + self._size / (1 + frequency.get(word, 0)))
            weights[stem_of(word)] = max(idf, weights.get(stem_of(word), 0.0))
        return weights

    def leaves_out_a_number(self, sentence: str, spans: Sequence[Span]) -> bool:
        """Whether the spans of a sentence have a number that it has not.

        Which of two numbers was asked for, and that one was asked for at all, a small model gets
        wrong too often; the spans have them all.
        """
        said = _digits(sentence) | numbers(sentence)
        return any(
            (_digits(self.paper.abstract[a:b]) | numbers(self.paper.abstract[a:b])) - said
            for a, b in spans
        )

    def spans_about(self, text: str) -> tuple[Span, ...]:
        """The sentences of the abstract that share most with a text; none if no word is shared."""
        return self.supporting_spans(self._weights(text), most=1)

    def absent(self, words: Iterable[str]) -> list[str]:
        """Those of the words that the paper has in none of their forms."""
        return [word for word in words if stem_of(word) not in self._stems]

    def foreign_names(self, question: str) -> tuple[str, ...]:
        """Names that a question asks about and the paper does not hold, nor spells out in words.

        An abbreviation counts as spelt out where the paper has words in a row with its initials.
        What many papers of the collection name, such as "NLP", is a word of the field.
        """
        foreign = [
            name
            for name in names(question)
            if not self._holds(name.removesuffix("s")) and not self._has_initials(name)
        ]
        frequency = self._frequency(foreign)
        common = max(COMMON_AT_LEAST, COMMON_SHARE * self._size)
        return tuple(name for name in foreign if frequency.get(name, 0) < common)

    def _has_initials(self, name: str) -> bool:
        short = name.removesuffix("s")
        return short.isupper() and short.casefold() in self._initials

    def _holds(self, name: str) -> bool:
        return flatten(name) in self._flat


def flatten(text: str) -> str:
    """Letters and digits alone, without accents, case or LaTeX: names compare by it."""
    return "".join(char for char in _unaccented(text) if char.isalnum())


def _unaccented(text: str) -> str:
    """Return a text in lower case without accents and LaTeX, however its letters are encoded."""
    plain = _LATEX.sub(r"\1", unicodedata.normalize("NFC", text))
    folded = unicodedata.normalize("NFKD", plain).casefold()
    return "".join(char for char in folded if not unicodedata.combining(char))


@functools.cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@functools.lru_cache(maxsize=65536)
def stem_of(word: str) -> str:
    """Snowball stem of a lowercase word; British and American spellings fall together."""
    word = re.sub(r"is(e[ds]?|ing|ation|ations)$", r"iz\1", word)
    return str(_stemmer().stemWord(word))


def words_of(text: str) -> list[str]:
    """Lowercase words, accents and LaTeX removed; numbers by value, also those in words."""
    return [_canonical(match.group()) for match in _TOKEN.finditer(_unaccented(text))]


def _canonical(word: str) -> str:
    if word[0].isdigit():
        plain = word.replace(",", "")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return _NUMBER_WORDS.get(word, word.removesuffix("'s").removesuffix("’s"))


def content_words(text: str) -> list[str]:
    """The words that carry the content, each once, in order."""
    return list(
        dict.fromkeys(
            word
            for word in words_of(text)
            if word not in STOP_WORDS and (len(word) > 1 or word.isdigit())
        )
    )


def stems(text: str) -> set[str]:
    """Stems of all words of a text."""
    return {stem_of(word) for word in words_of(text)}


def numbers(text: str) -> set[str]:
    """Numbers, as digits: ``nine`` and ``9`` are one, ``1,000`` and ``1000`` too."""
    return {word for word in words_of(text) if word[0].isdigit()} - {"1"}  # "one" is rarely one


def _digits(text: str) -> set[str]:
    """Numbers that are written in digits and do not count the items of a list."""
    return {_canonical(match) for match in _COUNTED.findall(text)}


def names(text: str) -> list[str]:
    """What looks like a name: capitals or digits inside a word, or a capital inside a sentence."""
    found = []
    for start, end in sentence_spans(text):
        for position, match in enumerate(_NAME.finditer(text[start:end])):
            word = match.group()
            inside = any(char.isupper() or char.isdigit() for char in word[1:])
            capital = position > 0 and word[0].isupper() and word.casefold() not in STOP_WORDS
            if (inside or capital) and not word[0].isdigit() and len(word) > 1:
                found.append(word)
    return found

"""Measures of what speaks against a sentence, each with the words that it was found in.

Every measure is a number that grows with what is wrong, 0 where nothing is; ``judgement`` weighs
them. A measure knows one kind of mistake: a missing word, a number of something else, a dropped
negation, a direction that was turned round, a hedge that was left out, two things exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from assistant.checking.alignment import (
    Alignment,
    PaperWords,
    Place,
    weight_of,
)
from assistant.checking.lexicon import lexicon
from assistant.checking.words import Kind, Word, letters_of

FOUND = 0.5
"""Similarity from which a word counts as found."""
REPEATED_WEIGHT = 0.3
"""Weight of a missing word that only repeats the question."""
NEGATION_REACH = 4
"""Words behind a negator that it may negate."""
GAP = 4
"""Words of the paper between two words that stand side by side in the sentence."""
_NEIGHBOURS = 3
_PREFIXES = ("un", "in", "im", "non", "dis", "ir", "anti", "mis")


@dataclass(frozen=True, slots=True)
class Defect:
    """One measure of a sentence.

    Attributes:
        size: 0 where nothing is wrong; its scale is its own.
        reason: What was found, for the reader; empty if nothing was.
    """

    size: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """A sentence laid on a paper, and the words that its measures look at."""

    paper: PaperWords
    alignment: Alignment
    evidence: Sequence[Word]
    """The words of the chosen sentences."""
    repeated: frozenset[str]
    """Stems of the question's words."""

    @property
    def words(self) -> Sequence[Word]:
        """The words of the sentence."""
        return self.alignment.words

    def place(self, word: Word) -> Place | None:
        """Return where a word was laid."""
        return self.alignment.places.get(word.position)

    def found(self, word: Word) -> float:
        """Return how nearly the chosen sentences or the title hold a word, in [0, 1]."""
        return self.alignment.found.get(word.position, 0.0)

    def pairs(self) -> Iterator[tuple[Word, Word]]:
        """Yield each laid content word with its word of the paper."""
        for word in self.alignment.laid:
            place = self.place(word)
            if place is not None and word.has_content and word.number is None:
                yield word, place.word

    def shared_context(self, word: Word, other: Word) -> float:
        """Return how much of what stands around two words is the same, the nearer the more."""
        return sum(
            weight_of(near)
            * (1.0 if near.clause == word.clause else 0.5)
            / (1 + abs(near.position - word.position))
            / (1 + abs(there.position - other.position))
            for near, there in self.pairs()
            if there.sentence == other.sentence and near is not word and there is not other
        )


def compare(paper: PaperWords, alignment: Alignment, question: Iterable[Word] = ()) -> Compared:
    """Bring a sentence and its evidence together."""
    evidence = [word for number in alignment.chosen for word in paper.sentences[number]]
    repeated = frozenset(word.stem for word in question if word.has_content)
    return Compared(paper, alignment, evidence, repeated)


def _listed(words: Iterable[Word]) -> str:
    return ", ".join(f"“{text}”" for text in dict.fromkeys(word.text for word in words))


# Words that the paper does not have


def _missing(compared: Compared) -> list[Word]:
    return [
        word
        for word in compared.alignment.content
        if compared.found(word) < FOUND and word.number is None
    ]


def missing_share(compared: Compared) -> Defect:
    """Measure the share of the sentence's weight that its evidence does not hold, in [0, 1]."""
    total = sum(map(weight_of, compared.alignment.content))
    missing = sum(
        _missing_weight(compared, word) * (1 - compared.found(word))
        for word in compared.alignment.content
    )
    words = [word for word in _missing(compared) if weight_of(word) == 1]
    reason = f"the paper does not say {_listed(words)} there" if words else ""
    return Defect(missing / total if total else 1.0, reason)


def missing_any(compared: Compared) -> Defect:
    """Return 1 if a content word is missing."""
    words = [word for word in _missing(compared) if _missing_weight(compared, word) == 1]
    reason = f"the paper does not say {_listed(words)} there" if words else ""
    return Defect(float(bool(words)), reason)


def _missing_weight(compared: Compared, word: Word) -> float:
    if word.stem in compared.repeated:
        return REPEATED_WEIGHT * weight_of(word)
    return weight_of(word)


def missing_names(compared: Compared) -> Defect:
    """Count the names that neither the evidence nor the title holds."""
    letters = compared.paper.title_letters + "".join(
        compared.paper.sentence_letters[number] for number in compared.alignment.chosen
    )
    names = [
        word
        for word in compared.words
        if word.is_name
        and word.stem not in compared.repeated
        and letters_of(word.text) not in letters
    ]
    reason = f"the name {_listed(names)} does not stand there" if names else ""
    return Defect(len(names), reason)


# Numbers


def _numbers(words: Iterable[Word]) -> list[Word]:
    return [word for word in words if word.number is not None]


def missing_numbers(compared: Compared) -> Defect:
    """Count the numbers that the evidence does not hold; "one" and "both" are rarely numbers."""
    there = {word.number for word in _numbers(compared.evidence)}
    missing = [
        word
        for word in _numbers(compared.words)
        if word.number not in there
        and word.plain not in ("one", "both")
        and word.stem not in compared.repeated
    ]
    reason = f"the number {_listed(missing)} does not stand there" if missing else ""
    return Defect(len(missing), reason)


def wrong_units(compared: Compared) -> Defect:
    """Count the numbers that stand there with another unit, such as points for percent."""
    wrong = []
    for word in _numbers(compared.words):
        same = [each for each in _numbers(compared.evidence) if each.number == word.number]
        units = {each.unit for each in same}
        told = {"%", "points", "fold"}
        if same and word.unit in told and not {word.unit, ""} & units:
            wrong.append(word)
    reason = f"{_listed(wrong)} stands there with another unit" if wrong else ""
    return Defect(len(wrong), reason)


def exchanged_numbers(compared: Compared) -> Defect:
    """Measure in [0, 1] how much better another number fits what stands around a number."""
    worst, reason = 0.0, ""
    numbers = _numbers(compared.evidence)
    for word in _numbers(compared.words):
        same = [each for each in numbers if each.number == word.number]
        if not same:
            continue
        others = [
            each for each in numbers if each.number != word.number and each.unit == same[0].unit
        ]
        own = max(compared.shared_context(word, each) for each in same)
        foreign, other = max(
            ((compared.shared_context(word, each), each) for each in others),
            key=lambda found: found[0],
            default=(0.0, word),
        )
        size = (foreign - own) / (foreign + own + 0.05)
        if size > worst:
            worst = size
            reason = f"the paper says “{other.text}” where the sentence says “{word.text}”"
    return Defect(worst, reason)


# Order


def _slot(compared: Compared, index: int) -> tuple[int, int] | None:
    """Return the places of a laid word's nearest neighbours, if they stand near each other."""
    laid = compared.alignment.laid
    word = laid[index]

    def nearest(candidates: Iterable[Word]) -> Word | None:
        placed = (
            each for each in candidates if each.kind is not Kind.LIMIT and compared.place(each)
        )
        return next(placed, None)

    before = nearest(reversed(laid[max(0, index - _NEIGHBOURS) : index]))
    behind = nearest(laid[index + 1 : index + 1 + _NEIGHBOURS])
    if before is None or behind is None or word is None:
        return None
    first, last = compared.place(before), compared.place(behind)
    assert first is not None
    assert last is not None
    step = last.position - first.position
    near = 0 < step <= behind.position - before.position + GAP
    return (first.position, last.position) if near else None


def _out_of_place(compared: Compared, wanted: Callable[[Word], bool]) -> list[Word]:
    """Return the words that do not stand between their neighbours' places."""
    out = []
    for index, word in enumerate(compared.alignment.laid):
        if not wanted(word):
            continue
        slot, place = _slot(compared, index), compared.place(word)
        if slot and not (place and slot[0] < place.position < slot[1]):
            out.append(word)
    return out


def _moved_back(compared: Compared, wanted: Callable[[Word], bool]) -> list[Word]:
    """Return the words that stand before the word behind which the sentence puts them."""
    moved, last = [], None
    for word in compared.alignment.laid:
        place = compared.place(word)
        if place is None or word.kind is Kind.LIMIT:
            continue
        if (
            last is not None
            and wanted(word)
            and place.word.sentence == last.word.sentence
            and place.position < last.position
        ):
            moved.append(word)
        last = place
    return moved


def _order_defect(words: Sequence[Word], size: float) -> Defect:
    return Defect(size, f"{_listed(words)} stands elsewhere in the paper" if words else "")


def misplaced_numbers(compared: Compared) -> Defect:
    """Count the numbers that do not stand between the words around them."""
    words = _out_of_place(compared, lambda word: word.kind is Kind.NUMBER)
    return _order_defect(words, len(words))


def moved_numbers(compared: Compared) -> Defect:
    """Count the numbers whose order is turned round."""
    words = _moved_back(compared, lambda word: word.kind is Kind.NUMBER)
    return _order_defect(words, len(words))


def moved_names(compared: Compared) -> Defect:
    """Count the names whose order is turned round."""
    words = _moved_back(compared, lambda word: word.is_name)
    return _order_defect(words, len(words))


def moved_words(compared: Compared) -> Defect:
    """Measure the share of words whose order is turned round, in [0, 1]."""
    words = _moved_back(compared, lambda word: word.has_content)
    return _order_defect(words, len(words) / max(1, len(compared.alignment.laid)))


def inversions(compared: Compared) -> Defect:
    """Count the pairs of content words in the opposite order, at most ten."""
    pairs = [pair for pair in compared.pairs() if pair[0].plain not in lexicon().light]
    turned = [
        (one, other)
        for index, (one, there) in enumerate(pairs)
        for other, there_too in pairs[index + 1 :]
        if there.sentence == there_too.sentence and there.position > there_too.position
    ]
    reason = "the paper has these words in another order" if turned else ""
    return Defect(min(10.0, len(turned)), reason)


def _line(compared: Compared) -> Iterator[tuple[int, Word]]:
    ranks = {number: rank for rank, number in enumerate(compared.alignment.chosen)}
    for word in compared.evidence:
        yield ranks[word.sentence] * 1000 + word.position, word


def broken_runs(compared: Compared) -> Defect:
    """Measure the share of neighbouring words that are no neighbours in the paper, in [0, 1]."""
    laid = compared.alignment.laid
    placed = [(word, place) for word in laid if (place := compared.place(word))]
    kept = sum(
        0 < there.position - here.position <= other.position - word.position + 1
        for (word, here), (other, there) in pairwise(placed)
    )
    return Defect(1 - kept / max(1, len(laid) - 1))


# Polarity


def _is_negated(words: Sequence[Word], word: Word) -> bool:
    negators = sum(
        0 < word.position - other.position <= NEGATION_REACH
        and abs(word.clause - other.clause) <= 1
        for other in words
        if other.kind is Kind.NEGATOR
    )
    return negators % 2 == 1


def negation(compared: Compared) -> Defect:
    """Measure the weight of the words that only one side negates."""
    turned = [
        (word, there)
        for word, there in compared.pairs()
        if _is_negated(compared.words, word)
        != _is_negated(compared.paper.sentences[there.sentence], there)
    ]
    reason = ""
    if turned:
        word, there = turned[0]
        denied = _is_negated(compared.words, word)
        reason = f"only {'the sentence' if denied else 'the paper'} denies “{there.text}”"
    return Defect(sum(weight_of(word) for word, _ in turned), reason)


def negation_on_one_side(compared: Compared) -> Defect:
    """Return 1 if only the sentence or only its evidence has a negating word."""
    own = [word for word in compared.words if word.kind is Kind.NEGATOR]
    there = [word for word in compared.evidence if word.kind is Kind.NEGATOR]
    if bool(own) == bool(there):
        return Defect(0.0)
    side = "the sentence" if own else "the paper"
    return Defect(1.0, f"only {side} says {_listed(own or there)}")


def dropped_negators(compared: Compared) -> Defect:
    """Count the negating words that the sentence leaves out between words that it keeps."""
    words = [word for word in _left_out(compared) if word.kind is Kind.NEGATOR]
    return Defect(len(words), f"the paper says {_listed(words)}" if words else "")


def _left_out(compared: Compared) -> Iterator[Word]:
    """Yield the paper's words between two places that neighbouring words of the sentence have."""
    placed = [(word, place) for word in compared.alignment.laid if (place := compared.place(word))]
    taken = {place.position for _, place in placed}
    line = dict(_line(compared))
    if placed:
        start = placed[0][1].position
        yield from (line[at] for at in range(start - 3, start) if at in line)
    for (word, here), (other, there) in pairwise(placed):
        if 0 < there.position - here.position <= other.position - word.position + GAP + 1:
            for at in range(here.position + 1, there.position):
                if at in line and at not in taken:
                    yield line[at]


def opposites(compared: Compared) -> Defect:
    """Count the words whose opposite stands in the evidence and which do not stand there."""
    there = {word.stem: word for word in compared.evidence}
    found = [
        (word, there[stem])
        for word in compared.words
        if word.stem not in there
        for stem in lexicon().antonyms.get(word.stem, ())
        if stem in there
    ]
    reason = ""
    if found:
        word, other = found[0]
        reason = f"the paper says “{other.text}”, the sentence “{word.text}”"
    return Defect(len({word.position for word, _ in found}), reason)


def negating_prefixes(compared: Compared) -> Defect:
    """Count the words that differ from the paper's by a prefix such as "un" or "non"."""
    there = {word.plain for word in compared.evidence}
    found = [
        word
        for word in compared.alignment.content
        if word.plain not in there
        and any(
            prefix + word.plain in there
            or (word.plain.startswith(prefix) and word.plain.removeprefix(prefix) in there)
            for prefix in _PREFIXES
        )
    ]
    return Defect(len(found), f"the paper has the opposite of {_listed(found)}" if found else "")


def direction(compared: Compared) -> Defect:
    """Measure how much better the opposite direction fits what stands around a direction."""
    there = [word for word in compared.evidence if word.direction]
    worst, reason = 0.0, ""
    for word in compared.words:
        if not word.direction:
            continue
        literally = any(each.stem == word.stem for each in there)
        own = 0.3 * literally + max(
            (
                compared.shared_context(word, each)
                for each in there
                if each.direction == word.direction
            ),
            default=0.0,
        )
        foreign, other = max(
            (
                (compared.shared_context(word, each), each)
                for each in there
                if each.direction == -word.direction
            ),
            key=lambda found: found[0],
            default=(0.0, word),
        )
        if foreign - own > worst:
            worst = foreign - own
            reason = f"the paper says “{other.text}”, the sentence “{word.text}”"
    return Defect(worst, reason)


# Strength


def dropped_hedges(compared: Compared) -> Defect:
    """Return 1 if the evidence is careful ("may", "some", "associated") and the sentence is not."""
    known = lexicon().hedges
    there = [word for word in compared.evidence if word.plain in known]
    own = any(word.plain in known for word in compared.words)
    if own or not there:
        return Defect(0.0)
    return Defect(1.0, f"the paper only says {_listed(there)}")


def added_quantifiers(compared: Compared) -> Defect:
    """Count the strong words ("all", "only", "causes") that do not stand in the evidence."""
    there = {word.stem for word in compared.evidence}
    words = [
        word
        for word in compared.words
        if word.plain in lexicon().quantifiers
        and word.stem not in there
        and word.stem not in compared.repeated
    ]
    return Defect(len(words), f"the paper does not say {_listed(words)}" if words else "")


MEASURES: dict[str, Callable[[Compared], Defect]] = {
    measure.__name__: measure
    for measure in (
        missing_share,
        missing_any,
        missing_names,
        missing_numbers,
        wrong_units,
        exchanged_numbers,
        misplaced_numbers,
        moved_numbers,
        moved_names,
        moved_words,
        inversions,
        broken_runs,
        negation,
        negation_on_one_side,
        dropped_negators,
        opposites,
        negating_prefixes,
        direction,
        dropped_hedges,
        added_quantifiers,
    )
}
"""Every measure by name, in the order in which ``weights.json`` lists them."""

CONTRADICTIONS = frozenset(
    """exchanged_numbers misplaced_numbers moved_numbers moved_names moved_words inversions
    negation negation_on_one_side dropped_negators opposites negating_prefixes direction
    wrong_units""".split()
)
"""Measures that find the paper saying something else, rather than nothing."""

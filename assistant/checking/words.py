"""The words of a text with their places, and the numbers among them by value."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import Enum

from assistant.checking.lexicon import lexicon, stem_of

_WORD = re.compile(
    r"\d+(?:[.,]\d+)*"
    r"|(?:[^\W\d_]|\\[\"'`^~=.]\{?[A-Za-z]\}?)+(?:['’](?:t|s|re|ve|ll|d|m)\b)?"
)
_CLAUSE_MARK = re.compile(r"[,;:()]|\s[-–]\s|—")
_CLAUSE_WORDS = frozenset(
    "but while whereas although though however and which because when if".split()
)
_LATEX_ACCENT = re.compile(r"\\[\"'`^~=.]\{?([A-Za-z])\}?")
_ANSWER_WORD = re.compile(r"\s*(?:yes|no)\s*[,:;.–—-]\s*(?=\w)", re.IGNORECASE)

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_WORDS: dict[str, float] = {
    **{word: float(value) for value, word in enumerate(_ONES)},
    **{word: 10.0 * value for value, word in enumerate(_TENS, start=2)},
    **{f"{word}fold": float(value) for value, word in enumerate(_ONES) if value >= 2},
    "half": 0.5, "quarter": 0.25, "twice": 2.0, "double": 2.0, "doubled": 2.0, "doubles": 2.0,
    "doubling": 2.0, "triple": 3.0, "tripled": 3.0, "thrice": 3.0, "both": 2.0, "couple": 2.0,
    "dozen": 12.0, "hundred": 100.0, "hundreds": 100.0, "thousand": 1e3, "thousands": 1e3,
}  # fmt: skip
_MULTIPLIERS = {"hundred": 100.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3}
_FOLDS = frozenset({"twice", "double", "doubled", "doubles", "doubling", "triple", "tripled"})
_UNIT = re.compile(
    r"\s*\\?(?:%|percent(?:age)?|per\s?cent)(?P<points>\s*-?points?)?"
    r"|\s*-?\s*(?P<fold>fold|x\b|times\b|×)"
    r"|\s*-?(?P<word>[a-zµμ]+(?:/[a-z]+)?)"
)
_MOST_UNIT_CHARACTERS = 24


class Kind(Enum):
    """The part that a word plays in the check."""

    NUMBER = "number"
    NEGATOR = "negator"
    LIMIT = "limit"
    DIRECTION = "direction"
    CONTENT = "content"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text.

    Attributes:
        text: The word as written.
        plain: Lowercase, without accents.
        start: Offset of its first character in the text.
        end: Offset behind its last character.
        position: Number of words before it in its sentence.
        clause: Number of clause boundaries before it in its sentence.
        sentence: Number of its sentence in the abstract, or -1.
        number: Its value, if it is a number.
        has_content: True if it says something about the subject matter.
        direction: 1 for words such as "increases" and "better", -1 for their opposites, else 0.
        kind: The part that it plays in the check.
        number: Its value, if it is a number.
        unit: What a number counts: ``%``, ``points``, ``fold``, or the next word.
    """

    text: str
    plain: str
    stem: str
    start: int
    end: int
    position: int
    clause: int
    sentence: int
    has_content: bool
    direction: int
    kind: Kind
    number: float | None = None
    unit: str = ""

    @property
    def is_name(self) -> bool:
        """True for words with capitals or digits, other than a capital at a sentence's start."""
        inside = any(char.isupper() or char.isdigit() for char in self.text[1:])
        capital = self.position > 0 and self.text[:1].isupper()
        return (
            self.number is None and self.has_content and len(self.text) > 1 and (inside or capital)
        )


def plain_text(text: str) -> str:
    """Return a text in lowercase and without accents, compatibility forms resolved."""
    decomposed = unicodedata.normalize("NFKD", _LATEX_ACCENT.sub(r"\1", text)).casefold()
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def letters_of(text: str) -> str:
    """Return the letters and digits of a text alone: names compare by them."""
    return "".join(char for char in plain_text(text) if char.isalnum())


def without_answer_word(sentence: str) -> str:
    """Return a sentence without the "Yes," or "No," that answers a question before it."""
    match = _ANSWER_WORD.match(sentence)
    return sentence[match.end() :] if match else sentence


def words_of(text: str, *, sentence: int = -1, offset: int = 0) -> list[Word]:
    """Return the words of one sentence, in order.

    Args:
        text: The sentence.
        sentence: Its number in the abstract.
        offset: Where it begins in the abstract.
    """
    words: list[Word] = []
    clause, last = 0, 0
    for match in _WORD.finditer(text):
        raw = match.group()
        plain = plain_text(raw).replace("’", "'")
        clause += bool(_CLAUSE_MARK.search(text, last, match.start())) or plain in _CLAUSE_WORDS
        for part in _parts(plain):
            value = _value(part, text, match.end())
            joined = _joined(words, part, text[last : match.start()])
            if joined is not None:
                words[-1] = replace(words[-1], number=joined, end=offset + match.end())
                continue
            words.append(
                Word(
                    raw,
                    part,
                    stem_of(part),
                    offset + match.start(),
                    offset + match.end(),
                    len(words),
                    clause,
                    sentence,
                    *_part_played(part, value),
                    value,
                    _unit(part, text, match.end()) if value is not None else "",
                )
            )
        last = match.end()
    return words


def _part_played(plain: str, value: float | None) -> tuple[bool, int, Kind]:
    known, stem = lexicon(), stem_of(plain)
    has_content = value is not None or (len(plain) > 1 and plain not in known.stop)
    direction = (stem in known.rising) - (stem in known.falling)
    if value is not None:
        kind = Kind.NUMBER
    elif plain in known.negators:
        kind = Kind.NEGATOR
    elif plain in known.limits:
        kind = Kind.LIMIT
    elif direction:
        kind = Kind.DIRECTION
    else:
        kind = Kind.CONTENT if has_content else Kind.FUNCTION
    return has_content, direction, kind


def _parts(plain: str) -> list[str]:
    if plain.endswith("n't"):
        return ["can" if plain == "can't" else plain[:-3], "not"]
    return [plain.removesuffix("'s")]


def _value(plain: str, text: str, end: int) -> float | None:
    """Return the value of a number; ``3 million``, ``164M`` and ``2k`` count as a whole."""
    if not plain[0].isdigit():
        return _NUMBER_WORDS.get(plain)
    grouped = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain)
    digits = plain.replace(",", "") if grouped else plain.replace(",", ".")
    try:
        value = float(digits)
    except ValueError:  # several points, as in a version or a date
        return None
    following = text[end : end + 12]
    if factor := re.match(r"\s*(k|million|billion|thousand)\b", following, re.IGNORECASE):
        return value * _MULTIPLIERS[factor.group(1).lower()]
    if factor := re.match(r"[MB]\b", following):
        return value * (1e6 if factor.group() == "M" else 1e9)
    return value


def _joined(words: list[Word], plain: str, between: str) -> float | None:
    """Return the value of the number word before and this one together: "ninety-seven"."""
    if not words or words[-1].number is None or between.strip(" -\u2010\u2011"):
        return None
    before = words[-1]
    if before.plain in _TENS and plain in _ONES[1:10]:
        return float(before.number or 0) + _NUMBER_WORDS[plain]
    if plain in _MULTIPLIERS:
        spelt = before.plain[0].isalpha()
        return float(before.number or 0) * (_MULTIPLIERS[plain] if spelt else 1.0)
    return None


def _unit(plain: str, text: str, end: int) -> str:
    if plain in _FOLDS or plain.endswith("fold"):
        return "fold"
    match = _UNIT.match(text[end : end + _MOST_UNIT_CHARACTERS].lower())
    if not match:
        return ""
    if match["fold"]:
        return "fold"
    if match["word"]:
        return match["word"]
    return "points" if match["points"] else "%"

"""Sentences of an abstract or an answer, as exact character spans. Pure.

The rules for English are those of pySBD (Sadvilkar and Neumann 2020,
doi:10.18653/v1/2020.nlposs-1.15), whose own code takes quadratic and for some texts exponential
time. Here each possible end is judged once, from the few characters around it, so the time grows
with the length of the text and with nothing else.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator

Span = tuple[int, int]

CONTEXT = 40
"""Characters before and behind a possible end that are looked at."""

_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]}$]*$")
_ABBREVIATED_END = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|Fig|Eq|Sec|resp|approx|a\.k\.a|w\.r\.t)\.$")

_LINE = re.compile(r"[^\r\n]+")
_POSSIBLE_END = re.compile(
    r"""(?<![.!?])(?P<marks>[.!?]++)(?P<closing>["'“”’)\]}$]*+)"""
    r"""(?:(?=\s|\Z|\([A-Z]{2})|(?<=[^\w\s.!?][.!?])(?=[A-Z]))"""
    r"""|[。！？]++["'”’」』）)\]]*+"""
)
_ENCLOSED = [
    re.compile(pattern)
    for pattern in (
        r"(?<!\S)'(?:[^']|(?<=\S)'[a-zA-Z])*(?<=\S)'",
        r"(?<!\S)‘(?:[^‘’]|’[a-zA-Z])*’",
        r'"[^"\\]*"',
        r"\[[^\[\]]*\]",
        r"\([^()]*\)",
        r"«[^«»]*»",
        r"“[^“”]*”",
    )
]
"""Quotations and brackets: an end inside them ends no sentence."""
_HIDDEN = str.maketrans(dict.fromkeys(".!?。！？", "\0"))

_ALWAYS_ABBREVIATED = frozenset(
    "adm attys brig capt cmdr col cpl det dr gen gov ing lt maj mr mrs ms mt messrs mssrs prof ph"
    " rep reps rev sen sens sgt st supt v vs fig".split()
)
_ABBREVIATED_BEFORE_NUMBER = frozenset("art ext no nos p pp".split())
_ABBREVIATED_BEFORE_SMALL_LETTER = frozenset(
    "adj adv al ala alta apr arc ariz ark assn asst aug ave bart bld bldg blvd bros btw cal calif"
    " cl co colo comdr con conn corp cres ct d.phil dak dec del dept dist dr.phil dr.philos drs"
    " e.g ens esp esq etc exp expy feb fed fla ft fwy fy ga hon hosp hr hway hwy i.e ia id ida ill"
    " inc ind insp is jan jr jul jun kan kans ken ky la ltd man mar mass may md me med mex mfg"
    " mich min minn miss mlle mm mme mo mont msgr mtn neb nebr nev nov nr oct ok okla ont op ord"
    " ore pa pd pde penn penna pfc ph.d pl plz pvt que rd rs ref res rt sask sec sep sept sfc sr"
    " surg tce tenn tex univ usafa u.s ut va ver viz vt wash wis wisc wy wyo yuk".split()
)
"""Abbreviations with a period: those before a name or number never end a sentence, others may."""
_DOTTED_ABBREVIATION = re.compile(r"\b[a-z](?:\.[a-z])+\Z", re.IGNORECASE)
_MAY_END = re.compile(r"(?:U\.S|U\.K|E\.U|U\.S\.A|I|i\.v|I\.V)\Z")
_SENTENCE_STARTER = re.compile(
    r"\s(?:A|Being|Did|For|He|How|However|I|In|It|Millions|More|She|That|The|There|They|We|What"
    r"|When|Where|Who|Why)\s"
)
_MORNING_OR_AFTERNOON = re.compile(r"\b(?:a\.m|p\.m|A\.M|P\.M)\Z")
_NUMBER_FOLLOWS = re.compile(r"\s\d|\s+\(")
_SMALL_LETTER_FOLLOWS = re.compile(r"\s(?:[a-z]|I\s|I'm|I'll|\d|\()")
_ELLIPSIS_FOLLOWS = re.compile(r"\s\.(?:\s|\Z)")
_CAPITAL_FOLLOWS = re.compile(r"\s+[A-Z]")
_INITIAL = re.compile(r"(?<!\S)[A-Z]\Z")
_LAST_WORD = re.compile(r"\S+\Z")
_LIST_MARKER = re.compile(r"(?<!\S)[-⁃]?(?P<marker>\d{1,2}|[a-z])\.(?=[\s)])")


@functools.lru_cache(maxsize=4096)
def sentence_spans(text: str) -> tuple[Span, ...]:
    """Return the spans (start, end) of the sentences, without the white space around them.

    No character but white space lies outside the spans.
    """
    spans: list[Span] = []
    start = 0
    for end in _ends(text):
        if ends_sentence(text[max(start, end - CONTEXT) : end]):
            spans.append(_stripped(text, start, end))
            start = end
    if text[start:].strip():
        spans.append(_stripped(text, start, len(text)))
    return tuple(spans)


def ends_sentence(piece: str) -> bool:
    """Return True if a text ends where a sentence may end."""
    return bool(_SENTENCE_END.search(piece)) and not _ABBREVIATED_END.search(piece)


def _stripped(text: str, start: int, end: int) -> Span:
    piece = text[start:end].lstrip()
    return end - len(piece), end - (len(piece) - len(piece.rstrip()))


def _ends(text: str) -> Iterator[int]:
    """Yield where pieces end: at the ends of sentences, and at the ends of lines."""
    for line in _LINE.finditer(text):
        for end in _ends_in_line(line[0]):
            yield line.start() + end
        yield line.start() + len(line[0].rstrip())


def _ends_in_line(line: str) -> Iterator[int]:
    shown = _without_enclosed_ends(line)
    list_periods = _list_periods(line)
    opening = line.lstrip()[:1]
    for possible in _POSSIBLE_END.finditer(line):
        mark, end = possible.start(), possible.end()
        before = line[max(0, mark - CONTEXT) : mark]
        behind = line[end : end + CONTEXT]
        if shown[mark] == "\0":
            is_end = _closes_sentence(possible["closing"] or "", behind, opening)
        elif possible["marks"] is None:
            is_end = True
        else:
            is_end = mark not in list_periods and _is_end(possible["marks"], before, behind)
        if is_end:
            yield end
            opening = behind.lstrip()[:1]


def _without_enclosed_ends(line: str) -> str:
    """Return the line, of the same length, without the marks inside quotations and brackets."""
    for enclosed in _ENCLOSED:
        line = enclosed.sub(lambda match: match[0].translate(_HIDDEN), line)
    return line


def _closes_sentence(closing: str, behind: str, opening: str) -> bool:
    """Return True if a sentence ends together with the quotation or bracket around its mark."""
    ends_quotation = closing.startswith(('"', "'", "“", "”", "’"))
    is_all_in_brackets = closing.startswith(")") and opening == "("
    return (ends_quotation or is_all_in_brackets) and bool(_CAPITAL_FOLLOWS.match(behind))


def _is_end(marks: str, before: str, behind: str) -> bool:
    """Return True if marks outside of quotations and brackets end a sentence."""
    if marks == "...":
        return bool(_CAPITAL_FOLLOWS.match(behind))
    if marks == "!":
        return not behind[1:2].islower() and not before.endswith("Yahoo")
    if marks != ".":
        return True
    if _ELLIPSIS_FOLLOWS.match(behind):
        return False
    if before[-1:].isspace() and not _CAPITAL_FOLLOWS.match(behind):
        return False
    return not _is_abbreviated(before, behind)


def _is_abbreviated(before: str, behind: str) -> bool:
    """Return True if a period belongs to an abbreviation and ends no sentence besides."""
    if _DOTTED_ABBREVIATION.search(before) or _INITIAL.search(before):
        if _MORNING_OR_AFTERNOON.search(before):
            return not _CAPITAL_FOLLOWS.match(behind)
        return not (_MAY_END.search(before) and _SENTENCE_STARTER.match(behind))
    word = _LAST_WORD.search(before)
    abbreviation = word[0].lower() if word else ""
    if abbreviation in _ABBREVIATED_BEFORE_NUMBER:
        return bool(_NUMBER_FOLLOWS.match(behind))
    if abbreviation in _ABBREVIATED_BEFORE_SMALL_LETTER:
        return bool(_SMALL_LETTER_FOLLOWS.match(behind))
    return abbreviation in _ALWAYS_ABBREVIATED


def _list_periods(line: str) -> set[int]:
    """Return where the periods of list markers are: 1. 2. 3. or a. b. c., or 1. at the start."""
    markers = [
        (int(marker) if (marker := match["marker"]).isdigit() else ord(marker), match.end() - 1)
        for match in _LIST_MARKER.finditer(line)
    ]
    periods = {period for _, period in markers[:1] if period <= 2}
    for (number, period), (next_number, next_period) in itertools.pairwise(markers):
        if next_number == number + 1:
            periods |= {period, next_period}
    return periods

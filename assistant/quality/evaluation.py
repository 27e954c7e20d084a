"""Judge one answer against the papers and facts that it should have.

A row of a question file for this has, beside ``question`` and ``history``, these columns:

- ``kind``: ``single``, ``multi``, ``followup``, ``adversarial``, ``count``, ``unanswerable``, or a
  name of the user's own. To an ``unanswerable`` question, declining is the right answer.
- ``papers``: titles or ids that a right answer cites, all of them; ``any_of`` is a list of such
  lists, of which one must be met. Without both, citations are not judged.
- ``also``: titles or ids that may be cited; so may titles that ``note`` holds.
- ``facts``: groups of strings; the answer must hold one string of each group. ``expected`` is one
  more group. Strings are compared without case, after NFKC, anywhere in the answer.
- ``wrong``: strings that an answer must not show as fact.
- ``answer``: the answer that an expert would give; only shown.

In the cells of a table, semicolons separate papers and groups, and bars the strings of a group.
The module works on the JSON of an answer and does not depend on how the answer was made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.question_files.questions import several

Row = Mapping[str, Any]

UNANSWERABLE = "unanswerable"

_JUDGED_COLUMNS = ("papers", "any_of", "facts", "expected", "wrong")
_MARKER = re.compile(r"\s*\[(\d+)\]")
_WORD = re.compile(r"\S*\w\S*")
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer, judged."""

    row: Row
    kind: str
    facts_met: tuple[bool, ...]
    """One for each group of facts; all false if the question was declined."""
    wrong_shown: tuple[str, ...]
    """The ``wrong`` strings that the answer shows as fact."""
    gold: frozenset[str]
    """Titles that should be cited; of several acceptable sets the one that fits best."""
    cited: frozenset[str]
    stray: frozenset[str]
    """Titles that are cited and should not be."""
    problems: tuple[str, ...]
    """Reasons, in words, why the answer is not right; none if it is."""
    unsupported: tuple[str, ...]
    """Numbers and names of shown sentences that the abstracts cited there do not hold."""
    broken: tuple[str, ...]
    """Quotes that are not the text at their offsets, and markers without a citation."""

    @property
    def right(self) -> bool:
        """True if all facts are met, all gold papers cited and no stray one; or rightly declined.

        A ``wrong`` string does not count here: it is measured by itself.
        """
        return not self.problems

    @property
    def status(self) -> str:
        """``answered``, ``abstained`` or ``error``."""
        return str(self.row["status"])

    @property
    def answerable(self) -> bool:
        """True if the papers hold an answer."""
        return self.kind != UNANSWERABLE

    @property
    def is_cold(self) -> bool:
        """True if papers had to be read for this question first."""
        return bool(self.row["tokens"].get("papers_read", 0))

    @property
    def probe(self) -> float | None:
        """Best log odds over the papers that were probed."""
        scores = [p["probe"] for p in self.row["passages"] if p["probe"] is not None]
        return max(scores, default=None)

    @property
    def words(self) -> int:
        """Number of words of the shown answer."""
        return count_words(shown_as_fact(self.row))

    @property
    def direct_answer(self) -> str:
        """The direct answer above the evidence, without markers; empty if there is none."""
        return without_markers(self.row.get("short") or "")

    def facts_within(self, words: int) -> bool:
        """Return True if the first words of the answer meet all groups of facts."""
        return all(_facts_met(first_words(shown_as_fact(self.row), words), facts_of(self.row)))


def judge(row: Row) -> Verdict:
    """Compare one answer with what its columns ask for."""
    kind = kind_of(row)
    cited = frozenset(citation["title"] for citation in row["citations"])
    titles = {each["paper_id"]: each["title"] for each in (*row["passages"], *row["citations"])}
    sets = [_titles(each, titles) for each in _gold_sets(row)]
    gold = _fitting(sets, cited)
    groups, shown = facts_of(row), shown_as_fact(row)
    facts = tuple(_facts_met(shown, groups))
    is_judged = bool(sets) or kind == UNANSWERABLE
    allowed = gold | _titles(row.get("also"), titles)
    stray = frozenset(t for t in cited - allowed if is_judged and t not in str(row.get("note", "")))
    return Verdict(
        row=row,
        kind=kind,
        facts_met=facts,
        wrong_shown=tuple(each for each in wrong_of(row) if _holds_one(shown, [each])),
        gold=gold,
        cited=cited,
        stray=stray,
        problems=tuple(
            _problems(row, kind, list(zip(groups, facts, strict=True)), gold - cited, stray)
        ),
        unsupported=tuple(unsupported(row)),
        broken=tuple(_broken(row)),
    )


def kind_of(columns: Row) -> str:
    """Return the kind of a question: its column, or else by what is wanted of its answer."""
    named = any(columns.get(name) for name in ("papers", "any_of", "facts", "expected"))
    return str(columns.get("kind") or ("single" if named else UNANSWERABLE))


def is_judged(columns: Row) -> bool:
    """Return True if the columns of a question say what its answer should be."""
    return any(columns.get(name) for name in ("kind", *_JUDGED_COLUMNS))


def facts_of(columns: Row) -> list[list[str]]:
    """Return the groups of strings of which an answer must hold one each.

    The strings of a list keep the blanks at their ends, which stand for the ends of words.
    """
    facts, expected = columns.get("facts") or [], columns.get("expected")
    groups: list[Any] = [*_table_groups(facts)] if isinstance(facts, str) else [*facts]
    if expected not in (None, "", []):
        groups.append(expected)
    return [strings for group in groups if (strings := _strings(group))]


def wrong_of(columns: Row) -> list[str]:
    """Return the strings that an answer must not show as fact."""
    wrong = columns.get("wrong") or []
    return _strings(list(several(wrong)) if isinstance(wrong, str) else wrong)


def _table_groups(cell: str) -> list[list[str]]:
    return [[variant.strip() for variant in part.split("|")] for part in several(cell)]


def _strings(values: Any) -> list[str]:
    """Return the strings of a group; one that is blank would be in every answer."""
    items = values if isinstance(values, list) else [values]
    return [text for item in items if (text := str(item)).strip()]


def gold_titles(columns: Row) -> set[str]:
    """Return all titles and ids that ``papers`` and ``any_of`` name."""
    return {title for each in _gold_sets(columns) for title in several(each)}


def _gold_sets(columns: Row) -> list[Any]:
    """Return the acceptable sets of papers, as given; none if no papers are asked for."""
    papers = columns.get("papers")
    return list(columns.get("any_of") or ([papers] if papers else []))


def _titles(named: Any, titles: Mapping[str, str]) -> frozenset[str]:
    """Return papers by title, also those that were named by id."""
    return frozenset(titles.get(each, each) for each in several(named))


def _fitting(sets: Sequence[frozenset[str]], cited: frozenset[str]) -> frozenset[str]:
    """Return the acceptable set of papers that the citations come closest to."""
    order = sorted(sets, key=lambda titles: (len(titles ^ cited), -len(titles)))
    return order[0] if order else frozenset()


def shown_as_fact(row: Row) -> str:
    """Return what an answer presents as fact: its text without markers if it answers, else nothing.

    A declined question shows the closest papers and what they do say, but not as its answer.
    """
    return without_markers(row["text"]) if row["status"] == "answered" else ""


def without_markers(text: str) -> str:
    """Return a text without the numbers of its citations, which are no facts of it."""
    return _MARKER.sub("", text)


def count_words(text: str) -> int:
    """Return the number of words; signs that stand alone are none."""
    return len(_WORD.findall(text))


def first_words(text: str, count: int) -> str:
    """Return the beginning of a text that ends with its word number ``count``."""
    words = list(_WORD.finditer(text))
    return text[: words[count - 1].end()] if len(words) >= count else text


def _facts_met(text: str, groups: Iterable[Sequence[str]]) -> list[bool]:
    return [_holds_one(text, group) for group in groups]


def _holds_one(text: str, variants: Sequence[str]) -> bool:
    padded = f" {' '.join(_folded(text).split())} "
    return any(_folded(variant) in padded for variant in variants)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _problems(
    row: Row,
    kind: str,
    facts: Sequence[tuple[Sequence[str], bool]],
    uncited: frozenset[str],
    stray: frozenset[str],
) -> list[str]:
    if row["status"] == "error":
        return [f"failed: {row['reason']}"]
    if kind == UNANSWERABLE:
        return ["answered, though the papers do not say"] * (row["status"] == "answered")
    if row["status"] == "abstained":
        return [f"abstained: {row['reason']}"]
    found = [f"lacks: {' / '.join(group)}" for group, met in facts if not met]
    retrieved = {passage["title"] for passage in row["passages"]}
    found += [
        f"does not cite{'' if title in retrieved else ' (nor retrieve)'}: {title}"
        for title in sorted(uncited)
    ]
    return found + [f"cites: {title}" for title in sorted(stray)]


def unsupported(row: Row) -> list[str]:
    """Return numbers and names of shown sentences that the abstracts cited there do not hold.

    This is independent of the check that let the sentences pass.
    """
    abstracts = {passage["paper_id"]: passage for passage in row["passages"]}
    papers = {c["number"]: abstracts.get(c["paper_id"]) for c in row["citations"]}
    found = []
    for sentence in row["sentences"]:
        sources = [papers.get(number) for number in sentence["citations"]]
        source = _letters(" ".join(f"{p['title']} {p['text']}" for p in sources if p))
        text = without_markers(sentence["text"])
        found += [word for word in _numbers_and_names(text) if not _occurs(word, source)]
    return found


def _numbers_and_names(text: str) -> list[str]:
    """Return words with a digit in them, or with a capital behind their first letter."""
    words = re.findall(r"\w[\w.,%+-]*\w|\w", text)
    return [w for w in words if any(c.isdigit() for c in w) or any(c.isupper() for c in w[1:])]


def _occurs(word: str, source: str) -> bool:
    if word.isdigit() and int(word) < len(_NUMBER_WORDS) and _NUMBER_WORDS[int(word)] in source:
        return True
    return _letters(word) in source


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())


def _broken(row: Row) -> list[str]:
    texts = {passage["paper_id"]: passage["text"] for passage in row["passages"]}
    found = [
        f"quote {c['number']}"
        for c in row["citations"]
        if texts.get(c["paper_id"], "")[c["start"] : c["end"]] != c["quote"] or not c["quote"]
    ]
    numbers = {citation["number"] for citation in row["citations"]}
    return found + [f"marker {number}" for number in sorted(markers_of(row) - numbers)]


def markers_of(row: Row) -> set[int]:
    """Return the numbers that the text of an answer points to."""
    return {int(number) for number in _MARKER.findall(row["text"])}

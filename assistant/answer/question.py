"""What kind of question is it, and does it stand alone? Pure.

Rules, not a model: they cost nothing, and what they decide can be read here.
"""

from __future__ import annotations

import re

from assistant.errors import QuestionError

MOST_CHARACTERS = 2000
"""Longer than any question; what is longer is a pasted text."""

_PAPERS = r"(?:papers|articles|works|studies)"
_METHODS = (
    r"(?:methods|approaches|techniques|frameworks|efforts|proposals|options|fixes|solutions|ways"
    r"|strategies)"
)
_SEVERAL = re.compile(
    rf"""\b(?:which|what|list|all|different|several|various|the)\s+(?:\S+\s+){{0,5}}?{_PAPERS}\b
    | \b(?:list|all|different|several|various)\s+(?:\S+\s+){{0,5}}?{_METHODS}\b
    | (?:^|[.?!:]\s)\W*(?:which|what)\s+(?:\S+\s+){{0,5}}?{_METHODS}\b
    | \b(?:compare|comparison|contrast(?!ive)|differences?\s+between)\b
    | \bone\b.+\banother\b | \bwho\s+(?:in|else|proposes)\b
    | \bis\s+there\s+(?:any\s+)?(?:theory|work|research)\b.+\bboth\b""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_OPENS_LIKE_A_FOLLOW_UP = re.compile(
    r"""^\W*(?:and|but|so|also|or|then|what\s+about|how\s+about)\b
    | \b(?:it|its|they|them|their|theirs|he|she|this|these|those)\b
    | \bthe\s+(?:authors|method|paper|approach|former|latter)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_REFERS_BACK = re.compile(
    r"""\b(?:that|those|the\s+same|such\s+an?|said)\s+
      (?:\w+\s+)?(?:method|paper|approach|model|work|one|thing|idea|kind|study|system|technique)s?\b
    | \blike\s+that\b""",
    re.IGNORECASE | re.VERBOSE,
)
_SHIFTS = re.compile(
    r"""\btoo\b(?=\s*(?:[,.;?!]|$|and\b)) | \bas\s+well\b(?!\s+as\b)
    | \b(?:is|are|has|have|does|do|did)\b.*\balso\b
    | \b(?:something|anything)\s+(?:like\s+that|similar)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_OF_THE_PAPER = (
    r"(?:the|an?|accuracy|approach(?:es)?|authors?|baselines?|better|contributions?|data|different"
    r"|evaluation|experiments?|findings|key|limitations?|limits|main|methods?|missing|models?|new"
    r"|next|novel|papers?|people|performance|results?|there|training|used|we|worse|wrong|you)\b"
)
_ASKS_BY_ITSELF = re.compile(
    rf"""^\W*(?:
      (?:what|who|how|why|where|when|which)\s+(?:is|are|was|were|do|does|did|can)
      | (?:define|explain)(?!\s+(?:more|again|further))
    )\s+(?!{_OF_THE_PAPER})\w""",
    re.IGNORECASE | re.VERBOSE,
)
"""A short question with a subject of its own, which is not what every paper has."""
_OPENING_WORDS = 8
"""A pronoun behind so many words mostly refers to one of them, not to an earlier question."""


def checked(question: str) -> str:
    """The question without the white space around it and without what cannot be shown.

    Raises:
        QuestionError: It is empty, has no word in it, or is too long to be one.
    """
    text = question.encode("utf-8", "replace").decode()
    text = "".join(char if char.isprintable() or char in "\n\t" else " " for char in text).strip()
    if not any(char.isalnum() for char in text):
        raise QuestionError(
            "there is no question in this text" if text else "the question is empty",
            hint='ask in words, such as: "Which datasets does BenchX compare on?"',
        )
    if len(text) > MOST_CHARACTERS:
        raise QuestionError(
            f"the question has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read",
            hint="shorten it; papers are added with: assistant ingest FILE",
        )
    return text


def asks_for_several(question: str) -> bool:
    """Whether the answer may lie in more than one paper."""
    return bool(_SEVERAL.search(question))


def refers_back(question: str) -> bool:
    """Whether a follow-up cannot be understood without the questions before it."""
    words = question.split()
    return (
        (len(words) <= 4 and not _ASKS_BY_ITSELF.match(question))
        or bool(_REFERS_BACK.search(question))
        or bool(_OPENS_LIKE_A_FOLLOW_UP.search(" ".join(words[:_OPENING_WORDS])))
    )


def shifts_subject(question: str) -> bool:
    """Whether a follow-up takes the matter of the earlier question elsewhere ("for GANs too?")."""
    return bool(_SHIFTS.search(question))

"""Links that an abstract mentions: where the code is, where the video is. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_URL = re.compile(
    r"""(?:https?://|(?<![\w@./])(?:www\.|github\.com/|gitlab\.com/|huggingface\.co/))"""
    r"""[^\s<>"{}|\\^`]+""",
    re.IGNORECASE,
)
_CODE_HOST = re.compile(
    r"^(?:[\w-]+\.)*(?:github\.(?:com|io)|gitlab\.[\w.-]+|huggingface\.co|bitbucket\.org)$"
)
_VIDEO_HOST = re.compile(r"^(?:[\w-]+\.)*(?:youtube\.com|youtu\.be|vimeo\.com)$")
_CODE_WORD = re.compile(r"\b(?:code|codebase|implementation|repository|source)\b", re.IGNORECASE)
_VIDEO_WORD = re.compile(r"\bvideos?\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?]\s")
_CLOSERS = {")": "(", "]": "["}


class Links(NamedTuple):
    """The first link of each kind, or None."""

    code_url: str | None
    video_url: str | None


def find_links(abstract: str) -> Links:
    """Find the code and video links of an abstract.

    A link is told by its host, else by the words before it in the same sentence
    ("code ... at URL").

    Args:
        abstract: Any text.

    Returns:
        Absolute addresses without the punctuation of the sentence around them.
    """
    found: dict[str, str] = {}
    for match in _URL.finditer(abstract):
        url = _absolute(_strip_punctuation(match.group()))
        kind = _kind(url, _SENTENCE_END.split(abstract[: match.start()])[-1])
        if kind is not None:
            found.setdefault(kind, url)
    return Links(found.get("code"), found.get("video"))


def _kind(url: str, before: str) -> str | None:
    host = url.split("/")[2].lower().rpartition("@")[2].partition(":")[0]
    if _VIDEO_HOST.match(host):
        return "video"
    if _CODE_HOST.match(host):
        return "code"
    last_code = max((m.end() for m in _CODE_WORD.finditer(before)), default=-1)
    last_video = max((m.end() for m in _VIDEO_WORD.finditer(before)), default=-1)
    if last_code == last_video:
        return None
    return "code" if last_code > last_video else "video"


def _absolute(url: str) -> str:
    return url if url.lower().startswith(("http://", "https://")) else f"https://{url}"


def _strip_punctuation(url: str) -> str:
    while url:
        last = url[-1]
        unbalanced = last in _CLOSERS and url.count(last) > url.count(_CLOSERS[last])
        if not unbalanced and last not in ".,;:!?'*_~$’”":
            return url
        url = url[:-1]
    return url

"""Who is at the page: a visitor's session, the user whose conversations they may see, and where.

Knows the headers of a request, nothing of Gradio.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Protocol


class Request(Protocol):
    """What is asked of a request, Gradio's or Starlette's."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""

    @property
    def query_params(self) -> Mapping[str, str]:
        """What the address of the page says behind its question mark."""


def session_of(request: object) -> str:
    """Gradio's name for one open page."""
    return str(getattr(request, "session_hash", ""))


def owner_of(request: Request) -> str:
    """The user who has logged in; empty where nobody has to.

    The password was checked before any handler is reached, see ``web``.
    """
    return credentials(request.headers.get("authorization", ""))[0]


def collection_of(request: Request) -> str:
    """The collection that the address of the page names; empty if it names none."""
    return str(dict(request.query_params).get("collection", ""))


def credentials(header: str) -> tuple[str, str]:
    """User and password of a header of HTTP's basic authentication (RFC 7617); empty if none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except ValueError:  # no base64, or no UTF-8 in it
        return "", ""
    user, _, password = decoded.partition(":")
    return user, password

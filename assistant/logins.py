"""Who may open the page: users with passwords, asked for by the browser itself.

HTTP's basic authentication (RFC 7617) around the whole application, so that no path is forgotten.
Knows nothing of what is behind it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.errors import ServerError
from assistant.visitors import credentials

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/gradio_api/startup-events",)
"""Gradio asks its own server there whether it is up; it tells nothing and changes nothing."""
WRONG_SECONDS = 0.5
"""A wrong password waits so long, so that guessing takes time."""
_FORM_HINT = "give USER:PASSWORD, or a file with one such line for each user"


@dataclass(frozen=True, slots=True)
class Logins:
    """Users and their passwords; without any, everybody is let in."""

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    def admit(self, header: str) -> bool:
        """Whether an ``Authorization`` header names a user and the right password."""
        if not self.passwords:
            return True
        user, password = credentials(header)
        known = self.passwords.get(user, "")
        # Compared even for an unknown user: the time must not tell who there is.
        right = hmac.compare_digest(known.encode(), password.encode())
        return right and user in self.passwords


def read_logins(given: Iterable[str]) -> Logins:
    """Read users from ``user:password`` or from files with one such line each.

    Raises:
        ServerError: One of them is neither, or has no user or no password.
    """
    passwords: dict[str, str] = {}
    for each in given:
        path = Path(each)
        is_file = path.is_file()
        lines = path.read_text(encoding="utf-8").splitlines() if is_file else [each]
        for line in lines:
            if is_file and (not line.strip() or line.startswith("#")):
                continue
            user, colon, password = line.partition(":")
            if not (colon and user.strip() and password):
                where = each if is_file else "--auth"
                raise ServerError(f"{where}: no user and password", hint=_FORM_HINT)
            passwords[user.strip()] = password
        if is_file and not passwords:
            raise ServerError(f"{each}: holds no user", hint=_FORM_HINT)
    return Logins(passwords)


def require_logins(host: str, logins: Logins, *, open_to_all: bool) -> None:
    """Refuse to serve other machines without logins, unless that is what was meant.

    Raises:
        ServerError: ``host`` can be reached from elsewhere, nobody has to log in, and nobody has
            said that this is meant.
    """
    if host in LOOPBACK or logins.passwords or open_to_all:
        return
    raise ServerError(
        f"{host} can be reached from other machines, and nobody has to log in",
        hint="add --auth USER:PASSWORD, or --open-to-all if everybody there may ask",
    )


class LoginGate:
    """Lets requests through that name a user and the right password."""

    def __init__(self, app: ASGIApp, logins: Logins) -> None:
        self._app = app
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if self._logins.admit(header):
            await self._app(scope, receive, send)
            return
        if header:
            await asyncio.sleep(WRONG_SECONDS)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        body = b"Please log in."
        headers = [
            (b"www-authenticate", b'Basic realm="Abstract Assistant", charset="UTF-8"'),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

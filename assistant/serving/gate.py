"""What every request passes before anything reads it: host, key, rate, and time for its body.

ASGI middleware that knows paths and headers, and nothing of what is behind it.

Reference:
    OWASP API Security Top 10 (2023): API2 (authentication), API4 (resource consumption);
    RFC 6750 (Bearer), RFC 7617 (Basic), RFC 6585 (429).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assistant.errors import SettingsError
from assistant.serving.logins import Logins
from assistant.ui.web import MOST_UPLOADED_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/health",)
PROGRAM_PATHS = ("/v1/", "/mcp", "/metrics", "/openapi.json")
"""Paths that programs use; the others are those of the page."""
MOST_BYTES = 1_000_000
"""Of a request; more than any question with its history."""
MOST_PAGE_BYTES = 16_000_000
"""Of a request of the page: the names of the chosen papers go along with a question."""
BODY_SECONDS = 30.0
"""A request must have arrived by then."""
UPLOAD_PATHS = ("/gradio_api/upload",)
"""Files of papers and questions that people drop on the page go there."""
UPLOAD_SECONDS = 1_800.0
WRONG_SECONDS = 0.5
"""A wrong password waits so long, so that guessing takes time."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how often."""

    host: str = "127.0.0.1"
    """Where the server listens."""
    key: str | None = None
    """What programs send as bearer token, and people as password; None: anybody may ask."""
    rate_limit: str = "240/minute"
    """Requests of programs from one address, as ``limits`` writes it: ``240/minute``."""
    origins: tuple[str, ...] = ()
    """Web sites whose scripts may ask."""
    logins: Logins = field(default_factory=Logins)
    """People who may open the page, beside those who know the key."""
    open_to_all: bool = False
    """Nobody has to prove anything, although other machines can reach the server."""

    def __post_init__(self) -> None:
        if not (self.guarded or self.open_to_all or self.host in LOOPBACK):
            raise SettingsError(
                f"{self.host} can be reached from other machines, and there is no API key",
                name="api_key",
                hint="export ASSISTANT_API_KEY=$(openssl rand -hex 32), or for people "
                "--auth USER:PASSWORD, or --open-to-all if everybody there may ask",
            )
        from limits import parse

        try:
            parse(self.rate_limit)
        except ValueError as error:
            raise SettingsError(
                f"{self.rate_limit!r} is no rate limit",
                name="rate_limit",
                hint="such as 240/minute",
            ) from error

    @property
    def guarded(self) -> bool:
        """Whether there is anything to be proved."""
        return self.key is not None or bool(self.logins.passwords)

    @property
    def hosts(self) -> list[str]:
        """Names by which the server may be called; on this machine its own only.

        A foreign site whose name resolves to this machine must not reach it.
        """
        return [*LOOPBACK, "[::1]"] if self.host in LOOPBACK else ["*"]


class Gate:
    """Lets requests through that have the key, not too often, and with a body that arrives.

    Args:
        app: What is behind it.
        access: Who may ask, and how often.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._app = app
        self._access = access
        self._limit = parse(access.rate_limit)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        by_program = scope["path"].startswith(PROGRAM_PATHS)
        uploads = scope["path"].startswith(UPLOAD_PATHS)
        most, most_seconds = MOST_BYTES if by_program else MOST_PAGE_BYTES, BODY_SECONDS
        if uploads:
            most, most_seconds = MOST_UPLOADED_BYTES, UPLOAD_SECONDS
        # Before the key is looked at, so that nobody may guess it for long.
        if by_program and (seconds := self._wait(scope)):
            await _respond(
                send,
                429,
                f"more than {self._limit} from one address",
                f"ask again in {seconds} s",
                code="rate_limit_exceeded",
                headers={"retry-after": str(seconds)},
            )
        elif not self._may_enter(scope, by_program=by_program):
            if not by_program and b"authorization" in dict(scope["headers"]):
                await asyncio.sleep(WRONG_SECONDS)
            await _refuse_stranger(scope, send, by_program=by_program)
        elif _announced_bytes(scope) > most:
            await _respond(
                send,
                413,
                "the request is too large",
                f"it may have {most:,} bytes",
                code="request_too_large",
                headers={"connection": "close"},
            )
        else:
            await self._app(scope, _bounded(receive, most, most_seconds), send)

    def _may_enter(self, scope: Scope, *, by_program: bool) -> bool:
        if not self._access.guarded:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, value = given.partition(b" ")
        if scheme.lower() == b"bearer":
            return self._is_key(value.strip())
        # A browser sends a password along wherever a foreign site leads it, so it opens the page
        # alone, whose requests a foreign site cannot make.
        if scheme.lower() == b"basic" and not by_program:
            admitted = self._access.logins.admit(given.decode("latin-1"))
            return admitted or self._is_key(_password(value))
        return False

    def _is_key(self, given: bytes) -> bool:
        key = self._access.key
        return key is not None and secrets.compare_digest(given, key.encode())

    def _wait(self, scope: Scope) -> int:
        """Seconds until this client may ask again; 0 if it may now."""
        address = scope["client"][0] if scope.get("client") else "local"
        if self._limiter.hit(self._limit, address):
            return 0
        until = self._limiter.get_window_stats(self._limit, address).reset_time
        return max(1, math.ceil(until - time.time()))


def _bounded(receive: Receive, most: int, seconds: float) -> Receive:
    """Give up on a body that is too large or does not come; behind it there is no limit."""
    from starlette.exceptions import HTTPException

    deadline = time.monotonic() + seconds
    arrived, count = False, 0

    async def receive_bounded() -> Message:
        nonlocal arrived, count
        if arrived:
            return await receive()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "the request did not arrive in time") from error
        arrived = not message.get("more_body", False)
        count += len(message.get("body", b""))
        if count > most:
            raise HTTPException(413, "the request is too large")
        return message

    return receive_bounded


def _announced_bytes(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _password(value: bytes) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


async def _refuse_stranger(scope: Scope, send: Send, *, by_program: bool) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    scheme = "Bearer" if by_program else 'Basic realm="Abstract Assistant", charset="UTF-8"'
    await _respond(
        send,
        401,
        "the API key is missing or wrong",
        "send it as: Authorization: Bearer KEY"
        if by_program
        else "give the API key as password, with any name",
        code="invalid_api_key",
        headers={"www-authenticate": scheme},
    )


async def _respond(
    send: Send, status: int, message: str, hint: str, *, code: str, headers: Mapping[str, str]
) -> None:
    body = json.dumps(error_fields(status, message, hint, code=code)).encode()
    fields: dict[str, Any] = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def error_fields(
    status: int,
    message: str,
    hint: str | None = None,
    *,
    param: str | None = None,
    code: str | None = None,
) -> dict[str, Any]:
    """An error as the API writes it, in the shape that OpenAI's clients read."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "hint": hint, "type": kind, "param": param, "code": code}
    return {"error": error}

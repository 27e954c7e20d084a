"""A small reverse proxy: ``python -m tests.browser.proxy TARGET PREFIX``; says where it is.

It shows TARGET below PREFIX and nothing else, streams both ways, and adds the headers that
docs/page.md asks of a proxy.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route

from assistant.serving.server import bound, run
from tests.browser.scripted_page import say

OF_THE_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "upgrade", "te"}
"""RFC 9110, 7.6.1: headers between two neighbours, which a proxy does not hand on."""


def proxy(target: str, prefix: str) -> Starlette:
    """The application."""
    client = httpx.AsyncClient(base_url=target, timeout=None)  # a stream may be silent

    async def hand_on(request: Request) -> StreamingResponse:
        path = request.url.path.removeprefix(prefix) or "/"
        headers = {n: v for n, v in request.headers.items() if n not in OF_THE_HOP}
        headers |= {"x-forwarded-host": request.headers["host"], "x-forwarded-proto": "http"}
        asked = client.build_request(
            request.method,
            httpx.URL(path=path, query=request.url.query.encode()),
            headers=headers,
            content=request.stream() if request.method == "POST" else None,
        )
        answer = await client.send(asked, stream=True)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()

        passed = {n: v for n, v in answer.headers.items() if n not in OF_THE_HOP}
        return StreamingResponse(body(), answer.status_code, passed)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    below = Route("/{path:path}", hand_on, methods=["GET", "HEAD", "POST", "DELETE"])
    return Starlette(routes=[Mount(prefix, routes=[below])], lifespan=lifespan)


if __name__ == "__main__":
    target, prefix = sys.argv[1:]
    listening = bound("127.0.0.1", 7990)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}"
    run(proxy(target, prefix), listening, on_start=lambda: say(f"The proxy is at {url}"))

"""One process for people and programs: the page, the API and MCP behind one gate.

The only importer of uvicorn. Puts the parts together and runs them; knows nothing of what they say.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

from assistant.serving.api import build_api
from assistant.serving.asking import Desk, ServedAssistant
from assistant.serving.gate import Access, Gate
from assistant.serving.mcp_server import mcp_routes
from assistant.serving.metrics import Metrics
from assistant.ui.tab_chat import StreamingAssistant
from assistant.ui.web import mount_page

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2
"""Left to open connections when the server is told to end; an open page keeps one for ever."""
MOST_CONNECTIONS = 512
PORTS_TRIED = 100
BACKLOG = 128


class PagedAssistant(ServedAssistant, StreamingAssistant, Protocol):
    """What page and programs need of an `Assistant`."""


def build_app(assistant: ServedAssistant, access: Access) -> Starlette:
    """The API and MCP for programs, behind the gate.

    Args:
        assistant: Answers the questions of all; it queues them itself.
        access: Who may ask.
    """
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    metrics = Metrics()
    desk = Desk(assistant, metrics)
    app = build_api(desk)
    _add_mcp(app, desk, access.host)
    # The last one added is the first to see a request.
    app.add_middleware(Gate, access=access)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=access.hosts, www_redirect=False)
    app.add_middleware(_Measured, metrics=metrics)
    return app


def serve(
    assistant: PagedAssistant,
    access: Access | None = None,
    *,
    port: int = 7860,
    page: bool = True,
    open_browser: bool = False,
    announce: Callable[[str], None] = logger.info,
    root_path: str = "",
) -> None:
    """Serve page and API until interrupted.

    Args:
        assistant: Answers the questions.
        access: Who may ask, and where to listen; by default this machine alone.
        port: Where to listen; the next free port is taken if this one is not free.
        page: Whether to serve the page beside the API.
        open_browser: Show the page in the user's browser.
        announce: Told where the server is, and what is unusual about it, a line at a time.
        root_path: Where a proxy in front of the server shows the page, such as ``/papers``.

    Raises:
        OSError: If no port can be had at the host.
    """
    access = access or Access()
    host = access.host
    listening = bound(host, port)
    chosen = int(listening.getsockname()[1])
    if chosen != port and port != 0:
        announce(f"Port {port} is taken; using {chosen}.")
    app = build_app(assistant, access)
    if page:
        mount_page(app, assistant, host=host, port=chosen, root_path=root_path)
    url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"

    def on_start() -> None:
        announce(f"Abstract Assistant is at {url}")
        if page:
            announce(f"Programs: {url}/v1 (OpenAI), {url}/mcp (MCP), {url}/openapi.json")
        if open_browser and page:
            import webbrowser

            webbrowser.open(url)

    try:
        run(app, listening, on_start=on_start)
    except KeyboardInterrupt:
        announce("Closing the page." if page else "Closing.")


def bound(host: str, port: int) -> socket.socket:
    """Take ``port`` or the first free one after it; for 0, any.

    Nobody else can have it from then on, and who connects waits until somebody serves.

    Raises:
        OSError: If none of ``PORTS_TRIED`` can be had, or ``host`` is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, candidate))
            taken.listen(BACKLOG)
        except OSError as error:
            taken.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        return taken
    raise OSError(f"no free port at {host} from {port} on")


def run(app: ASGIApp, listening: socket.socket, *, on_start: Callable[[], None]) -> None:
    """Serve an application until interrupted.

    Raises:
        KeyboardInterrupt: It was interrupted, and has ended in order.
        OSError: It could not start.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_start()

    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        proxy_headers=False,  # or a client could pass for another
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    with listening, contextlib.suppress(SystemExit):  # uvicorn's way to say that it cannot start
        server.run(sockets=[listening])
    if not server.started:
        raise OSError("the server did not start; run it again with -vv")


def _add_mcp(app: Starlette, desk: Desk, host: str) -> None:
    routes, running = mcp_routes(desk, host=host)
    app.router.routes.extend(routes)
    outer = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Any]:
        async with outer(served) as state, running():
            yield state

    app.router.lifespan_context = lifespan


class _Measured:
    """Counts responses by the template of their route, so that a metric has few labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 499  # its client left before there was a response

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", None) or "other"
            self._metrics.responded(scope["method"], route, status, time.monotonic() - started)

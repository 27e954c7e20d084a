"""The page: its tabs put together, served, and closed to everybody else.

Each tab is a module of its own, ``tab_chat`` and its kin; this one knows the server's options and
what keeps strangers out.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant import page, tab_batch, tab_chat, tab_map, tab_papers, tab_settings
from assistant.conversations import Conversations
from assistant.logins import LOOPBACK, LoginGate, Logins, require_logins
from assistant.resources import asset
from assistant.tab_chat import StreamingAssistant

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

TABS: Mapping[str, Callable[[gr.Blocks, Any, Conversations], None]] = {
    "Chat": tab_chat.build,
    "Papers": tab_papers.build,
    "Map": tab_map.build,
    "Batch": tab_batch.build,
    "Settings": tab_settings.build,
}
"""What fills each tab, in their order."""
STYLES = ("page.css", "tabs.css")
MOST_UPLOADED = "500mb"
"""Of one file of papers or questions."""
UPLOADS_KEPT_SECONDS = 24 * 3600
PORTS_TRIED = 100

_ASSETS = Path(__file__).parent
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""Gradio needs inline scripts and eval; the rest, any other host above all, is closed."""


def build_page(assistant: StreamingAssistant) -> gr.Blocks:
    """Lay out the page and wire its events; nothing is served yet.

    Args:
        assistant: Answers the questions of all visitors; it queues them itself.
    """
    _forbid_telemetry()
    import gradio as gr

    settings = assistant.settings
    kept = Conversations(settings.conversations if settings.keep_conversations else None)
    blocks: gr.Blocks = gr.Blocks(
        title="Abstract Assistant",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, UPLOADS_KEPT_SECONDS),
    )
    with blocks:
        gr.HTML(
            page.header(len(assistant.store)),
            elem_id="masthead",
            apply_default_css=False,
            js_on_load=None,
        )
        with gr.Tabs(elem_id="tabs"):
            for name, build in TABS.items():
                with gr.Tab(name, id=name.lower(), elem_id=f"tab-{name.lower()}"):
                    build(blocks, assistant, kept)
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def serve(
    assistant: StreamingAssistant,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = False,
    announce: Callable[[str], None] = logger.info,
    logins: Logins | None = None,
    open_to_all: bool = False,
    root_path: str = "",
) -> None:
    """Serve the page until interrupted.

    Args:
        assistant: Answers the questions.
        host: Address to listen on; anything but the default can be reached from other machines.
        port: Where to listen; the next free port is taken if this one is not free.
        open_browser: Show the page in the user's browser.
        announce: Told where the page is, and what is unusual about it, a line at a time.
        logins: Who may open the page; everybody if there are none.
        open_to_all: Nobody has to log in, although other machines can reach the page.
        root_path: Where a proxy in front of this server shows the page, such as ``/papers``.

    Raises:
        OSError: If no port can be had at ``host``.
        ServerError: If other machines could reach the page and nobody had to log in.
    """
    require_logins(host, logins or Logins(), open_to_all=open_to_all)
    blocks, url = launch(
        assistant,
        host=host,
        port=port,
        announce=announce,
        logins=logins or Logins(),
        root_path=root_path,
    )
    if open_browser:
        import webbrowser

        webbrowser.open(url)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        announce("Closing the page.")
    finally:
        blocks.close(verbose=False)


def launch(
    assistant: StreamingAssistant,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    announce: Callable[[str], None] = logger.info,
    logins: Logins | None = None,
    root_path: str = "",
) -> tuple[gr.Blocks, str]:
    """Start serving in the background; return the page, to be closed, and its address.

    Raises:
        OSError: If no port can be had at ``host``.
    """
    blocks = build_page(assistant)
    chosen = free_port(host, port)
    if chosen != port and port != 0:
        announce(f"Port {port} is taken; using {chosen}.")
    _keep_local_requests_local()
    blocks.launch(
        server_name=host,
        server_port=chosen,
        prevent_thread_lock=True,
        inbrowser=False,
        inline=False,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size=MOST_UPLOADED,
        strict_cors=True,
        favicon_path=_ASSETS / "page.svg",
        theme=_theme(),
        # As a style element of our own: Gradio rewrites the selectors of its `css` argument.
        head=f"<style>{''.join(asset(name) for name in STYLES)}</style>",
        js=asset("page.js"),
        root_path=root_path,
        app_kwargs={"middleware": _middleware(host, logins or Logins())},
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    announce(f"Abstract Assistant is at {url}")
    return blocks, url


def free_port(host: str, port: int) -> int:
    """Return ``port`` or the first free one after it; for 0, any.

    Raises:
        OSError: If none of ``PORTS_TRIED`` can be had, or ``host`` is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free port at {host} from {port} on")


def _theme() -> gr.themes.Base:
    """Fonts of the reader's system only: nothing is fetched. Colours are in ``page.css``."""
    import gradio as gr

    return gr.themes.Base(
        font=("ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )


def _middleware(host: str, logins: Logins) -> list[Any]:
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    layers = [Middleware(_SecurityHeaders)]
    if host in LOOPBACK:
        # A foreign site whose name resolves to this machine must not reach the page.
        layers.append(Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"]))
    if logins.passwords:
        layers.append(Middleware(LoginGate, logins=logins))
    return layers


class _SecurityHeaders:
    """Adds the headers that close the page to other hosts, even if markup slipped through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _CONTENT_POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _forbid_telemetry() -> None:
    # Read by Gradio when it is imported and again later.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def _keep_local_requests_local() -> None:
    # Gradio asks its own server whether it is up; a proxy of the user must not answer that.
    for name in ("no_proxy", "NO_PROXY"):
        listed = [entry for entry in os.environ.get(name, "").split(",") if entry]
        missing = [entry for entry in LOOPBACK if entry not in listed]
        os.environ[name] = ",".join([*listed, *missing])

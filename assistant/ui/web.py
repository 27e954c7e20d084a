"""The page: its tabs put together, served, and closed to everybody else.

Each tab is a module of its own, ``tab_chat`` and its kin; this one knows the server's options and
what keeps strangers out.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assistant.errors import USER_ERRORS
from assistant.resources import asset
from assistant.ui import page, tab_batch, tab_chat, tab_map, tab_papers, tab_settings
from assistant.ui.conversations import Conversations
from assistant.ui.tab_chat import StreamingAssistant
from assistant.ui.visitors import collection_of

if TYPE_CHECKING:
    import gradio as gr
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TABS: "Mapping[str, Callable[[gr.Blocks, Any, Conversations], None]]" = {
    "Chat": tab_chat.build,
    "Papers": tab_papers.build,
    "Map": tab_map.build,
    "Batch": tab_batch.build,
    "Settings": tab_settings.build,
}
"""What fills each tab, in their order."""
STYLES = ("page.css", "tabs.css")
UPLOADS_KEPT_SECONDS = 24 * 3600

MOST_UPLOADED_BYTES = 500_000_000
"""Largest file that can be dropped."""

_ASSETS = Path(__file__).parent
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""Gradio needs inline scripts and eval; the rest, any other host above all, is closed."""


def build_page(assistant: StreamingAssistant) -> "gr.Blocks":
    """Lay out the page and wire its events; nothing is served yet.

    Args:
        assistant: Answers the questions of all visitors; it queues them itself.
    """
    _forbid_telemetry()
    import gradio as gr

    settings = assistant.settings
    kept = Conversations(settings.conversations if settings.keep_conversations else None)
    blocks = gr.Blocks(
        title="Abstract Assistant",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, UPLOADS_KEPT_SECONDS),
    )
    with blocks:
        masthead = gr.HTML(
            _masthead(assistant), elem_id="masthead", apply_default_css=False, js_on_load=None
        )
        with gr.Tabs(elem_id="tabs"):
            for name, build in TABS.items():
                with gr.Tab(name, id=name.lower(), elem_id=f"tab-{name.lower()}"):
                    build(blocks, assistant, kept)

        def show_masthead(request: gr.Request) -> Any:
            return _masthead(assistant, collection_of(request))

        blocks.load(
            show_masthead,
            outputs=masthead,
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
        )
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks


def _masthead(assistant: StreamingAssistant, collection: str = "") -> str:
    try:
        here = assistant.of(collection)
        papers = len(here.store)
    except USER_ERRORS:
        return page.header(0, collection, named=True)  # what is wrong, the chat tells
    place, names = here.settings.place_name, here.settings.collections.names()
    return page.header(papers, place, named=bool({*names} - {place}))


def mount_page(
    app: "Starlette", assistant: StreamingAssistant, *, host: str, port: int, root_path: str = ""
) -> None:
    """Add the page to an application, under all paths that it does not use itself.

    Args:
        app: Decides who may reach the page, and from which sites.
        assistant: Answers the questions of all visitors.
        host: Where the application will listen.
        port: Where the application will listen.
        root_path: Where a proxy in front of the application shows it, such as ``/papers``.
    """
    blocks = build_page(assistant)
    import gradio as gr
    from starlette.middleware import Middleware

    gr.mount_gradio_app(
        cast("Any", app),  # a FastAPI, of which this module needs to know nothing
        blocks,
        path="/",
        server_name=host,
        server_port=port,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size=MOST_UPLOADED_BYTES,
        root_path=root_path or None,
        favicon_path=str(_ASSETS / "page.svg"),
        theme=_theme(),
        # As a style element of our own: Gradio rewrites the selectors of its `css` argument.
        head=f"<style>{''.join(asset(name) for name in STYLES)}</style>",
        js=asset("page.js"),
        app_kwargs={"middleware": [Middleware(_SecurityHeaders)]},
    )


def _theme() -> "gr.themes.Base":
    """Fonts of the reader's system only: nothing is fetched. Colours are in ``page.css``."""
    import gradio as gr

    return gr.themes.Base(
        font=("ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )


class _SecurityHeaders:
    """Adds the headers that close the page to other hosts, even if markup slipped through."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
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

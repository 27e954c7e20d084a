"""Commands that serve: the page and the API, and MCP."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from assistant import console
from assistant.options import ENGINE, configured

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.settings import Settings


@configured(*ENGINE, "api_key", "rate_limit")
def serve(
    settings: "Settings",
    host: Annotated[
        str,
        typer.Option(help="Anything but the default can be reached from other machines."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The next free one is taken.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    api_only: Annotated[bool, typer.Option("--api-only", help="Without the page.")] = False,
) -> None:
    """Open the chat page, on this machine alone, and serve programs beside it.

    Programs find an API that OpenAI's clients can use at /v1 (the model is `abstract-assistant`),
    a REST API described in /openapi.json, and MCP at /mcp. docs/serving.md has examples.

    With an API key, programs send it as bearer token, and the browser asks for it as password. For
    any other host than this machine a key must be given, best in ASSISTANT_API_KEY: what stands on
    the command line, other users of this machine can read.

    Examples:
      assistant serve --open
      assistant serve --api-only --port 8000
      ASSISTANT_API_KEY=$(openssl rand -hex 32) assistant serve --host 0.0.0.0
    """
    from assistant.gate import Access
    from assistant.server import serve as serve_all

    access = Access(
        host=host,
        key=settings.api_key.get_secret_value() if settings.api_key else None,
        rate_limit=settings.rate_limit,
        origins=settings.cors_origins,
    )
    with console.open_assistant(settings) as assistant:
        assistant.preload()
        assistant.read_ahead()
        serve_all(
            assistant,
            access,
            port=port,
            page=not api_only,
            open_browser=open_browser,
            announce=lambda line: console.terminal().note(line),
        )


@configured(*ENGINE)
def mcp(settings: "Settings") -> None:
    """Serve the tools of the Model Context Protocol over standard input and output.

    For programs that start it themselves, such as editors; the tools are ask, search, get_paper
    and list_papers. `assistant serve` offers the same over HTTP, at /mcp.

    Example:
      assistant mcp --offline
    """
    from assistant.mcp_server import serve_stdio

    with console.open_assistant(settings) as assistant:
        assistant.preload()
        # Ctrl-C ends it at once: whoever waits for standard input cannot be interrupted in order,
        # and there is nothing to lose.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        serve_stdio(assistant)

"""Commands that serve: the page and the API, and MCP."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.commands import console
from assistant.commands.options import ENGINE, configured

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
    auth: Annotated[
        list[str] | None,
        typer.Option(
            "--auth",
            metavar="USER:PASSWORD|FILE",
            help="Who may open the page; repeat it, or give a file with a line for each.",
        ),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open-to-all", help="Nobody has to log in, from wherever.")
    ] = False,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="Where a proxy shows the page.")
    ] = "",
) -> None:
    """Open the chat page, on this machine alone, and serve programs beside it.

    Programs find an API that OpenAI's clients can use at /v1 (the model is `abstract-assistant`),
    a REST API described in /openapi.json, and MCP at /mcp. docs/serving.md has examples.

    With an API key, programs send it as bearer token, and the browser asks for it as password. With
    --auth the browser asks for user and password, and everybody sees their own conversations and
    batches alone. For any other host than this machine one of the two must be given, or
    --open-to-all. Best in ASSISTANT_API_KEY or in a file: what stands on the command line, other
    users of this machine can read. Passwords travel as they are: put a proxy with HTTPS in front.

    Examples:
      assistant serve --open
      assistant serve --api-only --port 8000
      ASSISTANT_API_KEY=$(openssl rand -hex 32) assistant serve --host 0.0.0.0
      assistant serve --host 0.0.0.0 --auth users.txt
    """
    from assistant.serving.gate import Access
    from assistant.serving.logins import read_logins
    from assistant.serving.server import serve as serve_all

    access = Access(
        host=host,
        key=settings.api_key.get_secret_value() if settings.api_key else None,
        rate_limit=settings.rate_limit,
        origins=settings.cors_origins,
        logins=read_logins(auth or ()),
        open_to_all=open_to_all,
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
            root_path=root_path,
        )


@configured(*ENGINE)
def mcp(settings: "Settings") -> None:
    """Serve the tools of the Model Context Protocol over standard input and output.

    For programs that start it themselves, such as editors; the tools are ask, search, get_paper
    and list_papers. `assistant serve` offers the same over HTTP, at /mcp.

    Example:
      assistant mcp --offline
    """
    from assistant.serving.mcp_server import serve_stdio

    with console.open_assistant(settings) as assistant:
        assistant.preload()
        # Ctrl-C ends it at once: whoever waits for standard input cannot be interrupted in order,
        # and there is nothing to lose.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        serve_stdio(assistant)

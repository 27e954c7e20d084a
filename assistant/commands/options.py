"""Options that commands share: those of the settings, and what goes with every command.

Each option is declared once here and named by the commands that take it. Knows nothing of what
the commands do.
"""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands import console
from assistant.settings_sources import NO_FILES_OPTION

if TYPE_CHECKING:
    from vectorstore.filters import Filters

# No `from __future__ import annotations`: the commands are made of these annotations.

_OPTIONS: Mapping[str, Any] = {
    "index": Annotated[
        Path | None,
        typer.Option("--index", metavar="PATH", help="A folder of your own for the index."),
    ],
    "collection": Annotated[
        str | None,
        typer.Option("--collection", metavar="NAME", help="One of `assistant collections list`."),
    ],
    "store": Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="A Chroma server, http://HOST:PORT[/COLLECTION], in place of a folder.",
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A name of `assistant models list`, a GGUF file, hf:owner/repo/file.gguf, "
            "or openai:http://HOST:PORT/v1#NAME for a model server.",
        ),
    ],
    "gpu_layers": Annotated[
        str | None,
        typer.Option("--gpu-layers", metavar="N|auto", help="Layers to place on a GPU."),
    ],
    "threads": Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the model.")
    ],
    "api_key": Annotated[
        str | None,
        typer.Option(
            "--api-key", metavar="KEY", help="Who asks must send it; better: ASSISTANT_API_KEY."
        ),
    ],
    "rate_limit": Annotated[
        str | None,
        typer.Option(
            "--rate-limit",
            metavar="N/PERIOD",
            help="Requests from one address, such as 240/minute.",
        ),
    ],
    "offline": Annotated[
        bool | None, typer.Option("--offline", help="Fetch nothing, not even a missing model.")
    ],
}
_VERBOSE = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Tell what is going on; twice: with tracebacks.",
    ),
]
_NO_SETTINGS_FILES = Annotated[
    bool,
    typer.Option(NO_FILES_OPTION, show_default=False, help="Pass over every assistant.toml."),
]
STORE = ("collection", "index", "store", "offline")
"""What a command needs that works on the papers alone."""
ENGINE = ("collection", "index", "store", "model", "gpu_layers", "threads", "offline")
"""What a command needs that answers questions."""

YearOption = Annotated[
    str | None,
    typer.Option("--year", metavar="YEARS", help="2023, 2020..2023, 2023.. or ..2019."),
]
AuthorOption = Annotated[
    list[str] | None,
    typer.Option("--author", metavar="NAME", help="An author; may be repeated: all of them."),
]
VenueOption = Annotated[
    list[str] | None,
    typer.Option("--venue", metavar="NAME", help="A venue; may be repeated: one of them."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="On the metadata: FIELD=VALUE, or < <= > >= for numbers; may be repeated: all.",
    ),
]


def filters_of(
    year: str | None, author: list[str] | None, venue: list[str] | None, where: list[str] | None
) -> "Filters | None":
    """The filters that the options stand for; None without any."""
    from vectorstore.filters import filters

    try:
        found = filters(year=year, authors=author or (), venues=venue or (), where=where or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return found or None


EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray[:ADDRESS]",
        help="Where the work is done: in this process, or by workers of a Ray cluster.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="Workers on Ray; default: as many as its cores bear."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def configured(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the named options; its first argument is the settings that they make."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**arguments: Any) -> None:
            from assistant.settings import load_settings

            _start_logging(arguments.pop("verbose"))
            files = not arguments.pop("no_settings_files")
            flags = {name: arguments.pop(name) for name in names}
            settings = load_settings(files=files, **flags)
            for notice in settings.notices:
                console.terminal().note(notice)
            command(settings, **arguments)

        own = list(inspect.signature(command).parameters.values())[1:]
        added = [_keyword(name, _OPTIONS[name], None) for name in names]
        common = [
            _keyword("no_settings_files", _NO_SETTINGS_FILES, False),
            _keyword("verbose", _VERBOSE, 0),
        ]
        parameters = [*own, *added, *common]
        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__name__, run.__doc__ = command.__name__, keeping_lines(command.__doc__ or "")
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        return run

    return decorate


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def keeping_lines(text: str) -> str:
    """Mark the paragraphs that hold indented lines, so that help shows their lines as they are."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join("\b\n" + p if "\n  " in p else p for p in paragraphs)


def _start_logging(verbosity: int) -> None:
    if verbosity:
        level = logging.INFO if verbosity == 1 else logging.DEBUG
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=form)
        for package in ("assistant", "vectorstore"):
            logging.getLogger(package).setLevel(level)

"""Commands on models: `assistant models`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands import console
from assistant.commands.options import JsonFlag, configured

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.settings import Settings


models_app = typer.Typer(
    help="Look at the models, fetch them, check them.", no_args_is_help=True, rich_markup_mode=None
)


@models_app.command("list")
@configured("model")
def list_models(settings: "Settings", as_json: JsonFlag = False) -> None:
    """List the models that are known by name or here.

    Example:
      assistant models list
    """
    from assistant.model_files.models import catalogue, installed

    here = {model.name: model for model in installed(settings.models_dir)}
    known = catalogue()
    rows = [
        {
            "name": name,
            "role": known[name].role if name in known else "language",
            "bytes": known[name].bytes if name in known else here[name].bytes,
            "memory_bytes": known[name].memory_bytes if name in known else None,
            "licence": known[name].licence if name in known else None,
            "installed": name in here,
            "path": str(here[name].path) if name in here else None,
            "selected": name == settings.model,
            "summary": known[name].summary if name in known else "",
        }
        for name in dict.fromkeys([*known, *here])
    ]
    if as_json:
        console.print_json(rows)
        return
    header = ("", "name", "role", "size", "memory", "licence", "what")
    console.terminal().table(header, [_model_cells(row) for row in rows])


@models_app.command("pull")
@configured("model", "offline")
def pull_models(
    settings: "Settings",
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Default: those that the settings need."),
    ] = None,
) -> None:
    """Fetch models, and check every byte.

    What was interrupted goes on where it stopped.

    Examples:
      assistant models pull
      assistant models pull qwen2.5-coder-0.5b-instruct-q4_k_m
      assistant models pull hf:owner/repo/file.gguf
    """
    from assistant.model_files.models import pull

    terminal = console.terminal()
    for name in names or _needed_models(settings):
        with terminal.fetching(name) as progress:
            path = pull(name, settings.models_dir, progress=progress, offline=settings.offline)
        terminal.say(str(path))


@models_app.command("path")
@configured()
def model_path(settings: "Settings", name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Print where a model is on this disk.

    Example:
      assistant models path qwen2.5-coder-1.5b-instruct-q4_k_m
    """
    from assistant.model_files.models import resolve

    console.terminal().say(str(resolve(name, settings.models_dir)))


@models_app.command("verify")
@configured()
def verify_models(
    settings: "Settings",
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Default: all that are on this disk."),
    ] = None,
) -> None:
    """Hash models and compare them with what was promised.

    The exit code is 3 if one is damaged.

    Example:
      assistant models verify
    """
    from assistant.errors import ModelError
    from assistant.model_files.models import installed, verify

    terminal, failed = console.terminal(), False
    for name in names or [model.name for model in installed(settings.models_dir)]:
        try:
            with terminal.stage(f"hashing {name}"):
                hashes = verify(name, settings.models_dir)
        except ModelError as error:
            terminal.complain(str(error), error.hint)
            failed = True
            continue
        for file, digest in hashes.items():
            terminal.say(f"ok  {name}  {file}  {digest}")
    if failed:
        raise typer.Exit(console.EXIT_PARTLY)


def _needed_models(settings: "Settings") -> list[str]:
    from assistant.model_files.models import HUB_PREFIX, catalogue
    from assistant.settings import EMBEDDING_MODEL

    # A model that is given as a file is there already.
    fetched = settings.model in catalogue() or settings.model.startswith(HUB_PREFIX)
    return [settings.model, EMBEDDING_MODEL] if fetched else [EMBEDDING_MODEL]


def _model_cells(row: Mapping[str, Any]) -> list[str]:
    here = "*" if row["selected"] else "+" if row["installed"] else ""
    memory = "" if row["memory_bytes"] is None else _gigabytes(row["memory_bytes"])
    size = _gigabytes(row["bytes"])
    return [here, row["name"], row["role"], size, memory, row["licence"] or "", row["summary"]]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

"""Commands on whole collections: `assistant collections`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands import console
from assistant.commands.options import JsonFlag, configured

# No `from __future__ import annotations`: the options below are made of these annotations.
if TYPE_CHECKING:
    from assistant.settings import Settings
    from vectorstore.collections import CollectionInfo

collections_app = typer.Typer(
    help="List collections of papers, remove them, carry them elsewhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a collection.")]


@collections_app.command("list")
@configured("collection", "index")
def list_collections(settings: "Settings", as_json: JsonFlag = False) -> None:
    """List the collections: name, papers, size on disk, embedding model, last written.

    A collection is made by `assistant ingest --collection NAME`. A star marks the one that commands
    use when none is named; that is "default" unless the settings say otherwise.

    Examples:
      assistant collections list
      assistant collections list --json
    """
    found = list(settings.collections.all())
    if as_json:
        rows = [{**console.fields_of(each), "selected": _is_used(each, settings)} for each in found]
        console.print_json([_as_json(row) for row in rows])
        return
    terminal = console.terminal()
    header = ("", "name", "papers", "size", "embedding model", "last written")
    terminal.table(header, [_cells(each, settings) for each in found])
    for each in found:
        if each.problem:
            terminal.note(f"{each.name}: {each.problem}", style="yellow")


@collections_app.command("remove")
@configured()
def remove_collection(
    settings: "Settings",
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a collection with all its papers.

    It is refused while another process writes the collection.

    Examples:
      assistant collections remove radiology
      assistant collections remove radiology --yes
    """
    info = settings.collections.info(name)
    papers = "" if info.papers is None else f"{console.counted(info.papers, 'paper')}, "
    question = f"remove {name} ({papers}{_size(info.bytes)})?"
    if not yes and not typer.confirm(question, err=True):
        raise typer.Abort
    settings.collections.remove(name)
    console.terminal().say(f"removed {name}")


@collections_app.command("export")
@configured("offline")
def export_collection(
    settings: "Settings",
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To be written.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a collection into one file: papers, chunks and vectors, with a hash of each part.

    Nobody can write the collection meanwhile; if somebody does already, it is refused. The file
    is a ZIP archive without anything that could be run, and appears when it is complete.

    Examples:
      assistant collections export radiology radiology.zip
      assistant collections export default papers.zip --force
    """
    from vectorstore.errors import ArchiveError
    from vectorstore.store import Store
    from vectorstore.transfer import export_index

    info = settings.collections.info(name)
    if file.exists() and not force:
        hint = "overwrite it with --force, or choose another name"
        raise ArchiveError("is there already", path=file, hint=hint)
    terminal = console.terminal()
    with (
        Store.open(info.path, console.open_embedder(settings)) as store,
        terminal.counting("exporting", len(store), "papers") as progress,
    ):
        manifest = export_index(store, file, name=name, progress=progress)
    papers, size = console.counted(manifest.papers, "paper"), _size(file.stat().st_size)
    terminal.say(f"{file}: {papers}, {manifest.chunks} chunks, {size}")


@collections_app.command("import")
@configured("offline")
def import_collection(
    settings: "Settings",
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That `export` has written.")],
    new_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Default: the name it had.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of one of this name.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a collection of a file that `export` has written.

    Every byte is checked before the collection is there, and before one of the same name is
    replaced. Vectors are taken from the file if they are of the same embedding model and the same
    chunks; otherwise all papers are embedded anew, which it says.

    Examples:
      assistant collections import radiology.zip
      assistant collections import radiology.zip --as lungs
      assistant collections import radiology.zip --replace
    """
    from vectorstore.archive import ArchiveReader
    from vectorstore.transfer import import_index

    with ArchiveReader(file) as archive:
        name, total = new_name or archive.manifest.name, archive.manifest.papers
    terminal = console.terminal()
    with (
        settings.collections.placing(name, replace=replace) as folder,
        terminal.counting("importing", total, "papers") as progress,
    ):
        embedder = console.open_embedder(settings)
        report = import_index(file, folder, embedder, progress=progress, notice=terminal.note)
    if as_json:
        console.print_json({"name": name, **console.fields_of(report)})
        return
    papers = console.counted(report.papers, "paper")
    terminal.say(f"{name}: {papers}, {report.chunks} chunks, {report.seconds:.1f} s")


def _is_used(info: "CollectionInfo", settings: "Settings") -> bool:
    return info.path.resolve() == settings.index.resolve()


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    written = row["written"]
    return {
        **row,
        "path": str(row["path"]),
        "written": None if written is None else written.isoformat(timespec="seconds"),
    }


def _cells(info: "CollectionInfo", settings: "Settings") -> list[str]:
    return [
        "*" if _is_used(info, settings) else "",
        info.name,
        "?" if info.papers is None else f"{info.papers:,}",
        _size(info.bytes),
        info.embedder or "?",
        "" if info.written is None else f"{info.written.astimezone():%Y-%m-%d %H:%M}",
    ]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"

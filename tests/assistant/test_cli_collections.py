"""`assistant collections`, and --collection on the other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from filelock import FileLock
from typer.testing import CliRunner, Result

from assistant.commands import cli, console
from tests.fakes import HashEmbedder

runner = CliRunner()


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Collections of their own, and real indexes with vectors from words."""
    for name in ("ASSISTANT_INDEX", "ASSISTANT_COLLECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASSISTANT_COLLECTIONS_DIR", str(tmp_path / "collections"))
    monkeypatch.setattr("assistant.settings.user_data_path", lambda app: tmp_path)
    monkeypatch.setattr(console, "open_embedder", lambda settings: HashEmbedder())
    return tmp_path


def run(*arguments: object, code: int = 0, data: str | None = None) -> Result:
    result = runner.invoke(cli.app, [str(each) for each in arguments], input=data)
    assert result.exit_code == code, result.output
    return result


def ingest(name: str, *titles: str) -> None:
    rows = ({"title": title, "abstract": f"{title} is new. It works."} for title in titles)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    run("ingest", "-", "--collection", name, data=text)


def listed() -> dict[str, Any]:
    rows = json.loads(run("collections", "list", "--json").stdout)
    return {row["name"]: row for row in rows}


def titles(*where: str) -> set[str]:
    papers = json.loads(run("papers", "list", "--json", *where).stdout)
    return {paper["title"] for paper in papers}


def test_each_collection_has_its_own_papers(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest("birds", "Finch", "Heron")
    ingest("default", "Larch")
    assert titles() == {"Larch"}
    assert titles("--collection", "birds") == {"Finch", "Heron"}
    assert titles("--index", str(data / "collections" / "birds")) == {"Finch", "Heron"}
    found = run("search", "larch", "--collection", "birds", "--json")
    assert {each["paper"]["title"] for each in json.loads(found.stdout)} == {"Finch", "Heron"}
    monkeypatch.setenv("ASSISTANT_COLLECTION", "birds")
    assert titles() == {"Finch", "Heron"}
    assert titles("--collection", "default") == {"Larch"}


def test_they_are_listed(data: Path) -> None:
    ingest("birds", "Finch", "Heron")
    ingest("default", "Larch")
    rows = listed()
    assert list(rows) == ["birds", "default"]
    birds = rows["birds"]
    assert (birds["papers"], birds["embedder"], birds["selected"]) == (2, "hash", False)
    assert birds["bytes"] > 10_000
    assert birds["written"].startswith("20")
    assert rows["default"]["selected"]
    line = run("collections", "list").stdout.splitlines()[0].split("\t")
    assert line[1:3] == ["birds", "2"]


@pytest.mark.parametrize(
    "command", [["papers", "list"], ["search", "x"], ["ask", "x"], ["papers", "show", "x"]]
)
def test_a_missing_collection_names_the_closest(command: list[str]) -> None:
    ingest("birds", "Finch")
    result = run(*command, "--collection", "bird", code=1)
    assert 'there is no collection "bird"' in result.stderr
    assert "did you mean birds" in result.stderr


def test_an_index_and_a_collection_at_once_are_refused(data: Path) -> None:
    result = run("papers", "list", "--collection", "birds", "--index", data / "x", code=1)
    assert "collection and index are given" in result.stderr
    bad = run("ingest", "-", "--collection", "Birds!", code=1)
    assert 'for example "birds"' in bad.stderr


def commands() -> list[tuple[str, set[str]]]:
    group: Any = typer.main.get_command(cli.app)
    found = []
    for name, command in group.commands.items():
        for inner, each in getattr(command, "commands", {"": command}).items():
            options = {option for parameter in each.params for option in parameter.opts}
            found.append((f"{name} {inner}".strip(), options))
    return found


def test_every_command_that_takes_an_index_takes_a_collection() -> None:
    taking = {name for name, options in commands() if "--index" in options}
    assert taking == {name for name, options in commands() if "--collection" in options}
    needed = {"ask", "chat", "batch", "serve", "ingest", "search", "doctor", "warm", "eval"}
    assert needed <= taking


def test_a_collection_is_removed_when_that_is_meant(data: Path) -> None:
    ingest("birds", "Finch")
    asked = run("collections", "remove", "birds", code=1, data="n\n")
    assert "remove birds (1 paper, " in asked.stderr
    assert list(listed()) == ["birds"]
    with FileLock(data / "collections" / "birds" / "writer.lock"):
        refused = run("collections", "remove", "birds", "--yes", code=1)
    assert "is writing the index" in refused.stderr
    assert run("collections", "remove", "birds", "--yes").stdout == "removed birds\n"
    assert listed() == {}
    run("collections", "remove", "birds", "--yes", code=1)


def test_a_collection_is_carried_elsewhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest("birds", "Finch", "Heron")
    file = tmp_path / "birds.zip"
    said = run("collections", "export", "birds", file).stdout
    assert said.startswith(f"{file}: 2 papers, 2 chunks, ")
    assert "--force" in run("collections", "export", "birds", file, code=1).stderr
    run("collections", "export", "birds", file, "--force")
    assert "--replace" in run("collections", "import", file, code=1).stderr
    report = json.loads(run("collections", "import", file, "--as", "copy", "--json").stdout)
    assert (report["name"], report["papers"], report["embedded"]) == ("copy", 2, False)
    assert titles("--collection", "copy") == {"Finch", "Heron"}
    ingest("copy", "Larch")
    assert run("collections", "import", file, "--as", "copy", "--replace").stdout.startswith("copy")
    assert titles("--collection", "copy") == {"Finch", "Heron"}
    other = HashEmbedder(name="other")
    monkeypatch.setattr(console, "open_embedder", lambda settings: other)
    anew = run("collections", "import", file, "--as", "anew")
    assert "embedding all papers anew: its vectors are of hash" in anew.stderr


def test_a_damaged_file_replaces_nothing(data: Path, tmp_path: Path) -> None:
    ingest("birds", "Finch")
    file = tmp_path / "birds.zip"
    run("collections", "export", "birds", file)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    before = listed()
    for more in ([], ["--as", "new"], ["--replace"]):
        assert "error: " in run("collections", "import", file, *more, code=1).stderr
    assert listed() == before
    assert titles("--collection", "birds") == {"Finch"}
    assert [each.name for each in (data / "collections").glob(".*.new")] == []

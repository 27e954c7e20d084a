"""`assistant papers`: list, edit and export, as a user types them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from assistant.commands import cli, cli_records, console
from tests.fakes import HashEmbedder
from vectorstore import Store

runner = CliRunner()
TITLES = ("Larch trees", "Finch birds", "Heron birds and trees", "Alder")


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An index of four papers, and the file that they came from."""
    monkeypatch.delenv("ASSISTANT_COLLECTION", raising=False)
    monkeypatch.setenv("ASSISTANT_INDEX", str(tmp_path / "index"))
    monkeypatch.setattr(console, "open_embedder", lambda settings: HashEmbedder())
    path = tmp_path / "p.jsonl"
    rows = [
        {"title": title, "abstract": f"{title} é. It works.", "year": 2020 - number}
        for number, title in enumerate(TITLES)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("ingest", path)
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = runner.invoke(cli.app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> list[str]:
    lines = run("papers", "list", *arguments).stdout.splitlines()
    titles = [line.split("\t")[2] for line in lines]
    whole = json.loads(run("papers", "list", *arguments, "--json").stdout)
    assert [paper["title"] for paper in whole] == titles
    return titles


def test_papers_are_listed_by_the_page() -> None:
    assert listed() == list(TITLES)
    assert listed("--limit", "2", "--offset", "1") == list(TITLES[1:3])
    assert listed("--sort", "title") == sorted(TITLES)
    assert listed("--sort", "year") == list(TITLES[::-1])
    assert listed("--sort", "year", "--reverse", "--limit", "1") == ["Larch trees"]
    assert listed("--reverse", "--offset", "3") == ["Larch trees"]
    assert listed("--offset", "9") == []


def test_papers_are_listed_by_their_words() -> None:
    assert set(listed("--match", "bird")) == {"Finch birds", "Heron birds and trees"}
    assert listed("--match", "tree birds") == ["Heron birds and trees"]
    assert len(listed("--match", "works", "--limit", "3", "--offset", "2")) == 2
    assert listed("--match", "nowhere") == []
    run("papers", "list", "--match", "x", "--sort", "year", code=2)


def test_no_more_is_loaded_than_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "papers", lambda self: pytest.fail("loads all papers"))
    for how in (["--sort", "title"], ["--match", "works"], []):
        assert len(listed("--limit", "1", *how)) == 1


def test_a_person_sees_a_page_and_how_to_go_on(source: Path, tmp_path: Path) -> None:
    rows = ({"title": f"Paper {n}", "abstract": "It works."} for n in range(cli_records.PAGE))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("ingest", source)
    code = (
        "from assistant.commands import cli, console\n"
        "from tests.fakes import HashEmbedder\n"
        "console.open_embedder = lambda settings: HashEmbedder()\n"
        "cli.main()"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "papers", "list"],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"ASSISTANT_INDEX": str(tmp_path / "index"), "TERM": "xterm"},
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # closed on the other side
        pass
    os.close(master)
    assert process.wait() == 0
    assert b"Paper 44" in shown
    assert b"Paper 46" not in shown
    assert b"1 to 50 of 54; the next: --offset 50" in shown


# --- edit ----------------------------------------------------------------------------------------


def shown(paper_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("papers", "show", paper_id, "--json").stdout)
    return found


def test_an_edit_stays_and_the_next_ingest_says_so(source: Path) -> None:
    said = run("papers", "edit", "alder", "--set", "year=1999", "--set", "authors=A. One; B. Two")
    assert "authors: A. One, B. Two" in said.stdout
    assert "edited_fields: authors, year" in said.stdout
    for more in ([], ["--dry-run"]):
        again = run("ingest", source, *more)
        assert "=4 unchanged" in again.stdout
        assert "1 paper edited here: those fields are kept" in again.stderr
    assert shown("alder")["year"] == 1999
    report = json.loads(run("ingest", source, "--discard-edits", "--json").stdout)
    assert (report["updated"], report["edited"]) == (1, 0)
    assert shown("alder")["year"] == 2017
    assert shown("alder")["metadata"] == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--set", "year"],
        ["--set", "year=soon"],
        ["--set", "yaer=1999"],
        ["--set", "url=javascript:x"],
        ["--unset", "title"],
        ["--set", "title="],
    ],
)
def test_a_wrong_edit_changes_nothing_and_says_why(arguments: list[str]) -> None:
    before = shown("alder")
    assert "Error" in run("papers", "edit", "alder", *arguments, code=2).stderr
    assert shown("alder") == before
    assert "no paper has the id" in run("papers", "edit", "aldr", "--set", "a=b", code=1).stderr


def test_a_value_may_hold_an_equals_sign() -> None:
    run("papers", "edit", "alder", "--set", "url=https://x.org/?a=b", "--set", "note=")
    assert shown("alder")["url"] == "https://x.org/?a=b"


# --- export --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "begin"), [("x.bib", "@misc{larch-trees,"), ("x.json", "[\n{"), ("x.jsonl", '{"id"')]
)
def test_the_name_of_a_file_says_its_format(tmp_path: Path, name: str, begin: str) -> None:
    file = tmp_path / name
    run("papers", "export", "-o", file)
    assert file.read_text(encoding="utf-8").startswith(begin)
    run("papers", "export", "-o", file, code=2)
    run("papers", "export", "alder", "-o", file, "--force")
    assert "Larch" not in file.read_text(encoding="utf-8")


def test_what_was_exported_is_taken_back_unchanged(tmp_path: Path) -> None:
    run("papers", "edit", "alder", "--set", "status=read")
    file = tmp_path / "x.jsonl"
    file.write_bytes(run("papers", "export").stdout_bytes)
    report = json.loads(run("ingest", file, "--json").stdout)
    assert (report["unchanged"], report["updated"], report["failed"]) == (4, 0, [])


def test_some_papers_are_exported_in_the_order_that_was_asked() -> None:
    text = run("papers", "export", "finch-birds", "alder", "--format", "csl-json").stdout
    assert [item["id"] for item in json.loads(text)] == ["finch-birds", "alder"]
    assert "no paper has the id" in run("papers", "export", "alder", "x", code=1).stderr

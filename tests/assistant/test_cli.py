"""The command line: what goes to which stream, and what the exit code says."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from assistant.commands import cli, console
from assistant.settings import DEFAULT_MODEL, Settings
from assistant.types import Done, Event, Retrieved, Sentence, Verified
from tests.fakes import (
    PAPERS,
    HashEmbedder,
    ScriptedAssistant,
    abstained_story,
    answer,
    answered_story,
    citation,
    default_stories,
    passage,
)
from vectorstore import Paper

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = [sys.executable, str(ROOT / "tests/assistant/scripted_cli.py")]
PATIENCE_SECONDS = 120
NASTY = "\x1b[2J\x1b]0;owned\x07[bold red]x[/]\u202e"

runner = CliRunner()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedAssistant:
    assistant = ScriptedAssistant({"nasty": nasty_story(), **default_stories()})

    @contextmanager
    def open_assistant(settings: Settings) -> Iterator[ScriptedAssistant]:
        yield assistant

    monkeypatch.setattr(console, "open_assistant", open_assistant)
    return assistant


def nasty_story() -> list[Event | Exception]:
    paper = Paper("nasty", f"Title {NASTY}", f"Quote {NASTY}.")
    sentence = Sentence(f"Sentence {NASTY} [1]", (citation(1, paper, paper.abstract),), 1.0)
    done = Done(answer("nasty", [sentence], [paper]))
    return [Retrieved((passage(paper),), 0.1), Verified(sentence), done]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSISTANT_")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def run(
    arguments: Sequence[str], data: bytes = b"", **more: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SCRIPTED, *arguments],
        input=data,
        capture_output=True,
        env=environment(**more),
        check=False,
        timeout=120,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


# Help and usage


def commands() -> Iterator[tuple[list[str], Any]]:
    group: Any = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from (([name, inner], c) for inner, c in command.commands.items())
        else:
            yield [name], command


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(path: list[str]) -> None:
    result = runner.invoke(cli.app, [*path, "--help"])
    assert result.exit_code == 0
    assert f"\n    assistant {' '.join(path)}" in result.stdout


def test_the_help_names_every_exit_code() -> None:
    text = runner.invoke(cli.app, ["--help"]).stdout
    codes = [
        0,
        2,
        console.EXIT_ERROR,
        console.EXIT_PARTLY,
        console.EXIT_INTERRUPTED,
        console.EXIT_PIPE,
    ]
    assert all(f"\n    {code} " in text for code in codes)


def test_the_version_is_printed() -> None:
    result = runner.invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("abstract-assistant ")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from assistant.commands import cli;"
        "CliRunner().invoke(cli.app, ['ask', '--help']);"
        "print([m for m in ('pydantic_settings', 'rich', 'chromadb', 'gradio', 'llama_cpp',"
        " 'onnxruntime', 'tantivy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment(), check=True
    )
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "--unknown"],
        ["ask", "one", "two"],
        ["unknown"],
        ["search", "-k", "0", "x"],
        ["batch", "q.txt"],
        ["batch", "q.txt", "-o", "a.md", "--resume", "--force"],
        ["papers", "show"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments: list[str]) -> None:
    result = runner.invoke(cli.app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error" in result.stderr


# Settings


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Settings] = []

    @contextmanager
    def open_assistant(settings: Settings) -> Iterator[ScriptedAssistant]:
        seen.append(settings)
        yield ScriptedAssistant(default_stories())

    monkeypatch.setattr(console, "open_assistant", open_assistant)
    monkeypatch.setenv("ASSISTANT_THREADS", "7")
    monkeypatch.setenv("ASSISTANT_MODEL", "from the environment")
    flags = ["--index", str(tmp_path), "--model", "m.gguf", "--gpu-layers", "3", "--offline"]
    assert runner.invoke(cli.app, ["ask", "What?", *flags]).exit_code == 0
    (settings,) = seen
    assert (settings.index, settings.model, settings.gpu_layers) == (tmp_path, "m.gguf", 3)
    assert (settings.offline, settings.threads) == (True, 7)


def test_a_setting_out_of_range_is_explained(scripted: ScriptedAssistant) -> None:
    result = runner.invoke(cli.app, ["ask", "What?", "--gpu-layers", "many"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gpu_layers" in result.stderr
    assert "hint: " in result.stderr


# ask


def test_an_answer_goes_to_standard_output_with_its_quotes(scripted: ScriptedAssistant) -> None:
    result = runner.invoke(cli.app, ["ask", "How fast is it?"])
    done = answered_story()[-1]
    assert isinstance(done, Done)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(done.answer.text + "\n")
    for cited in done.answer.citations:
        paper = next(paper for paper in PAPERS if paper.id == cited.paper_id)
        assert (
            f'[{cited.number}] {paper.title} ({paper.year})\n    "{cited.quote}"' in result.stdout
        )


def test_json_is_the_answer_and_nothing_else(scripted: ScriptedAssistant) -> None:
    result = runner.invoke(cli.app, ["ask", "How fast is it?", "--json"])
    done = answered_story()[-1]
    assert isinstance(done, Done)
    assert json.loads(result.stdout) == done.answer.as_dict()
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_an_abstention_is_a_result_and_names_the_closest_papers(
    scripted: ScriptedAssistant,
) -> None:
    result = runner.invoke(cli.app, ["ask", "What do swans eat?"])
    done = abstained_story()[-1]
    assert isinstance(done, Done)
    assert result.exit_code == 0
    assert result.stdout.startswith(done.answer.text)
    assert result.stdout.count(PAPERS[3].title) == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(
    ("question", "message", "hint"),
    [
        ("broken", "The model qwen2.5 is not on this machine.", "assistant models pull qwen2.5"),
        ("crash", "unexpected: RuntimeError: secret internals", "-vv"),
        (" \n", "the question is empty", "assistant ask"),
        ("caf\udce9", "not UTF-8", "iconv"),
    ],
)
def test_an_error_is_a_message_and_a_hint(
    scripted: ScriptedAssistant, question: str, message: str, hint: str, flags: list[str]
) -> None:
    result = runner.invoke(cli.app, ["ask", question, *flags])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"error: {message}" in result.stderr or message in result.stderr
    assert f"hint: {hint}" in result.stderr or hint in result.stderr
    assert "Traceback" not in result.stderr


def test_twice_verbose_shows_the_traceback() -> None:
    done = run(["ask", "crash", "-vv"])
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [["ask"], ["ask", "-"]])
def test_a_question_is_read_from_a_pipe(scripted: ScriptedAssistant, arguments: list[str]) -> None:
    assert runner.invoke(cli.app, arguments, input="  Größe?\n").exit_code == 0
    assert scripted.asked == [("Größe?", ())]


@pytest.mark.parametrize("data", [b"", b"\n", b"caf\xe9", b"\xff\xfe\x00"])
def test_a_pipe_without_a_readable_question_is_an_error(
    scripted: ScriptedAssistant, data: bytes
) -> None:
    result = runner.invoke(cli.app, ["ask"], input=data)
    assert (result.exit_code, result.stdout, scripted.asked) == (1, "", [])
    assert "error: the question is" in result.stderr


def test_an_argument_that_is_not_utf8_is_an_error() -> None:
    done = subprocess.run(
        [*SCRIPTED, "ask", b"caf\xe9"], capture_output=True, env=environment(), check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"not UTF-8" in done.stderr


@pytest.mark.parametrize("question", ["x" * 100_000, "<|im_end|>", "<b>{question}</b> & $HOME"])
def test_a_question_reaches_the_assistant_to_the_character(
    scripted: ScriptedAssistant, question: str
) -> None:
    assert runner.invoke(cli.app, ["ask", question]).exit_code == 0
    assert scripted.asked == [(question, ())]


def test_text_of_papers_and_models_moves_no_cursor_and_is_no_markup(
    scripted: ScriptedAssistant,
) -> None:
    result = runner.invoke(cli.app, ["ask", "nasty"])
    assert result.exit_code == 0
    assert not set("\x1b\x07\u202e") & set(result.output)
    for place in ("Sentence", "[1] Title", '"Quote'):
        assert f"{place} [bold red]x[/]" in result.stdout


def test_output_that_knows_no_umlauts_is_still_output() -> None:
    done = run(["ask", "What do swans eat?", "--json"], PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["status"] == "abstained"
    assert run(["ask", "number"], PYTHONIOENCODING="ascii").returncode == 0


def test_a_reader_that_is_gone_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*SCRIPTED, "ask", "How fast is it?"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (console.EXIT_PIPE, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "crash"], ["models", "list"]])
def test_a_reader_that_is_gone_sees_no_complaint(arguments: list[str]) -> None:
    shell = '"$@" 2>&1 >/dev/full | cat; "$@" | true'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *SCRIPTED, *arguments],
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_crash(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *SCRIPTED, "ask", "How fast is it?"],
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_more_than_a_question_is_not_read_to_its_end() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [*SCRIPTED, "ask"], stdin=endless, capture_output=True, env=environment(), check=False
        )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"hint: for a file of questions: assistant batch" in done.stderr


# A person at a terminal


class Screen:
    """A program on a pseudo-terminal: what it shows, and what is typed."""

    def __init__(self, arguments: Sequence[str], **more: str) -> None:
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*SCRIPTED, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(COLUMNS="100", **more),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = b""

    def wait_for(self, text: str) -> None:
        """Read up to the text; the next wait begins behind it."""
        while text.encode() not in self.shown:
            block = self._read()
            assert block, f"{text!r} never came: {self.shown!r}"
        self.shown = self.shown.partition(text.encode())[2]

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        os.close(self._own)
        return self.process.wait()

    def _read(self) -> bytes:
        ready, _, _ = select.select([self._own], [], [], PATIENCE_SECONDS)
        if not ready:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"nothing more was shown after {self.shown!r}")
        try:
            block = os.read(self._own, 65536)
        except OSError:  # how Linux says that the other side is closed
            return b""
        self.shown += block
        return block


def test_on_a_terminal_stages_and_sentences_come_as_they_happen() -> None:
    screen = Screen(["ask", "How fast is it?"])
    screen.wait_for("searching")
    screen.wait_for("found in 0.1 s: Larch")
    screen.wait_for("reading paper 1 of 2")
    screen.wait_for("does it hold the answer")
    screen.wait_for("writing")
    screen.wait_for("seconds instead of 38. [1]")
    screen.wait_for("writing")
    screen.wait_for("Numbers are the most frequent error. [2]")
    screen.wait_for("[1] Larch")
    assert screen.end() == 0
    assert b"[2] Finch" in screen.shown
    assert b"frequent error. [2]" not in screen.shown


def test_ctrl_c_ends_an_answer() -> None:
    screen = Screen(["ask", "endless"], PAUSE="0.005")
    screen.wait_for("writing")
    screen.interrupt()
    assert screen.end() == console.EXIT_INTERRUPTED
    assert b"Traceback" not in screen.shown


def test_in_a_chat_ctrl_c_stops_the_answer_and_at_the_prompt_the_chat() -> None:
    screen = Screen(["chat"], PAUSE="0.005")
    screen.wait_for("> ")
    screen.type("endless\n")
    screen.wait_for("writing")
    screen.interrupt()
    screen.wait_for("stopped")
    screen.wait_for("> ")
    screen.type("How fast is it?\n")
    screen.wait_for("[2] Finch")
    screen.wait_for("> ")
    screen.interrupt()
    assert screen.end() == console.EXIT_INTERRUPTED
    assert b"Traceback" not in screen.shown


# chat


def test_a_follow_up_knows_what_was_asked_before(scripted: ScriptedAssistant) -> None:
    lines = "How fast is it?\n\nAnd how large are they?\n/new\nWhat do swans eat?\n/quit\nlost\n"
    result = runner.invoke(cli.app, ["chat"], input=lines)
    assert result.exit_code == 0
    assert scripted.asked == [
        ("How fast is it?", ()),
        ("And how large are they?", ("How fast is it?",)),
        ("What do swans eat?", ()),
    ]


def test_a_failed_question_does_not_end_the_chat(scripted: ScriptedAssistant) -> None:
    result = runner.invoke(cli.app, ["chat"], input="broken\n/what\n/sources\nWhat?\n/sources\n")
    assert result.exit_code == 0
    assert "hint: assistant models pull qwen2.5" in result.stderr
    assert "no answer yet" in result.stderr
    assert PAPERS[0].abstract in result.stdout


# batch


def test_a_batch_with_a_failed_question_ends_with_3(
    scripted: ScriptedAssistant, tmp_path: Path
) -> None:
    questions, answers = tmp_path / "q.txt", tmp_path / "a.jsonl"
    questions.write_text("How fast is it?\nbroken\nWhat do swans eat?\n")
    result = runner.invoke(cli.app, ["batch", str(questions), "-o", str(answers)])
    assert (result.exit_code, result.stdout) == (console.EXIT_PARTLY, "")
    assert "1 answered, 1 abstained, 1 failed" in result.stderr
    statuses = [json.loads(line)["status"] for line in answers.read_text().splitlines()]
    assert statuses == ["answered", "error", "abstained"]


def test_a_batch_reads_questions_from_a_pipe(scripted: ScriptedAssistant, tmp_path: Path) -> None:
    answers = tmp_path / "a.md"
    result = runner.invoke(cli.app, ["batch", "-", "-o", str(answers)], input="What?\nAnd how?\n")
    assert result.exit_code == 0
    assert [question for question, _ in scripted.asked] == ["What?", "And how?"]


def test_an_interrupted_batch_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.txt", tmp_path / "a.jsonl"
    questions.write_text("".join(f"Question {n}?\n" for n in range(8)))
    command = ["batch", str(questions), "-o", str(answers)]
    process = subprocess.Popen(
        [*SCRIPTED, *command], stderr=subprocess.PIPE, env=environment(PAUSE="0.02")
    )
    journal = tmp_path / "a.jsonl.journal.jsonl"
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == console.EXIT_INTERRUPTED
    assert b"of 8 questions are done" in errors
    assert b"the same command again" in errors
    assert b"Traceback" not in errors
    assert not answers.exists()
    assert run(command).returncode == 0
    ids = [json.loads(line)["id"] for line in answers.read_text().splitlines()]
    assert ids == [str(number) for number in range(1, 9)]


def test_a_batch_chooses_papers_row_by_row_and_reports(
    scripted: ScriptedAssistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    @contextmanager
    def open_assistant(settings: Settings) -> Iterator[ScriptedAssistant]:
        opened.append(settings.collection)
        yield scripted

    monkeypatch.setattr(console, "open_assistant", open_assistant)
    questions = tmp_path / "q.csv"
    questions.write_text(
        "question,collection,year\nHow fast?,lungs,2020..\nHow fast,,\nHow large?,lungs,\n"
        "How far?,no/name,\n"
    )
    command = ["batch", str(questions), "-o", str(tmp_path / "a.xlsx")]
    result = runner.invoke(cli.app, [*command, "--report", str(tmp_path / "r.html")])
    assert result.exit_code == console.EXIT_PARTLY, result.stderr
    assert "3 answered, 0 abstained, 1 failed" in result.stderr
    assert [question for question, _ in scripted.asked] == ["How fast", "How fast?", "How large?"]
    assert opened.count("lungs") <= 2
    years = [where.years for where in scripted.filters if where]
    assert set(years) == {(2020, None)}
    assert "4 questions" in (tmp_path / "r.html").read_text()


# Papers


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for papers; the index is a real one beside it, with vectors from words."""
    monkeypatch.setenv("ASSISTANT_INDEX", str(tmp_path / "index"))
    monkeypatch.setattr(console, "open_embedder", lambda settings: HashEmbedder())
    folder = tmp_path / "papers"
    folder.mkdir()
    return folder


def write_papers(path: Path, *titles: str) -> Path:
    rows = ({"title": title, "abstract": f"{title} is new. It works."} for title in titles)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def summary(arguments: Sequence[str], code: int = 0, data: str | None = None) -> dict[str, Any]:
    result = runner.invoke(cli.app, ["ingest", "--json", *arguments], input=data)
    assert result.exit_code == code, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return {name: report[name] for name in ("added", "updated", "unchanged", "removed")}


def counts(added: int = 0, updated: int = 0, unchanged: int = 0, removed: int = 0) -> object:
    return {"added": added, "updated": updated, "unchanged": unchanged, "removed": removed}


def test_papers_are_taken_once_and_pruned_when_asked(library: Path) -> None:
    papers = str(write_papers(library / "p.jsonl", "Larch", "Finch"))
    assert summary([papers]) == counts(added=2)
    assert summary([papers]) == counts(unchanged=2)
    write_papers(library / "p.jsonl", "Larch", "Heron")
    assert summary([papers]) == counts(added=1, unchanged=1)
    assert summary([papers, "--prune"]) == counts(unchanged=2, removed=1)
    assert summary([papers, "--rebuild"]) == counts(added=2)


def test_bad_records_are_reported_and_the_good_ones_taken(library: Path) -> None:
    path = write_papers(library / "p.jsonl", "Larch", "Finch")
    assert summary([str(path)]) == counts(added=2)
    path.write_text(path.read_text().splitlines()[0] + "\n{broken\n")
    # Finch is not gone, its record is: pruning would throw it away.
    assert summary([str(path), "--prune"], console.EXIT_PARTLY) == counts(unchanged=1)
    result = runner.invoke(cli.app, ["ingest", str(path)])
    assert result.exit_code == console.EXIT_PARTLY
    assert f"{path}:2: " in result.stderr
    assert result.stdout.startswith("+0 added  ~0 updated  =1 unchanged  -0 removed")


def test_papers_come_from_a_pipe(library: Path) -> None:
    data = write_papers(library / "p.jsonl", "Larch").read_text()
    assert summary(["-"], data=data) == counts(added=1)
    assert summary([], data=data) == counts(unchanged=1)


def test_a_table_from_a_pipe_is_told_by_the_columns_that_the_user_names(library: Path) -> None:
    data = "headline,summary\nLarch,Larch is new. It works.\n"
    columns = ["--map", "title=headline", "--map", "abstract=summary"]
    assert summary(["-", *columns], data=data) == counts(added=1)


@pytest.mark.parametrize("content", ["", "{broken"])
@pytest.mark.parametrize("flags", [[], ["--prune"]])
def test_a_source_without_papers_is_an_error_and_removes_nothing(
    library: Path, content: str, flags: list[str]
) -> None:
    path = write_papers(library / "p.jsonl", "Larch")
    summary([str(path)])
    path.write_text(content)
    result = runner.invoke(cli.app, ["ingest", str(path), *flags])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count(str(path)) == 1
    assert len(json.loads(runner.invoke(cli.app, ["papers", "list", "--json"]).stdout)) == 1


def test_papers_are_found_listed_shown_and_removed(library: Path) -> None:
    summary([str(write_papers(library / "p.jsonl", "Larch trees", "Finch birds"))])
    found = json.loads(runner.invoke(cli.app, ["search", "finch", "-k", "1", "--json"]).stdout)
    assert [passage["paper"]["title"] for passage in found] == ["Finch birds"]
    assert "1. Finch birds" in runner.invoke(cli.app, ["search"], input="finch").stdout
    explained = runner.invoke(cli.app, ["search", "Which finches?", "--explain"]).stdout
    assert "words: rank 1" in explained
    assert "(finches)" in explained
    assert "not among the best by words" in explained  # the larches
    assert "meaning: rank 2" in explained
    lines = runner.invoke(cli.app, ["papers", "list"]).stdout.splitlines()
    ids = {line.split("\t")[2]: line.split("\t")[0] for line in lines}
    assert set(ids) == {"Larch trees", "Finch birds"}
    shown = runner.invoke(cli.app, ["papers", "show", ids["Larch trees"]])
    assert "Larch trees is new. It works." in shown.stdout
    removed = runner.invoke(cli.app, ["papers", "remove", ids["Larch trees"]])
    assert removed.stdout == "-1 removed\n"
    gone = runner.invoke(cli.app, ["papers", "show", ids["Larch trees"]])
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "hint: " in gone.stderr


@pytest.mark.parametrize("command", [["search", "x"], ["papers", "list"], ["papers", "show", "x"]])
def test_a_missing_index_says_how_to_make_one(library: Path, command: list[str]) -> None:
    result = runner.invoke(cli.app, command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "hint: assistant ingest" in result.stderr


def test_a_column_is_guessed_aloud_or_named(library: Path) -> None:
    path = library / "p.csv"
    path.write_text("Title,Summary,Text\nLarch,Larches are trees.,Other.\n")
    result = runner.invoke(cli.app, ["ingest", str(path)])
    assert result.exit_code == 0
    assert f'{path}: abstract = "Summary" (--map FIELD=COLUMN to change)' in result.stderr
    assert summary([str(path), "--map", "abstract=text"]) == counts(updated=1)
    for wrong in ("abstract", "autor=x", "abstract="):
        refused = runner.invoke(cli.app, ["ingest", str(path), "--map", wrong])
        assert refused.exit_code == 2
        assert "FIELD=COLUMN" in refused.stderr
    lacking = runner.invoke(cli.app, ["ingest", str(path), "--map", "abstract=nowhere"])
    assert lacking.exit_code == 1
    assert 'no column "nowhere" for abstract; the file has: Title, Summary, Text' in lacking.stderr


def test_duplicates_are_told_and_no_failures(library: Path) -> None:
    path = write_papers(library / "p.jsonl", "Larch", "Finch")
    row = {"title": "Larch again", "abstract": "It works.", "doi": "10.1000/a"}
    rows = [row, row | {"title": "Once more"}]
    path.write_text(path.read_text() + "".join(json.dumps(each) + "\n" for each in rows))
    result = runner.invoke(cli.app, ["ingest", str(path)])
    assert result.exit_code == 0
    assert f"{path}:4: a duplicate of {path}:3: the same DOI 10.1000/a" in result.stderr
    assert "1 duplicate\n" in result.stderr
    report = json.loads(runner.invoke(cli.app, ["ingest", "--json", str(path)]).stdout)
    assert (report["duplicates"], report["failed"], report["unchanged"]) == (1, [], 3)


def test_a_long_list_of_failures_is_cut_and_written_whole(library: Path, tmp_path: Path) -> None:
    path = write_papers(library / "p.jsonl", "Larch")
    path.write_text(path.read_text() + "{broken\n" * 30)
    result = runner.invoke(cli.app, ["ingest", str(path)])
    assert result.exit_code == console.EXIT_PARTLY
    assert result.stderr.count("not valid JSON") == 20
    assert "and 10 more failures; --report FILE.jsonl writes all of them" in result.stderr
    rows = tmp_path / "rows.jsonl"
    runner.invoke(cli.app, ["ingest", str(path), "--report", str(rows)])
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["line"] for row in written] == list(range(2, 32))
    assert {row["kind"] for row in written} == {"failure"}
    refused = runner.invoke(cli.app, ["ingest", str(library), "--report", f"{library}/r.jsonl"])
    assert (refused.exit_code, "would be read as papers" in refused.stderr) == (2, True)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_papers(library / "p.jsonl", "Larch", "Finch")
    command = ["ingest", str(path), "--dry-run"]
    first = runner.invoke(cli.app, command)
    assert first.stdout == "+2 added  ~0 updated  =0 unchanged  (-0 with --prune)\n"
    assert not (library.parent / "index").exists()
    summary([str(path)])
    write_papers(path, "Larch", "Heron")
    monkeypatch.setattr(console, "open_embedder", lambda settings: pytest.fail("embeds"))
    dry = runner.invoke(cli.app, command)
    assert dry.stdout == "+1 added  ~0 updated  =1 unchanged  (-1 with --prune)\n"
    pruned = runner.invoke(cli.app, [*command, "--prune", "--json"])
    assert json.loads(pruned.stdout)["removed"] == 1
    assert len(json.loads(runner.invoke(cli.app, [*command, "--json"]).stdout)) == 8


# Models and health


def test_the_doctor_reports_a_broken_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSISTANT_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("ASSISTANT_INDEX", str(tmp_path / "index"))
    result = runner.invoke(cli.app, ["doctor", "--json"])
    assert result.exit_code == console.EXIT_ERROR
    problems = [row for row in json.loads(result.stdout) if row["level"] == "problem"]
    assert problems
    assert all(row["hint"] for row in problems)
    shown = runner.invoke(cli.app, ["doctor"])
    assert all(row["message"] in shown.stdout for row in problems)


def test_models_are_listed_with_what_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASSISTANT_MODELS_DIR", str(tmp_path))
    rows = json.loads(runner.invoke(cli.app, ["models", "list", "--json"]).stdout)
    assert [row["name"] for row in rows if row["selected"]] == [DEFAULT_MODEL]
    assert not any(row["installed"] for row in rows)
    lines = runner.invoke(cli.app, ["models", "list"]).stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == [row["name"] for row in rows]


@pytest.mark.parametrize("command", [["path"], ["verify"], ["pull", "--offline"]])
def test_a_model_that_is_not_here_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    monkeypatch.setenv("ASSISTANT_MODELS_DIR", str(tmp_path))
    name = "qwen2.5-coder-0.5b-instruct-q4_k_m"
    result = runner.invoke(cli.app, ["models", *command, name])
    assert result.exit_code == (
        console.EXIT_PARTLY if command == ["verify"] else console.EXIT_ERROR
    )
    assert result.stdout == ""
    assert f"assistant models pull {name}" in result.stderr

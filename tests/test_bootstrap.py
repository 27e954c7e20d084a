"""The set-up: what it does again and what it does not, and what it says when it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bootstrap import __main__ as entry
from bootstrap import browser, llama, setup

ROOT = Path(__file__).resolve().parent.parent


class Counted:
    """A step whose inputs can be changed and whose runs are counted."""

    def __init__(self, folder: Path) -> None:
        self.inputs = ["a", "b"]
        self.output = folder / "made"
        self.runs = 0
        self.step = setup.Step(
            "counted", "a step", lambda: self.inputs, self._run, lambda: [self.output]
        )

    def _run(self) -> None:
        self.runs += 1
        self.output.touch()


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(tmp_path)
    monkeypatch.setattr(setup, "STAMPS", tmp_path / "stamps")
    monkeypatch.setitem(setup.STEPS, "run", (counted.step,))
    return counted


def test_a_second_run_does_nothing_and_says_nothing(
    counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup.set_up(["run"]) == 0
    assert "1/1 a step" in capsys.readouterr().err
    assert setup.set_up(["run"]) == 0
    assert counted.runs == 1
    assert capsys.readouterr() == ("", "")


def test_a_step_is_done_again_when_an_input_changes(counted: Counted) -> None:
    setup.set_up(["run"])
    counted.inputs = ["a", "c"]
    setup.set_up(["run"])
    # The same text, cut at another place, is another input.
    counted.inputs = ["ac", ""]
    setup.set_up(["run"])
    assert counted.runs == 3


def test_a_step_is_done_again_when_what_it_made_is_gone(counted: Counted) -> None:
    setup.set_up(["run"])
    counted.output.unlink()
    setup.set_up(["run"])
    assert counted.runs == 2


@pytest.mark.parametrize("damage", ["", "\n", "0" * 64, "\0\xff"])
def test_a_step_is_done_again_when_its_stamp_is_damaged(counted: Counted, damage: str) -> None:
    setup.set_up(["run"])
    counted.step.stamp.write_text(damage)
    setup.set_up(["run"])
    assert counted.runs == 2


def test_a_failing_step_ends_the_setup_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[str] = []

    def fail() -> None:
        runs.append("failing")
        raise setup.SetupError("no space left")

    steps = (
        setup.Step("failing", "fails", list, fail),
        setup.Step("later", "later", list, lambda: runs.append("later")),
    )
    monkeypatch.setattr(setup, "STAMPS", tmp_path)
    monkeypatch.setitem(setup.STEPS, "run", steps)
    assert setup.set_up(["run"]) == 1
    assert setup.set_up(["run"]) == 1
    assert runs == ["failing", "failing"]
    assert "no space left" in capsys.readouterr().err


def test_the_tests_need_all_that_a_run_needs() -> None:
    assert setup.TEST_STEPS[: len(setup.RUN_STEPS)] == setup.RUN_STEPS
    names = [step.name for step in setup.TEST_STEPS]
    assert len(set(names)) == len(names)


def test_a_failing_command_shows_the_end_of_its_log_and_where_the_whole_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "LOG", tmp_path / "setup.log")
    code = "print(*('Collecting %d' % n for n in range(100)), sep='\\n'); raise SystemExit(7)"
    with pytest.raises(setup.SetupError) as caught:
        setup._run_counted([sys.executable, "-c", code], "Collecting ", 100)
    assert "Collecting 99" in str(caught.value)
    assert "Collecting 59\n" not in str(caught.value)
    assert str(tmp_path / "setup.log") in str(caught.value)
    assert (tmp_path / "setup.log").read_text().startswith("Collecting 0\n")


def test_a_failing_build_shows_the_end_of_its_log_and_where_the_whole_is(tmp_path: Path) -> None:
    code = (
        "print(*('  [%d/100] g++ a.cpp.o' % n for n in range(100)), sep='\\n'); raise SystemExit(1)"
    )
    path = tmp_path / "build.log"
    with path.open("w", encoding="utf-8") as log, pytest.raises(llama.BuildError) as caught:
        llama._run_build([sys.executable, "-c", code], log)
    assert "[99/100]" in str(caught.value)
    assert "[59/100]" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(path.read_text().splitlines()) == 100


@pytest.mark.parametrize("variable", llama.BUILD_VARIABLES)
def test_a_wheel_built_otherwise_has_another_key(variable: str) -> None:
    plain = llama.wheel_key({})
    assert llama.wheel_key({"EDITOR": "ed"}) == plain
    assert llama.wheel_key({variable: "-DGGML_CUDA=on"}) != plain


def test_a_wheel_for_another_processor_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = llama.wheel_key({})
    monkeypatch.setattr(llama, "processor", lambda: "sse2 avx")
    assert llama.wheel_key({}) != plain


def test_no_compiler_is_told_with_the_command_that_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(llama.BuildError, match="apt-get install build-essential"):
        llama._require_compiler({})
    with pytest.raises(llama.BuildError, match="my-cc"):
        llama._require_compiler({"CC": "my-cc"})


def test_the_installed_library_is_the_built_one_and_loads() -> None:
    assert llama._load_failure() == ""


def test_an_old_python_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "OLDEST", (99, 0))
    assert entry.main() == 1
    assert "Python 3.11 or newer is needed" in capsys.readouterr().err


def test_a_browser_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert browser.find() == sys.executable


def test_a_browser_that_is_named_but_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chrome")
    with pytest.raises(browser.BrowserMissingError, match="/nowhere/chrome"):
        browser.ensure(Path(sys.executable))


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ``assistant`` that prints its arguments as JSON."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "assistant"
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return folder


def _make_ask(folder: Path, question: str) -> subprocess.CompletedProcess[str]:
    # PYTHON=true: the set-up itself is of no concern here.
    return subprocess.run(
        ["make", "-s", "ask", f"BIN={folder}", "PYTHON=true", f"Q={question}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@settings(max_examples=settings().max_examples * 3 // 5)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@example("what does it cost: $5, $$, $(shell exit 1) or ${HOME}?")
@example("""a 'single', a "double" and a `back` quote; a # and a \\""")
@example("two\nlines")
@example("--help")
def test_a_question_reaches_the_program_as_typed(echoing: Path, question: str) -> None:
    assume(not question[0].isspace())  # make drops blanks before a value
    done = _make_ask(echoing, question)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["ask", "--", question]


def test_no_question_is_a_usage_error(echoing: Path) -> None:
    done = _make_ask(echoing, "")
    assert done.returncode == 2
    assert 'make ask Q="' in done.stderr
    assert done.stdout == ""

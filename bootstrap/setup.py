"""What has to be there before the assistant runs, as steps that are done once.

A step leaves a stamp in ``.venv/setup``: the digest of its inputs and the files that it made. While
the inputs are the same and the files are there, it is not done again. Messages go to standard
error. Uses the standard library alone, because nothing else is there yet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap import browser, llama

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
ASSISTANT = SCRIPTS / ("assistant.exe" if os.name == "nt" else "assistant")
LOCKS = ROOT / "requirements"
STAMPS = VENV / "setup"
LOG = VENV / "setup.log"

TEST_MODEL = "smollm2-135m-instruct-q4_1"

_LOG_LINES = 40
_NO_VENV_HINT = """\
Python's venv module is incomplete. On Debian and Ubuntu: sudo apt-get install python3-venv"""


class SetupError(Exception):
    """A step failed; the message is meant for the user."""


@dataclass(frozen=True)
class Step:
    """One step of the set-up."""

    name: str
    title: str
    inputs: Callable[[], Iterable[str]]
    """What its outcome depends on. A change means that it is to be done again."""
    run: Callable[[], None]
    outputs: Callable[[], Iterable[Path]] = field(default=tuple)
    """What it made outside of the virtual environment. If one is gone, it is to be done again."""

    @property
    def stamp(self) -> Path:
        return STAMPS / self.name

    def key(self) -> str:
        return hashlib.sha256("\0".join(self.inputs()).encode()).hexdigest()

    def is_done(self) -> bool:
        if not self.stamp.exists():
            return False
        key, *outputs = _text(self.stamp).splitlines() or [""]
        return key == self.key() and all(map(os.path.exists, outputs))

    def mark_done(self) -> None:
        lines = [self.key(), *map(str, self.outputs())]
        STAMPS.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text("\n".join(lines), encoding="utf-8")


def set_up(arguments: Sequence[str]) -> int:
    """Do what is left to do for ``run`` (use the assistant), ``test`` or ``bench``.

    Returns:
        The exit code.
    """
    if len(arguments) != 1 or arguments[0] not in STEPS:
        _say(f"usage: python -m bootstrap {'|'.join(STEPS)}")
        return 2
    steps = STEPS[arguments[0]]
    # Python's own variables would lead the virtual environment's Python to foreign packages.
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"):
        os.environ.pop(name, None)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    try:
        for number, step in enumerate(steps, start=1):
            if not step.is_done():
                _do(step, f"{number}/{len(steps)}")
    except SetupError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("\ninterrupted; the same command goes on from here")
        return 130
    return 0


def _do(step: Step, position: str) -> None:
    _say(f"{position} {step.title} ...")
    start = time.monotonic()
    step.run()
    step.mark_done()
    _say(f"{position} {step.title}: done in {_duration(time.monotonic() - start)}")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


# --- the steps ---


def _make_environment() -> None:
    # Only one of our own is ever cleared: made by another Python, or moved.
    clear = ["--clear"] if STAMPS.exists() else []
    _run([sys.executable, "-m", "venv", *clear, str(VENV)], hint=_NO_VENV_HINT)


def _install_locked(*names: str) -> Callable[[], None]:
    def install() -> None:
        locks = [LOCKS / f"{name}.txt" for name in names]
        flags = [flag for lock in locks for flag in ("-r", str(lock))]
        # No entry of a lock starts with a space; each of its hashes does.
        total = sum(
            not line.startswith((" ", "#")) for lock in locks for line in _text(lock).splitlines()
        )
        _run_counted([*_PIP_INSTALL, "--require-hashes", *flags], "Collecting ", total)

    return install


def _install_project() -> None:
    _run([*_PIP_INSTALL, "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."])


def _build_llama() -> None:
    _run_shown([PYTHON, "-m", "bootstrap.llama"])


def _pull_models() -> None:
    _run_shown([ASSISTANT, "models", "pull"])


def _pull_test_model() -> None:
    _run_shown([ASSISTANT, "models", "pull", TEST_MODEL])


def _index_seeds() -> None:
    _run_shown([ASSISTANT, "ingest", "--seeds"])


def _find_browser() -> None:
    try:
        found = browser.ensure(PYTHON)
    except browser.BrowserMissingError as error:
        raise SetupError(str(error)) from error
    _say(f"  {found}")


# --- what they depend on ---


def _environment_inputs() -> list[str]:
    return [sys.version, sys.base_prefix, str(VENV)]


def _lock_inputs(*names: str) -> Callable[[], list[str]]:
    return lambda: [_text(LOCKS / f"{name}.txt") for name in names]


def _llama_inputs() -> list[str]:
    return [llama.wheel_key(os.environ)]


def _project_inputs() -> list[str]:
    return [_text(ROOT / "pyproject.toml")]


def _model_inputs() -> list[str]:
    return [_text(ROOT / "assistant" / "model_files" / "models.toml"), *_user_inputs()]


def _index_inputs() -> list[str]:
    files = [*(ROOT / "seeds").iterdir(), *(ROOT / "vectorstore").rglob("*.py")]
    return [*map(_text, sorted(files)), *_model_inputs()]


def _browser_inputs() -> list[str]:
    return [_text(LOCKS / "dev.txt"), os.environ.get("CHROMIUM", "")]


def _user_inputs() -> list[str]:
    """Where this user keeps models and index: variables and settings file."""
    variables = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("ASSISTANT_", "XDG_")) or name in {"HOME", "LOCALAPPDATA"}
    ]
    settings = ROOT / "assistant.toml"
    return [*variables, _text(settings) if settings.exists() else ""]


def _model_files() -> list[Path]:
    # Folders with a dot hold what is on its way; it comes and goes.
    folders = [path for path in _setting("models_dir").glob("[!.]*") if path.is_dir()]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _installed_browser() -> list[Path]:
    found = browser.find()
    return [Path(found)] if found else []


def _index_folder() -> list[Path]:
    return [_setting("index")]


def _setting(name: str) -> Path:
    code = f"from assistant.settings import load_settings; print(load_settings().{name})"
    done = subprocess.run(
        [PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


# --- running commands ---

_PIP_INSTALL = [str(PYTHON), "-m", "pip", "install", "--no-input"]


def _run(command: Sequence[str | Path], *, hint: str = "") -> None:
    """Run a short command; show its output only if it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SetupError("\n".join(filter(None, [done.stdout.strip(), hint])))


def _run_shown(command: Sequence[str | Path]) -> None:
    """Run a command that shows its own progress."""
    # Its results are not the result of `make ask`: they go to standard error.
    returncode = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    if returncode == 130:
        raise KeyboardInterrupt
    if returncode:
        raise SetupError(f"failed: {' '.join(map(str, command))}")


def _run_counted(command: Sequence[str], prefix: str, total: int) -> None:
    """Run a command and count the lines of its output that start with ``prefix``."""
    last: deque[str] = deque(maxlen=_LOG_LINES)
    count = 0
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    with process, LOG.open("w", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            last.append(line)
            if line.startswith(prefix):
                count += 1
                name = line.removeprefix(prefix).split()[0]
                _overwrite(f"  {count} of about {total}: {name}")
            elif line.startswith("Installing"):
                _overwrite(f"  unpacking {count} packages")
    _overwrite("")
    if process.returncode:
        raise SetupError(f"{''.join(last)}\nThe lines above are the end of the log: {LOG}")


def _overwrite(message: str) -> None:
    """Show a passing message, where there is a terminal to show it on."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r\x1b[2K" + message[:width])
        sys.stderr.flush()


RUN_STEPS = (
    Step("environment", "virtual environment in .venv", _environment_inputs, _make_environment),
    Step(
        "dependencies",
        "dependencies, as locked",
        _lock_inputs("run", "build"),
        _install_locked("run", "build"),
    ),
    Step("llama", "llama.cpp, for this machine's processor", _llama_inputs, _build_llama),
    Step("project", "the assistant itself", _project_inputs, _install_project),
    Step("models", "language model and embedding model", _model_inputs, _pull_models, _model_files),
    Step("index", "index of the bundled papers", _index_inputs, _index_seeds, _index_folder),
)
TEST_STEPS = (
    *RUN_STEPS,
    Step("tests", "dependencies of the tests", _lock_inputs("dev"), _install_locked("dev")),
    Step("test-model", "small model for the tests", _model_inputs, _pull_test_model, _model_files),
    Step(
        "browser",
        "Chromium for the browser tests",
        _browser_inputs,
        _find_browser,
        _installed_browser,
    ),
)
BENCH_STEPS = (
    *RUN_STEPS,
    Step("bench", "what is compared with", _lock_inputs("bench"), _install_locked("bench")),
)
STEPS = {"run": RUN_STEPS, "test": TEST_STEPS, "bench": BENCH_STEPS}

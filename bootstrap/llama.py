"""Builds llama-cpp-python for this machine's processor, once, and installs it.

It comes as source only. A wheel that was built is kept in the user's cache folder under a key of
all that it depends on, so a second checkout installs it in seconds and another processor never
gets a wrong one. Run under the virtual environment's Python, after the other dependencies.

Environment: CMAKE_ARGS is passed on, for example ``-DGGML_CUDA=on`` (NVIDIA), ``-DGGML_VULKAN=on``
or ``-DGGML_HIP=on`` (AMD); Metal is on by default on Macs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "llama.txt"
CMAKE_FILE = Path(__file__).with_name("llama.cmake")
AMX_HEADER = Path(__file__).with_name("llama_amx.h")

BUILD_VARIABLES = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CUDACXX")
"""What of the environment changes the outcome of a build."""

_LOG_LINES = 40
_STEP = re.compile(r"^\s*\[(?P<step>\d+)/(?P<steps>\d+)\] (?P<what>.*)")

_COMPILER_HINT = """\
A C and a C++ compiler are needed to build llama.cpp for this machine. Get them with
  Debian, Ubuntu   sudo apt-get install build-essential
  Fedora           sudo dnf install gcc gcc-c++ make
  macOS            xcode-select --install
  Windows          winget install Microsoft.VisualStudio.2022.BuildTools
                   (choose "Desktop development with C++")
and run the same command again."""


class BuildError(Exception):
    """The build cannot start or failed; the message is meant for the user."""


def processor() -> str:
    """Name what code may be compiled for: the features that this processor reports."""
    if platform.system() == "Linux":
        # x86 has a line "flags", ARM "Features"; one processor stands for all of a machine.
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        lines = (line.partition(":") for line in text.splitlines())
        for name, _, value in lines:
            if name.strip() in {"flags", "Features"}:
                return " ".join(sorted(value.split()))
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor()


def wheel_key(environment: Mapping[str, str]) -> str:
    """Return the digest of everything that the built wheel depends on, 16 hexadecimal digits."""
    parts = [
        LOCK.read_text(encoding="utf-8"),
        CMAKE_FILE.read_text(encoding="utf-8"),
        AMX_HEADER.read_text(encoding="utf-8"),
        processor(),
        sysconfig.get_platform(),
        *platform.libc_ver(),
        f"python {sys.version_info.major}.{sys.version_info.minor}",
        *(f"{name}={environment.get(name, '')}" for name in BUILD_VARIABLES),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def install() -> None:
    """Install the wheel for this machine, from the cache or newly built.

    Raises:
        BuildError: If there is no compiler, the build fails, or what was built does not load.
    """
    import platformdirs

    cache = platformdirs.user_cache_path("abstract-assistant") / "wheels"
    folder = cache / wheel_key(os.environ)
    for wheel in folder.glob("*.whl"):
        print(f"  from the cache: {wheel}", file=sys.stderr)
        _install(wheel)
        if not _load_failure():
            return
        print("  it does not load; it is built again", file=sys.stderr)
        shutil.rmtree(folder)
    _install(_build(folder))
    if failure := _load_failure():
        shutil.rmtree(folder)
        raise BuildError(f"llama.cpp was built but does not load:\n{failure}")


def _build(folder: Path) -> Path:
    """Build the wheel and put it into ``folder`` by one rename."""
    _require_compiler(os.environ)
    log_path = Path(sys.prefix) / "llama-build.log"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as name:
        command = [
            *(sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"),
            *("--no-cache-dir", "--require-hashes", "-r", str(LOCK), "--wheel-dir", name),
        ]
        with log_path.open("w", encoding="utf-8") as log:
            _run_build(command, log)
        folder.mkdir(exist_ok=True)
        (wheel,) = Path(name).glob("*.whl")
        return wheel.replace(folder / wheel.name)


def _build_environment() -> dict[str, str]:
    """Return the environment of the build: pip hands --config-settings to no requirements file."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
        "SKBUILD_CMAKE_DEFINE": f"CMAKE_PROJECT_INCLUDE={CMAKE_FILE.as_posix()}",
        # Short lines: what is being compiled, not the compiler's command.
        "SKBUILD_CMAKE_VERBOSE": "false",
        "NINJA_STATUS": "[%f/%t] ",
    }


def _run_build(command: list[str], log: IO[str]) -> None:
    process = subprocess.Popen(
        command,
        env=_build_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=_LOG_LINES)
    with process:
        _show_progress(_logged(process.stdout, log, last))
    if process.returncode:
        raise BuildError(
            f"{''.join(last)}\nThe build of llama.cpp failed; the lines above are the end of its "
            f"log.\nThe whole log: {log.name}"
        )


def _logged(lines: IO[str], log: IO[str], last: deque[str]) -> Iterator[str]:
    for line in lines:
        log.write(line)
        last.append(line)
        yield line


def _show_progress(lines: Iterator[str]) -> None:
    """Show step n of N and the time left, on a terminal as a bar, elsewhere a line per tenth."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    tenths_told = 0
    with Progress(
        TextColumn("  compiling"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Steps differ a hundredfold in length: an estimate wants all of them, not the last few.
        speed_estimate_period=3600,
    ) as progress:
        task = progress.add_task("fetching the source", total=None)
        for line in lines:
            if (match := _STEP.match(line)) is None:
                continue
            step, steps = int(match["step"]), int(match["steps"])
            progress.update(
                task, completed=step, total=steps, description=_file_name(match["what"])
            )
            if not console.is_terminal and (tenths := 10 * step // steps) > tenths_told:
                tenths_told = tenths
                print(f"  compiling: step {step} of {steps}", file=sys.stderr, flush=True)


def _file_name(ninja_line: str) -> str:
    """Return the file that a line such as ``Building CXX object a/b/c.cpp.o`` speaks of."""
    return Path(ninja_line.rsplit(maxsplit=1)[-1]).name.removesuffix(".o")


def _require_compiler(environment: Mapping[str, str]) -> None:
    """Complain early, and in words, where CMake would complain late, in a page."""
    if platform.system() == "Windows":
        return  # Visual Studio is not on the PATH; CMake finds it by other means.
    for variable, names in (("CC", ("cc", "gcc", "clang")), ("CXX", ("c++", "g++", "clang++"))):
        own = environment.get(variable, "").split()[:1]
        if not any(shutil.which(name) for name in own or names):
            raise BuildError(f"No {' or '.join(own or names)} found.\n{_COMPILER_HINT}")
    # macOS has a placeholder /usr/bin/cc that only asks to install the real one.
    if platform.system() == "Darwin" and _fails(["xcode-select", "-p"]):
        raise BuildError(_COMPILER_HINT)


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def _install(wheel: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--force-reinstall", str(wheel)], check=True)


def _load_failure() -> str:
    """Load the library in a process of its own: a wrong build may end the process that loads it."""
    code = "import llama_cpp; llama_cpp.llama_backend_init(); llama_cpp.llama_print_system_info()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or f"ended with {done.returncode}"


def main() -> int:
    """Install, or tell the user why not; returns the exit code."""
    try:
        install()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

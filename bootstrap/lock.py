"""Renews ``requirements/*.txt`` from ``pyproject.toml``: exact versions, hashes, all platforms.

Run by ``make lock`` under the virtual environment's Python. No address gets into a lock, so each
user's own mirror and proxy settings apply.

run.txt     what the assistant needs, but for the next
llama.txt   llama-cpp-python, apart because it is built here (``bootstrap.llama``)
build.txt   what builds it, and this project
dev.txt     what the tests need on top
bench.txt   what the benchmarks compare with, on top
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
BUILT_HERE = "llama-cpp-python"

_COMPILE = (
    *("-m", "uv", "pip", "compile", "--quiet", "--upgrade"),
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)


def entries(lock: str) -> list[str]:
    """Split the text of a lock into its entries: a requirement and the lines of its hashes."""
    return re.findall(r"^\S.*\n(?:[ \t]+.*\n?)*", lock, flags=re.MULTILINE)


def renew() -> None:
    """Resolve anew and write the locks.

    Raises:
        subprocess.CalledProcessError: If the requirements cannot be met or the index not reached.
    """
    names = ("run", "build", "dev", "bench", "llama")
    run, build, dev, bench, llama = (LOCKS / f"{name}.txt" for name in names)
    LOCKS.mkdir(exist_ok=True)
    _compile("pyproject.toml", output=run)
    every = entries(run.read_text())
    apart = [entry for entry in every if entry.startswith(f"{BUILT_HERE}==")]
    llama.write_text("".join(apart))
    run.write_text("".join(entry for entry in every if entry not in apart))
    # One version of a package in all locks: they end up in the same environment.
    _compile("--group", "build", "--constraint", run, output=build)
    _compile("--group", "dev", "--constraint", run, "--constraint", build, output=dev)
    _compile("--group", "bench", "--constraint", run, "--constraint", build, output=bench)


def _compile(*sources: str | Path, output: Path) -> None:
    # A lock that is there would be taken as a wish to keep its versions.
    output.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, *_COMPILE, "--output-file", output, *sources], cwd=ROOT, check=True
    )
    print(f"{output.relative_to(ROOT)}: {len(entries(output.read_text()))} packages")


if __name__ == "__main__":
    renew()

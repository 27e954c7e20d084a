"""Property tests draw the same examples in every run, unless other ones are asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PROPERTY = """
import json
from pathlib import Path

from hypothesis import given, settings, strategies as st

DRAWN = []

@given(st.text(), st.integers())
def test_it(text, number):
    DRAWN.append([text, number])

def test_tell():
    Path(__file__).with_suffix(".json").write_text(json.dumps(DRAWN))
"""


def drawn(folder: Path, *options: str) -> list[list[object]]:
    """Run a property test as `make` runs ours; return its examples."""
    test = folder / "test_property.py"
    test.write_text(PROPERTY)
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", *options, str(test)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    examples: list[list[object]] = json.loads(test.with_suffix(".json").read_text())
    return examples


def test_runs_draw_the_same_examples_and_a_long_run_others(tmp_path: Path) -> None:
    usual = drawn(tmp_path)
    assert drawn(tmp_path) == usual
    long = drawn(tmp_path, "--hypothesis-profile=fuzz", "--hypothesis-seed=1")
    assert len(long) > 5 * len(usual)
    assert long[: len(usual)] != usual

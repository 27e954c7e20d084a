"""A disk that is full and a folder that cannot be written."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import IndexDamagedError, IndexMissingError, Store

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [synthetic(number) for number in range(60)]

# No file may grow beyond a size: what is written next fails, as on a full disk.
FULL_DISK = """
import resource, signal, sys
from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import Store, StoreError
from vectorstore.index import writing
import chromadb, tantivy
writing.PAPERS_PER_EMBEDDING, writing._WRITE_SECONDS = 5, 0.0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with Store.create(sys.argv[1], HashEmbedder()) as store:
        store.ingest(synthetic(number) for number in range(60))
except StoreError as error:
    print(type(error).__name__, error, error.hint)
    sys.exit(1)
"""

# As nobody, who may read everything and write nothing.
READ_ONLY = """
import os, sys
from tests.fakes import HashEmbedder
from tests.vectorstore.synthetic import synthetic
from vectorstore import IndexDamagedError, Store
import chromadb, tantivy
if os.geteuid() == 0:
    os.seteuid(65534)
folder = sys.argv[1]
with Store.open(folder, HashEmbedder()) as store:
    assert store.search("Subject3", 1)[0].paper.id == "paper-3"
    assert store.check_numbers() == []
    attempts = [
        lambda: store.ingest([synthetic(99)]), lambda: store.remove(["paper-1"]), store.check,
        lambda: Store.create(folder, HashEmbedder()), lambda: Store.repair(folder, HashEmbedder()),
        lambda: Store.create(folder + "/new", HashEmbedder()),
    ]
    for attempt in attempts:
        try:
            attempt()
        except IndexDamagedError as error:
            assert "cannot be written" in str(error), error
            assert "permissions" in error.hint
        else:
            raise AssertionError("it was written")
    assert store.search("Subject5", 1)[0].paper.id == "paper-5"
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kilobytes", [8, 30, 60, 130, 200, 280, 400])
def test_an_ingest_that_met_a_full_disk_is_completed_by_the_next(
    tmp_path: Path, kilobytes: int
) -> None:
    failed = run(FULL_DISK, tmp_path / "index", 1_000 * kilobytes)
    assert failed.returncode == 1, failed.stderr
    assert failed.stdout.startswith("IndexDamagedError")
    refusal = None
    try:
        with Store.open(tmp_path / "index", HashEmbedder()) as store:
            assert (len(store), store.check()) == (0, [])
    except (IndexDamagedError, IndexMissingError) as error:
        refusal = str(error)
    # Either it had not begun to write, or it is refused until it is complete.
    assert refusal is None or re.search(r"interrupted|incomplete|no index", refusal)
    with Store.create(tmp_path / "index", HashEmbedder()) as store:
        store.ingest(PAPERS)
        assert store.check() == []
        assert list(store.papers()) == PAPERS


@pytest.fixture
def fixed() -> Iterator[Path]:
    """An index that nobody may write, where nobody can reach it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        with Store.create(folder, HashEmbedder()) as store:
            store.ingest(PAPERS)
        paths = [Path(name), folder, *folder.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_an_index_that_cannot_be_written_can_be_searched(fixed: Path) -> None:
    done = run(READ_ONLY, fixed)
    assert done.returncode == 0, done.stdout + done.stderr

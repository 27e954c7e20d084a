"""Ingest synthetic papers into an index, one write after the other: a process to be killed.

Arguments: folder, first number, number after the last, version, "prune" or "keep".
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.fakes import HashEmbedder
    from tests.vectorstore.synthetic import synthetic
    from vectorstore import Store
    from vectorstore.index import writing

    # Many small writes, so that a kill at any moment falls between, or into, two of them.
    writing.PAPERS_PER_EMBEDDING, writing._WRITE_SECONDS = 5, 0.0
    folder, first, last, version, prune = sys.argv[1:]
    papers = (synthetic(number, int(version)) for number in range(int(first), int(last)))
    with Store.create(folder, HashEmbedder()) as index:
        index.ingest(
            papers,
            prune=prune == "prune",
            progress=lambda done: print(done, flush=True),  # noqa: T201 - read by the test
        )


if __name__ == "__main__":
    main()

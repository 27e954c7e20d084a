"""Ingest synthetic papers into a collection on a server: a process to be killed, or one of many.

Arguments: URL, folder of the copy, first number, number after the last, version.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.fakes import HashEmbedder
    from tests.vectorstore.synthetic import synthetic
    from vectorstore.index import writing
    from vectorstore.places import ServerPlace
    from vectorstore.remote.address import Address

    # Many small writes, so that a kill at any moment falls between, or into, two of them.
    writing.PAPERS_PER_EMBEDDING, writing._WRITE_SECONDS = 5, 0.0
    url, folder, first, last, version = sys.argv[1:]
    papers = (synthetic(number, int(version)) for number in range(int(first), int(last)))
    with ServerPlace(Address.parse(url), Path(folder)).create(HashEmbedder()) as store:
        print("ready", flush=True)  # noqa: T201 - read by the test
        sys.stdin.readline()
        store.ingest(papers)


if __name__ == "__main__":
    main()

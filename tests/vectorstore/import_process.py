"""Import an archive into a collection: a process to be killed.

Arguments: folder of the collections, archive, name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fakes import HashEmbedder
from vectorstore import Collections
from vectorstore.transfer import import_index


def main() -> None:
    root, archive, name = sys.argv[1:]
    with Collections(Path(root)).placing(name, replace=True) as folder:
        import_index(
            Path(archive),
            folder,
            HashEmbedder(),
            progress=lambda done: print(done, flush=True),  # noqa: T201 - read by the test
        )


if __name__ == "__main__":
    main()

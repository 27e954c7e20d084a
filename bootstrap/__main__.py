"""``python -m bootstrap run|test|bench``: make sure that everything is there, and say what is done.

This file must parse under an old Python 3, so that its user is told what is wrong with it.
"""

import shutil
import sys

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def main() -> int:
    """Refuse an old Python in words; else set up."""
    if sys.version_info < OLDEST:
        found = [name for name in NEWER if shutil.which(name)]
        print(
            f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}, {sys.executable}.\n"
            + (f"Next: add PYTHON={found[0]} to the command" if found else "Next: install one"),
            file=sys.stderr,
        )
        return 1
    from bootstrap.setup import set_up

    return set_up(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

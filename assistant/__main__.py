"""``python -m assistant``."""

from assistant.commands.cli import main

if __name__ == "__main__":
    main()

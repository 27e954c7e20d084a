"""Serve the page over the real assistant: ``python -m tests.browser.real_page INDEX STATES``.

The default model on the bundled seeds; two papers a question, so that a first question on a cold
cache is answered in a test's patience.
"""

from __future__ import annotations

import sys
from pathlib import Path

from assistant import Assistant
from assistant.server import serve
from assistant.settings import load_settings
from tests.browser.scripted_page import say

if __name__ == "__main__":
    index, states = (Path(argument) for argument in sys.argv[1:])
    settings = load_settings(
        index=index,
        states_dir=states,
        max_papers=2,
        conversations=index.parent / "conversations.sqlite3",
    )
    with Assistant(settings) as assistant:
        serve(assistant, port=7980, announce=say)

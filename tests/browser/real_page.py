"""Serve the page over the real assistant: ``python -m tests.browser.real_page FOLDER STATES``.

The default model on the bundled seeds; two papers a question, so that a first question on a cold
cache is answered in a test's patience. FOLDER is that of the user's data.
"""

from __future__ import annotations

import sys
from pathlib import Path

from assistant import Assistant
from assistant.serving.server import serve
from assistant.settings import load_settings
from tests.browser.scripted_page import private_folders, say

if __name__ == "__main__":
    folder, states = (Path(argument) for argument in sys.argv[1:])
    private_folders(folder)
    settings = load_settings(states_dir=states, max_papers=2)
    with Assistant(settings) as assistant:
        serve(assistant, port=7980, announce=say)

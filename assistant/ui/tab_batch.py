"""The batch tab: a file of questions is dropped, its answers grow in a table, each can be opened.

What is shown is written by ``page_batch``; batches run in ``batches``, whoever looks.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.question_files.questions import read_questions
from assistant.resources import asset
from assistant.ui import page_batch
from assistant.ui.batches import Batches
from assistant.ui.conversations import Conversations
from assistant.ui.drop_area import QUIET, drop_area
from assistant.ui.served import served
from assistant.ui.visitors import collection_of, owner_of

if TYPE_CHECKING:
    import gradio as gr

FOLDER = "batches"
"""Beside the conversations."""
_MEDIA_TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "jsonl": "application/jsonl",
    "md": "text/markdown",
}


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the table asks for. Each answer is JSON, with safe HTML in it."""

    batches: Batches
    collection: str
    """That the page shows."""

    def look(self, wanted: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """All batches, the chosen one, and its rows from a number on."""
        found = self.batches.jobs(owner=owner)
        chosen = str(wanted.get("job") or (found[0].id if found else ""))
        job = next((each for each in found if each.id == chosen), None)
        listed = page_batch.jobs(found, chosen, self.collection)
        if job is None:
            return {"jobs": listed, "job": "", "head": "", "rows": "", "count": 0, "again": False}
        known = int(wanted.get("known") or 0)
        turns = self.batches.turns(job.id, owner=owner)
        return {
            "jobs": listed,
            "job": job.id,
            "head": page_batch.head(job),
            "rows": page_batch.rows(turns[known:]),
            "count": len(turns),
            "again": job.running,
        }

    def row(self, wanted: Mapping[str, Any], owner: str) -> str:
        """A row, opened."""
        turns = self.batches.turns(str(wanted["job"]), owner=owner)
        number = int(wanted["number"])
        return next((page_batch.answer(turn) for turn in turns if turn.number == number), "")

    def change(self, wanted: Mapping[str, Any], owner: str) -> bool:
        """Pause a batch, go on with it, or delete it."""
        acts = {
            "pause": self.batches.pause,
            "go on": self.batches.go_on,
            "delete": self.batches.delete,
        }
        acts[wanted["what"]](str(wanted["job"]), owner=owner)
        return True

    def save(self, wanted: Mapping[str, Any], owner: str) -> dict[str, str]:
        """The answers so far, as a file."""
        form = str(wanted["form"])
        job = self.batches.job(str(wanted["job"]), owner=owner)
        content = self.batches.write(job.id, form, owner=owner)
        name = f"{Path(job.name).stem}-answers.{form}"
        return {"name": name, "content": content, "media_type": _MEDIA_TYPES[form]}


def build(_blocks: "gr.Blocks", assistant: Any, _kept: Conversations) -> None:
    """Lay out the tab and wire its events."""
    import gradio as gr

    settings = assistant.settings
    batches = Batches(settings.conversations.parent / FOLDER, assistant.of)

    def look(paths: Sequence[str], _collection: str) -> str:
        return page_batch.preview(read_questions(paths[0]))

    with gr.Row(elem_id="batch-columns", elem_classes="columns"):
        gr.HTML(
            page_batch.shell(),
            elem_id="batch",
            apply_default_css=False,
            server_functions=served(
                lambda collection: Ledger(batches, collection or settings.place_name),
                [Ledger.look, Ledger.row, Ledger.change, Ledger.save],
            ),
            js_on_load=asset("tab_batch.js"),
        )
        area = drop_area(page_batch.dropping(), look, name="question", button="Ask these questions")

    def begin(path: str | None, request: gr.Request) -> list[Any]:
        if path:
            here = collection_of(request) or settings.place_name
            batches.begin(Path(path), owner=owner_of(request), collection=here)
        begun = '<p class="report" role="status">Begun. Its answers grow in the table.</p>'
        return [*area.showing(begun), None]

    area.button.click(begin, area.files, [*area.outputs, area.files], **QUIET)

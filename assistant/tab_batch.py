"""The batch tab: a file of questions is dropped, its answers grow in a table, each can be opened.

What is shown is written by ``page_batch``; batches run in ``batches``, whoever looks.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant import page_batch
from assistant.batches import Batches
from assistant.conversations import Conversations
from assistant.errors import USER_ERRORS
from assistant.page_papers import problem
from assistant.questions import read_questions
from assistant.resources import asset
from assistant.served import served
from assistant.visitors import owner_of

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

    def look(self, wanted: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """All batches, the chosen one, and its rows from a number on."""
        found = self.batches.jobs(owner=owner)
        chosen = str(wanted.get("job") or (found[0].id if found else ""))
        job = next((each for each in found if each.id == chosen), None)
        listed = page_batch.jobs(found, chosen)
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

    batches = Batches(assistant.settings.conversations.parent / FOLDER, assistant)
    ledger = Ledger(batches)
    with gr.Row(elem_id="batch-columns", elem_classes="columns"):
        gr.HTML(
            page_batch.shell(),
            elem_id="batch",
            apply_default_css=False,
            server_functions=served([ledger.look, ledger.row, ledger.change, ledger.save]),
            js_on_load=asset("tab_batch.js"),
        )
        with gr.Column(elem_classes="aside", min_width=0):
            gr.HTML(page_batch.dropping(), apply_default_css=False, js_on_load=None)
            dropped = gr.File(
                label="A file of questions",
                show_label=False,
                file_count="single",
                elem_id="question-file",
                height=130,
            )
            shown = gr.HTML("", elem_id="batch-shown", apply_default_css=False, js_on_load=None)
            start = gr.Button("Ask these questions", elem_classes="main-act", visible=False)

    def preview(path: str | None) -> list[Any]:
        if not path:
            return ["", gr.Button(visible=False)]
        try:
            questions = read_questions(path)
        except USER_ERRORS as error:
            said = str(error).replace(str(path), Path(path).name)
            return [problem(said, error.hint), gr.Button(visible=False)]
        return [page_batch.preview(questions), gr.Button(visible=True)]

    def begin(path: str | None, request: gr.Request) -> list[Any]:
        if path:
            batches.begin(Path(path), owner=owner_of(request))
        begun = '<p class="report" role="status">Begun. Its answers grow in the table.</p>'
        return [begun, gr.Button(visible=False), None]

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    dropped.upload(preview, dropped, [shown, start], **hidden)
    dropped.clear(lambda: ["", gr.Button(visible=False)], outputs=[shown, start], **hidden)
    start.click(begin, dropped, [shown, start, dropped], **hidden)

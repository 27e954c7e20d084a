"""Where files are dropped: what was recognised stands below, and nothing happens before a click.

Knows nothing of what is in the files.
"""

# No `from __future__ import annotations`: see ``tab_chat``.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.errors import USER_ERRORS
from assistant.ui.page_papers import problem
from assistant.ui.visitors import collection_of

if TYPE_CHECKING:
    import gradio as gr

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Of events that tell themselves how far they are."""


@dataclass(frozen=True, slots=True)
class DropArea:
    """The components of a place where files are dropped."""

    files: "gr.File"
    shown: "gr.HTML"
    """What was recognised, and what became of it."""
    asked: "tuple[gr.Textbox, ...]"
    """What else is asked for; seen with the button."""
    button: "gr.Button"
    """Takes the files; seen when something was recognised."""

    @property
    def outputs(self) -> "list[gr.components.Component]":
        """In the order of `showing`, but for the files."""
        return [self.shown, *self.asked, self.button]

    def showing(self, markup: str, *, act: bool = False) -> list[Any]:
        """Values for ``outputs``."""
        import gradio as gr

        asked = gr.update(visible=True) if act else gr.update(visible=False, value="")
        return [markup, *(asked for _ in self.asked), gr.update(visible=act)]


def drop_area(
    told: str,
    look: Callable[[Sequence[str], str], str],
    *,
    name: str,
    button: str,
    several: bool = False,
    asked: "Sequence[gr.Textbox]" = (),
) -> DropArea:
    """Lay out a place where files are dropped, and show what was recognised.

    Args:
        told: HTML that says what can be dropped.
        look: Takes paths and the name of the collection that the page shows, returns HTML; raises
            what the user should read.
        name: What the ids of the components begin with.
        button: What the button says; it does nothing yet.
        several: Whether more than one file can be dropped at a time.
        asked: What else is asked for, above the button; not rendered yet.
    """
    import gradio as gr

    with gr.Column(elem_classes="aside", min_width=0):
        gr.HTML(told, apply_default_css=False, js_on_load=None)
        files = gr.File(
            show_label=False,
            file_count="multiple" if several else "single",
            elem_id=f"{name}-files",
            height=130,
        )
        shown = gr.HTML("", elem_id=f"{name}-shown", apply_default_css=False, js_on_load=None)
        for each in asked:
            each.render()  # type: ignore[no-untyped-call]
        act = gr.Button(button, elem_classes="main-act", visible=False)
    area = DropArea(files, shown, tuple(asked), act)

    def show(dropped: Any, request: gr.Request) -> list[Any]:
        paths: list[str] = [dropped] if isinstance(dropped, str) else dropped or []
        if not paths:
            return area.showing("")
        try:
            return area.showing(look(paths, collection_of(request)), act=True)
        except USER_ERRORS as error:
            return area.showing(problem(without_folders(str(error)), error.hint))

    files.upload(show, files, area.outputs, **QUIET)
    files.clear(lambda: area.showing(""), outputs=area.outputs, **QUIET)
    return area


def without_folders(text: str) -> str:
    """A message without the folders that an upload passed through."""
    words = (Path(w).name if w.startswith("/") and len(w) > 1 else w for w in text.split(" "))
    return " ".join(words)

"""The settings tab: what the program runs with, and whether all of it is in order.

Knows nothing of how that is found out; ``doctor`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant import page_settings

if TYPE_CHECKING:
    import gradio as gr

    from assistant.conversations import Conversations
    from assistant.settings import Settings


def build(_blocks: gr.Blocks, assistant: Any, _kept: Conversations) -> None:
    """Lay out the tab; everything is looked at when the tab is opened, not before."""
    import gradio as gr

    settings: Settings = assistant.settings

    def health(_: Any) -> str:
        from assistant.doctor import examine

        return page_settings.health(examine(settings))

    gr.HTML(
        page_settings.shell(),
        elem_id="settings",
        apply_default_css=False,
        server_functions=[health],
        js_on_load="""
            server.health(null).then((markup) => {
              element.querySelector(".health").innerHTML = markup;
            });
        """,
    )

"""The map tab: the collection as a picture, from which papers are opened and chosen.

The picture is drawn by ``tab_map.js``; what is made in the background is ``atlas``'s.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assistant.resources import asset
from assistant.ui import page_map
from assistant.ui.atlas import Atlas
from assistant.ui.conversations import Conversations
from assistant.ui.served import complaint, served
from assistant.ui.tab_papers import Library

if TYPE_CHECKING:
    import gradio as gr


@dataclass(frozen=True, slots=True)
class Table:
    """What the picture asks for. Each answer is JSON, with safe HTML in it."""

    assistant: Library
    atlas: Atlas
    kept: Conversations

    def state(self, _wanted: object, _owner: str) -> dict[str, Any]:
        """How far the map is; the first call begins it."""
        state = self.atlas.look()
        if state.failure is not None:
            return complaint(state.failure)
        return {
            "ready": state.ready,
            "done": state.done,
            "doing": state.doing,
            "key": self.atlas.key,
        }

    def points(self, _wanted: object, _owner: str) -> dict[str, Any]:
        """The whole map."""
        made = self.atlas.current
        if made is None:
            return {"ids": [], "x": [], "y": [], "regions": [], "names": [], "list": ""}
        sizes = Counter(made.regions)
        counted = [sizes[position] for position in range(len(made.names))]
        return {
            "ids": made.ids,
            "x": made.x,
            "y": made.y,
            "regions": made.regions,
            "names": made.names,
            "list": page_map.regions(made.names, counted),
        }

    def title(self, wanted: str, _owner: str) -> str:
        """The title of a paper, as plain text."""
        return self.assistant.store.paper(wanted).title

    def paper(self, wanted: str, _owner: str) -> str:
        """A paper that was clicked."""
        return page_map.paper(self.assistant.store.paper(wanted))

    def answered(self, wanted: Mapping[str, Any], owner: str) -> list[str]:
        """Ids of the papers that an answer cites."""
        name, number = str(wanted.get("conversation") or ""), wanted.get("number")
        turn = self.kept.turn(name, int(number), owner=owner) if name and number else None
        if turn is None:
            return []
        cited = [c.paper_id for sentence in turn.sentences for c in sentence.citations]
        return list(dict.fromkeys(cited))


def build(_blocks: gr.Blocks, assistant: Library, kept: Conversations) -> None:
    """Lay out the tab; the map is made when the tab is first opened."""
    import gradio as gr

    @functools.cache
    def atlas_of(place: str) -> Atlas:
        return Atlas(lambda: assistant.of(place).store)

    def table_of(collection: str) -> Table:
        here = assistant.of(collection)
        return Table(here, atlas_of(here.settings.place_name), kept)

    gr.HTML(
        page_map.shell(),
        elem_id="map",
        apply_default_css=False,
        server_functions=served(
            table_of,
            [Table.state, Table.points, Table.title, Table.paper, Table.answered],
        ),
        js_on_load=asset("tab_map.js"),
    )

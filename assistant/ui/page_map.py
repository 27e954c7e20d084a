"""The frame of the map, as HTML that is safe to show. Pure; see ``page``."""

from __future__ import annotations

import html
from collections.abc import Sequence

from assistant.ui.formulas import typeset
from assistant.ui.page import byline, links
from vectorstore import Paper


def shell() -> str:
    """The tab before there is a map."""
    return (
        '<section class="map-tab" aria-label="Map of the papers"><div class="map-picture">'
        '<canvas tabindex="0" role="img" aria-label="Papers as points; near points are about '
        'near things. The regions are listed beside the map."></canvas>'
        '<div class="map-tools" role="toolbar" aria-label="Map">'
        '<button type="button" class="plain lasso" aria-pressed="false">Draw around papers</button>'
        '<button type="button" class="plain closer" aria-label="Closer">+</button>'
        '<button type="button" class="plain farther" aria-label="Farther">−</button>'
        '<button type="button" class="plain whole">Whole map</button></div>'
        '<p class="map-waiting" role="status">Looking at the papers …</p>'
        '<div class="map-tip" hidden></div></div>'
        '<div class="aside map-side"><h2>Map</h2><p class="quiet">Each point is a paper; near '
        "points are about near things. Click one to read it; choose a region, or draw around "
        "papers, to ask only those.</p>"
        '<p class="map-answer quiet" hidden><span class="ring"></span> cited by the last answer</p>'
        '<div class="chosen map-chosen" hidden><span class="chosen-count"></span>'
        '<button type="button" class="plain primary ask-chosen">Ask only these</button>'
        '<button type="button" class="link clear-chosen">Clear</button></div>'
        '<div class="map-paper" aria-live="polite"></div>'
        '<ul class="regions" aria-label="Regions"></ul></div></section>'
    )


def regions(names: Sequence[str], sizes: Sequence[int]) -> str:
    """The regions of the map; each can be chosen."""
    return "".join(
        f'<li><button type="button" class="region" data-region="{position}" aria-pressed="false">'
        f'<span class="dot" data-colour="{position}"></span><span>{html.escape(name)}</span>'
        f'<span class="quiet">{size:,}</span></button></li>'
        for position, (name, size) in enumerate(zip(names, sizes, strict=True))
    )


def paper(value: Paper) -> str:
    """A paper that was clicked."""
    return (
        f'<article class="paper"><h3 dir="auto">{typeset(value.title)}</h3>{byline(value)}'
        f'<p class="abstract" dir="auto">{typeset(value.abstract)}</p>{links(value)}'
        f'<p class="acts"><button type="button" class="link ask-paper" '
        f'data-paper="{html.escape(value.id, quote=True)}">Ask this paper</button></p></article>'
    )

"""The settings tab: what the program runs with, whether that is in order, and what may be changed.

What is shown is written by ``page_settings``. Knows nothing of how health is found out, models are
fetched or a model is exchanged; ``doctor``, ``models`` and the assistant do.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from assistant import page_settings
from assistant.ahead import Progress
from assistant.conversations import Conversations
from assistant.model_address import is_served
from assistant.page_settings import ModelRow, Overview, Place
from assistant.resources import asset
from assistant.served import complaint, served

if TYPE_CHECKING:
    from collections.abc import Sized

    import gradio as gr

    from assistant.settings import Settings

_SHOWN_ELSEWHERE = ("model", "threads", "gpu_layers", "offline", "conversations")
_SECRET = ("api_key",)


class Configurable(Protocol):
    """What the tab needs of an assistant."""

    @property
    def settings(self) -> Settings:
        """What it runs with."""

    @property
    def store(self) -> Sized:
        """The collection; its length is the number of papers."""

    @property
    def reading_ahead(self) -> Progress | None:
        """How many papers are read before anybody asks."""

    def use(self, **changes: Any) -> None:
        """Go on with other settings."""


@dataclass(slots=True)
class Fetch:
    """A model that is being fetched, and how far that is."""

    name: str
    done: int = 0
    total: int = 0
    outcome: dict[str, str] | None = None
    """Set at the end; empty if it went well."""


@dataclass(slots=True)
class Panel:
    """What the tab asks for. Each answer is JSON, with safe HTML in it."""

    assistant: Configurable
    kept: Conversations
    fetch: Fetch | None = None
    starting: threading.Lock = field(default_factory=threading.Lock)

    def overview(self, _wanted: object, owner: str) -> str:
        """The settings."""
        from assistant.doctor import disk_bytes
        from assistant.hardware import usable_cores

        settings = self.assistant.settings
        ahead = self.assistant.reading_ahead
        others = {
            name: str(value)
            for name, value in settings.model_dump().items()
            if name not in (*_SHOWN_ELSEWHERE, *_SECRET)
        }
        return page_settings.overview(
            Overview(
                models=_models(settings),
                threads=settings.threads,
                cores=usable_cores(),
                gpu_layers=settings.gpu_layers,
                papers=len(self.assistant.store),
                read=(ahead.read, ahead.total) if ahead else None,
                disk=disk_bytes(settings),
                conversations=str(self.kept.path or ""),
                kept=len(self.kept.list(owner=owner, most=1_000_000)),
                offline=settings.offline,
                others=others,
            )
        )

    def health(self, _wanted: object, _owner: str) -> str:
        """What the doctor finds; takes a few seconds."""
        from assistant.doctor import examine

        return page_settings.health(examine(self.assistant.settings))

    def use(self, wanted: Mapping[str, Any], _owner: str) -> bool:
        """Go on with another model, or with other threads or layers."""
        changes: dict[str, Any] = {}
        if "model" in wanted:
            changes["model"] = str(wanted["model"])
        if "threads" in wanted:
            changes["threads"] = int(wanted["threads"]) if wanted["threads"] else None
        if layers := wanted.get("gpu_layers"):
            changes["gpu_layers"] = "auto" if layers == "auto" else int(layers)
        self.assistant.use(**changes)
        return True

    def pull(self, wanted: str, _owner: str) -> str:
        """Begin to fetch a model, unless one is being fetched."""
        with self.starting:
            if self.fetch is None or self.fetch.outcome is not None:
                self.fetch = Fetch(str(wanted))
                threading.Thread(target=self._pull, args=(self.fetch,), daemon=True).start()
        return page_settings.pulling(self.fetch.name, self.fetch.done, self.fetch.total)

    def pulling(self, _wanted: object, _owner: str) -> dict[str, Any]:
        """How far the fetch is; ``again`` while it goes on."""
        fetch = self.fetch
        if fetch is None or fetch.outcome is not None:
            return {"markup": "", "again": False, **((fetch and fetch.outcome) or {})}
        return {
            "markup": page_settings.pulling(fetch.name, fetch.done, fetch.total),
            "again": True,
        }

    def _pull(self, fetch: Fetch) -> None:
        from assistant.models import pull

        def note(done: int, total: int) -> None:
            fetch.done, fetch.total = done, total

        settings = self.assistant.settings
        try:
            pull(fetch.name, settings.models_dir, progress=note, offline=settings.offline)
            fetch.outcome = {}
        except Exception as error:  # noqa: BLE001 - told to the page, or logged
            fetch.outcome = complaint(error)


def build(_blocks: gr.Blocks, assistant: Configurable, kept: Conversations) -> None:
    """Lay out the tab; everything is looked at when the tab is opened, not before."""
    import gradio as gr

    panel = Panel(assistant, kept)
    gr.HTML(
        page_settings.shell(),
        elem_id="settings",
        apply_default_css=False,
        server_functions=served(
            [panel.overview, panel.health, panel.use, panel.pull, panel.pulling]
        ),
        js_on_load=asset("tab_settings.js"),
    )


def _models(settings: Settings) -> tuple[ModelRow, ...]:
    from assistant.catalogue import catalogue
    from assistant.models import installed

    here = {each.name: each for each in installed(settings.models_dir)}

    def place(name: str) -> Place:
        if name == settings.model:
            return "in use"
        return "here" if name in here else "not here"

    known = [
        ModelRow(entry.name, entry.summary, entry.licence, entry.bytes, place(entry.name))
        for entry in catalogue().values()
        if entry.role == "language"
    ]
    if settings.model not in {row.name for row in known}:
        size = here[settings.model].bytes if settings.model in here else 0
        what = "on model servers" if is_served(settings.model) else "a file of yours"
        known.insert(0, ModelRow(settings.model, what, "unknown", size, "in use"))
    return tuple(known)

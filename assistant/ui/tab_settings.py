"""The settings tab: what the program runs with, whether that is in order, and what may be changed.

What is shown is written by ``page_settings``. Knows nothing of how health is found out, models are
fetched or a model is exchanged; ``doctor``, ``models`` and the assistant do.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from assistant.errors import ModelError, SettingsError
from assistant.llm.ahead import Progress
from assistant.model_files.model_address import is_served
from assistant.resources import asset
from assistant.settings import Settings
from assistant.settings_file import SettingsFile, winner
from assistant.ui import page_settings
from assistant.ui.conversations import Conversations
from assistant.ui.page_settings import ModelRow, Overview, Place
from assistant.ui.served import complaint, served

if TYPE_CHECKING:
    from collections.abc import Sized

    import gradio as gr

_CHANGING = threading.Lock()
CHANGEABLE = ("model", "threads", "gpu_layers")
"""Settings that may be changed here."""
_SHOWN_ELSEWHERE = (*CHANGEABLE, "offline", "conversations")


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

    def of(self, collection: str) -> Self:
        """The same for another collection; for the same one if it has no name."""


@dataclass(slots=True)
class Fetch:
    """A model that is being fetched, and how far that is."""

    name: str
    done: int = 0
    total: int = 0
    outcome: dict[str, str] | None = None
    """Set at the end; empty if it went well."""


@dataclass(slots=True)
class Fetching:
    """The one model at a time that is fetched, whoever asked for it."""

    current: Fetch | None = None
    starting: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Panel:
    """What the tab asks for. Each answer is JSON, with safe HTML in it."""

    assistant: Configurable
    kept: Conversations
    fetching: Fetching = field(default_factory=Fetching)

    def overview(self, _wanted: object, owner: str) -> str:
        """The settings."""
        from assistant.doctor import disk_bytes
        from assistant.llm.hardware import usable_cores

        settings = self.assistant.settings
        ahead = self.assistant.reading_ahead
        others = {
            name: page_settings.said(value)
            for name, value in settings.model_dump().items()
            if name not in _SHOWN_ELSEWHERE
        }
        file = SettingsFile()
        saved, problem = _saved(file)
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
                file=str(file.path),
                saved=saved,
                problem=problem,
                winners={each: won for each in CHANGEABLE if (won := winner(each, settings))},
            )
        )

    def health(self, _wanted: object, _owner: str) -> str:
        """What the doctor finds; takes a few seconds."""
        from assistant.doctor import examine

        return page_settings.health(examine(self.assistant.settings))

    def use(self, wanted: Mapping[str, Any], _owner: str) -> bool:
        """Go on with another model, or with other threads or layers, and save that."""
        changes: dict[str, Any] = {}
        if "model" in wanted:
            changes["model"] = self._offered(str(wanted["model"]))
        if "threads" in wanted:
            changes["threads"] = wanted["threads"] or None
        if layers := wanted.get("gpu_layers"):
            changes["gpu_layers"] = layers
        self._change(changes)
        return True

    def reset(self, wanted: Sequence[str], _owner: str) -> bool:
        """Go back to the default of some settings."""
        self._change({n: Settings.model_fields[n].default for n in CHANGEABLE if n in wanted})
        return True

    def _change(self, changes: Mapping[str, Any]) -> None:
        """Go on with other settings, and save them once they have proved to work.

        If a setting ends the process, the file has not changed, and the next start goes well.
        """
        checked = self.assistant.settings.changed(**changes)
        wanted = {name: getattr(checked, name) for name in changes}
        _check_threads(wanted.get("threads"))
        file = SettingsFile()
        with _CHANGING:
            file.values()  # a file that cannot be used is told before anything is changed
            before = {name: getattr(self.assistant.settings, name) for name in changes}
            self.assistant.use(**wanted)
            try:
                file.save(wanted)
            except SettingsError:
                self.assistant.use(**before)
                raise

    def _offered(self, model: str) -> str:
        """A name of the list: whoever may open the page must not reach other files or hosts."""
        if model not in {row.name for row in _models(self.assistant.settings)}:
            raise ModelError(f"{model} is not in the list", model=model, hint="one of the list")
        return model

    def pull(self, wanted: str, _owner: str) -> str:
        """Begin to fetch a model, unless one is being fetched."""
        name = self._offered(str(wanted))
        with self.fetching.starting:
            fetch = self.fetching.current
            if fetch is None or fetch.outcome is not None:
                fetch = self.fetching.current = Fetch(name)
                threading.Thread(target=self._pull, args=(fetch,), daemon=True).start()
        return page_settings.pulling(fetch.name, fetch.done, fetch.total)

    def pulling(self, _wanted: object, _owner: str) -> dict[str, Any]:
        """How far the fetch is; ``again`` while it goes on."""
        fetch = self.fetching.current
        if fetch is None or fetch.outcome is not None:
            return {"markup": "", "again": False, **((fetch and fetch.outcome) or {})}
        return {
            "markup": page_settings.pulling(fetch.name, fetch.done, fetch.total),
            "again": True,
        }

    def _pull(self, fetch: Fetch) -> None:
        from assistant.model_files.models import pull

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

    fetching = Fetching()
    gr.HTML(
        page_settings.shell(),
        elem_id="settings",
        apply_default_css=False,
        server_functions=served(
            lambda collection: Panel(assistant.of(collection), kept, fetching),
            [
                Panel.overview,
                Panel.health,
                Panel.use,
                Panel.reset,
                Panel.pull,
                Panel.pulling,
            ],
        ),
        js_on_load=asset("tab_settings.js"),
    )


def _saved(file: SettingsFile) -> tuple[frozenset[str], str]:
    """Return the names of the settings that a file sets, and why it cannot be used."""
    try:
        return frozenset(file.values()), ""
    except SettingsError as error:
        return frozenset(), str(error)


def _check_threads(threads: int | None) -> None:
    """Raise a SettingsError if there are more than cores: answers would be slower for everybody."""
    from assistant.llm.hardware import usable_cores

    if threads is not None and threads > (cores := usable_cores()):
        raise SettingsError(
            f"{threads} threads are more than the {cores} cores of this machine",
            name="threads",
            hint=f"at most {cores}, or nothing for the default",
        )


def _models(settings: Settings) -> tuple[ModelRow, ...]:
    from assistant.model_files.catalogue import catalogue
    from assistant.model_files.models import installed

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

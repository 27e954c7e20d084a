"""Settings and health as HTML that is safe to show. Pure; see ``page``."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from assistant.doctor import Finding

Place = Literal["in use", "here", "not here"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A language model that can be chosen."""

    name: str
    summary: str
    licence: str
    bytes: int
    place: Place


@dataclass(frozen=True, slots=True)
class Overview:
    """What is known at once, without looking at the machine."""

    models: tuple[ModelRow, ...]
    threads: int | None
    cores: int
    gpu_layers: int | str
    papers: int
    read: tuple[int, int] | None
    """Papers read ahead, of those that are to be."""
    disk: Mapping[str, int]
    """Bytes, by what they are used for."""
    conversations: str
    """Where they are kept; empty if they are not."""
    kept: int
    offline: bool
    others: Mapping[str, str]
    """All other settings, by name."""
    file: str
    """Where changes are saved."""
    saved: frozenset[str] = frozenset()
    """Names of the settings that the file sets."""
    problem: str = ""
    """Why the file cannot be used; empty if it can."""
    winners: Mapping[str, str] = field(default_factory=dict)
    """What wins over the file when the program starts, by the name of the setting."""


def shell() -> str:
    """What stands there before anything was looked at."""
    return (
        '<section class="sheet settings-tab" aria-label="Settings and health">'
        '<div class="overview" aria-live="polite"><p class="quiet">Looking …</p></div>'
        '<section class="card"><h2>Health</h2><div class="health"><p class="quiet">Looking at the '
        "machine …</p></div></section></section>"
    )


def overview(value: Overview) -> str:
    """The settings, a card for each part."""
    return "".join(
        f'<section class="card"><h2>{name}</h2>{body}</section>'
        for name, body in (
            ("Language model", _models(value)),
            ("How it runs", _running(value)),
            ("Papers and disk", _papers(value)),
            ("Privacy", _privacy(value)),
        )
    )


def said(value: object) -> str:
    """The value of a setting, in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value in (None, ()) else str(value)


def health(findings: Sequence[Finding]) -> str:
    """What is in order and what is not, the worst first; the rest folded."""
    wrong = [finding for finding in findings if finding.level != "ok"]
    fine = [finding for finding in findings if finding.level == "ok"]
    told = "".join(_finding(finding) for finding in wrong)
    said = told or '<p class="good-news">Everything is in order.</p>'
    gpu = "".join(_finding(each) for each in fine if each.topic in ("gpu", "network"))
    rest = "".join(_finding(each) for each in fine if each.topic not in ("gpu", "network"))
    return f"{said}{gpu}<details><summary>All that was looked at</summary>{rest}</details>"


def pulling(name: str, done: int, total: int) -> str:
    """How far a download is."""
    return (
        f'<p class="progress">Fetching {_text(name)}: {_size(done)} of {_size(total)}'
        f'<progress value="{done}" max="{max(total, 1)}" aria-label="Download"></progress></p>'
    )


def _models(value: Overview) -> str:
    rows = "".join(_model(row) for row in value.models)
    return (
        f'<ul class="models">{rows}</ul><div class="pulling" aria-live="polite"></div>'
        f"{_saved(value, ('model',))}"
    )


def _model(row: ModelRow) -> str:
    act = {
        "in use": '<span class="badge in-use">in use</span>',
        "here": '<button type="button" class="plain use-model">Use</button>',
        "not here": f'<button type="button" class="plain pull-model">Fetch {_size(row.bytes)}'
        "</button>",
    }[row.place]
    return (
        f'<li data-model="{_text(row.name)}"><div><strong>{_text(row.name)}</strong>'
        f'<p class="quiet">{_text(row.summary)} · {_size(row.bytes)} · {_text(row.licence)}</p>'
        f"</div>{act}</li>"
    )


def _running(value: Overview) -> str:
    threads = "" if value.threads is None else str(value.threads)
    return (
        '<form class="running"><label>Threads '
        f'<input name="threads" type="number" min="1" max="{value.cores}" value="{threads}" '
        f'placeholder="{value.cores}, all cores"></label>'
        '<label>Layers on a GPU <input name="gpu_layers" pattern="auto|[0-9]+" '
        f'value="{_text(str(value.gpu_layers))}" title="auto, or a number"></label>'
        '<button class="plain">Apply and save</button></form>'
        f"{_saved(value, ('threads', 'gpu_layers'))}"
        '<p class="quiet">What is really on a GPU is told below, under Health.</p>'
    )


def _saved(value: Overview, names: Sequence[str]) -> str:
    """Where some settings are saved, what wins over that, and the way back."""
    saved = [name for name in names if name in value.saved]
    if value.problem:
        told = f"A change cannot be saved: {_text(value.problem)}."
    elif saved:
        told = (
            f"Saved in <code>{_at(value.file)}</code>. "
            f'<button type="button" class="link to-default" data-names="{" ".join(saved)}">'
            f"Back to the default{'' if len(names) == 1 else 's'}</button>"
        )
    else:
        told = f"A change is saved in <code>{_at(value.file)}</code>."
    winners = "".join(
        f'<p class="winner">When the program starts, <code>{_text(value.winners[name])}</code> '
        f"wins over what is saved for {_CALLED[name]}.</p>"
        for name in names
        if name in value.winners
    )
    return f'<p class="quiet">{told}</p>{winners}'


_CALLED = {"model": "the model", "threads": "the threads", "gpu_layers": "the layers on a GPU"}


def _papers(value: Overview) -> str:
    read = ""
    if value.read is not None:
        done, total = value.read
        read = (
            f"<dt>Read ahead</dt><dd>{done:,} of {total:,} papers"
            f'<progress value="{done}" max="{max(total, 1)}" aria-label="Read ahead">'
            "</progress></dd>"
        )
    disk = "".join(
        f"<dt>{_text(name)}</dt><dd>{_size(size)}</dd>" for name, size in value.disk.items()
    )
    return f"<dl><dt>Papers</dt><dd>{value.papers:,}</dd>{read}{disk}</dl>"


def _privacy(value: Overview) -> str:
    kept = (
        f"{value.kept:,} kept in <code>{_at(value.conversations)}</code>"
        if value.conversations
        else "not kept"
    )
    others = "".join(
        f"<dt><code>{_text(name)}</code></dt><dd>{_text(each)}</dd>"
        for name, each in value.others.items()
    )
    return (
        "<dl><dt>Hosts contacted</dt><dd>none"
        f"{'' if value.offline else '; only a click on Fetch, above, contacts one'}</dd>"
        f"<dt>Conversations</dt><dd>{kept}</dd></dl>"
        f"<details><summary>All settings</summary><dl>{others}</dl></details>"
    )


def _at(path: str) -> str:
    """A file, shorter where it is below the user's own folder."""
    home = Path.home()
    below = Path(path).is_relative_to(home)
    return _text(str(Path("~") / Path(path).relative_to(home)) if below else path)


def _finding(finding: Finding) -> str:
    hint = f'<p class="quiet">Try: <code>{_text(finding.hint)}</code></p>' if finding.hint else ""
    return (
        f'<dl class="finding {finding.level}"><dt>{_text(finding.topic)}</dt>'
        f"<dd>{_text(finding.message)}{hint}</dd></dl>"
    )


def _size(size: int) -> str:
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def _text(text: str) -> str:
    return html.escape(text, quote=True)

"""The list of kept conversations as HTML that is safe to show. Pure; see ``page``."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import urlencode

from assistant.streaming.turn import Turn
from assistant.ui.conversations import Kept
from assistant.ui.page import called, save_menu

REASONS = (
    "It is wrong",
    "It does not answer the question",
    "The answer is in another paper",
    "It is incomplete",
    "The papers do answer this",
)
"""What can be wrong with an answer, or with declining to give one."""


def bar(*, kept: bool) -> str:
    """What can be done with the conversation; ``kept`` is whether there are others to go to."""
    history = (
        '<button type="button" class="link open-history" aria-haspopup="dialog">History</button>'
        if kept
        else ""
    )
    return (
        f'{history}<span class="of-conversation">'
        '<button type="button" class="link copy-link">Copy link</button>'
        f"{save_menu('Save conversation')}</span>"
    )


def dialog(path: str) -> str:
    """The panel of conversations; what is in it comes when it is opened."""
    return (
        '<dialog id="history" aria-labelledby="history-title"><div class="dialog-head">'
        '<h2 id="history-title">History</h2>'
        '<button type="button" class="link close-dialog">Close</button></div>'
        '<input type="search" class="search" placeholder="Search questions and answers" '
        'aria-label="Search questions and answers"><div class="kept-list" aria-live="polite"></div>'
        '<p class="dialog-foot"><button type="button" class="link rows">'
        "Save answers marked as wrong as an evaluation file</button>"
        '<button type="button" class="link danger delete-all">Delete all</button></p>'
        f'<p class="quiet">Kept in <code>{_text(path)}</code>; the setting '
        "<code>keep_conversations = false</code> keeps none.</p></dialog>"
        '<dialog id="why" aria-label="What is wrong with this answer?"></dialog>'
    )


def conversations(found: Sequence[Kept], *, here: str, now: float, searched: bool) -> str:
    """The list itself; those of other collections than the one ``here`` name theirs."""
    if not found:
        said = "Nothing found." if searched else "Nothing is kept yet: ask a question."
        return f'<p class="quiet">{said}</p>'
    return f"<ul>{''.join(_row(each, here, now) for each in found)}</ul>"


def why(turn: Turn) -> str:
    """The form that asks what was wrong with an answer."""
    reasons = "".join(f"<option>{_text(reason)}</option>" for reason in REASONS)
    papers = "".join(
        f'<option value="{_text(paper.title)}">{_text(paper.title)}</option>'
        for paper in turn.papers
    )
    return (
        '<form method="dialog"><h2>What is wrong with this answer?</h2>'
        f'<label>Reason<select name="reason">{reasons}</select></label>'
        '<label>In your words<input name="note" maxlength="500" autocomplete="off"></label>'
        "<details><summary>Help to measure it: what would be right?</summary>"
        f'<label>The paper that answers it<select name="paper"><option value="">I do not know'
        f'</option><option value="none">No paper here does</option>{papers}</select></label>'
        '<label>Words that a right answer holds<input name="fact" maxlength="200" '
        'autocomplete="off"></label></details>'
        '<div class="buttons"><button value="row">Send, and save as an evaluation row</button>'
        '<button value="send" class="primary">Send</button>'
        '<button value="" formnovalidate>Cancel</button></div></form>'
    )


def lost() -> str:
    """What stands in the place of a conversation that is not kept."""
    return (
        '<section class="welcome"><h2>This conversation is not here.</h2><p>It was deleted, or it '
        "belongs to somebody else, or conversations are not kept on this machine. Ask a new "
        "question below.</p></section>"
    )


def elsewhere(conversation: str, collection: str) -> str:
    """What stands in the place of a conversation of another collection."""
    return (
        '<section class="welcome"><h2>This conversation is in another collection.</h2>'
        f"<p>It was asked of the papers in <strong>{_text(called(collection))}</strong>. "
        f'<a href="{_address(conversation, collection)}">Open it there</a></p></section>'
    )


def no_collection(message: str, hint: str) -> str:
    """What stands there where the address names a collection that cannot be shown."""
    said = message[:1].upper() + message[1:]
    return (
        f'<section class="welcome"><h2>There is nothing to ask here.</h2><p>{_text(said)}.</p>'
        f'<p class="quiet">Try: <code>{_text(hint)}</code></p>'
        '<p><a href="?">Open the collection that the program was started with</a></p></section>'
    )


def _address(conversation: str, collection: str) -> str:
    named = {"collection": collection} if collection else {}
    return _text("?" + urlencode({**named, "conversation": conversation}))


def _row(kept: Kept, here: str, now: float) -> str:
    count = "1 question" if kept.turns == 1 else f"{kept.turns} questions"
    name = _text(kept.id)
    place = f" · {_text(called(kept.collection))}" if kept.collection not in ("", here) else ""
    return (
        f'<li data-conversation="{name}"><a href="{_address(kept.id, kept.collection)}" dir="auto">'
        f'{_text(kept.title)}</a><span class="quiet">{_ago(now - kept.changed)} · {count}{place}'
        "</span>"
        '<button type="button" class="link rename">Rename</button>'
        '<button type="button" class="link danger delete">Delete</button></li>'
    )


def _ago(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def _text(text: str) -> str:
    return html.escape(text, quote=True)

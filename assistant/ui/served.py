"""Functions of the server that a page's own scripts call, each with one JSON value in and one out.

The scripts send along which collection the page shows; ``page.js`` sees to that.

What they raise becomes a value, too: a page must say what is wrong and what to do about it.
"""

# No `from __future__ import annotations`: Gradio finds the request parameter of a function by its
# annotation, which must therefore be the class itself.

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from assistant.errors import USER_ERRORS
from assistant.ui.visitors import owner_of

logger = logging.getLogger(__name__)

T = TypeVar("T")


def served(of: Callable[[str], T], methods: Sequence[Callable[[T, Any, str], Any]]) -> list[Any]:
    """Make methods callable by their names from the script of a ``gr.HTML``.

    A method that fails returns an object with ``error`` and ``hint`` instead.

    Args:
        of: Makes the object that answers for a collection, which may be unnamed.
        methods: Each takes what is wanted, and who wants it.
    """
    return [_served(of, method) for method in methods]


def complaint(error: Exception) -> dict[str, str]:
    """An error as the page shows it; what is not meant for the user goes to the log alone."""
    if isinstance(error, USER_ERRORS):
        return {"error": str(error), "hint": error.hint or ""}
    logger.error("a request of the page failed", exc_info=error)
    said = "Something went wrong inside the assistant; its log has the details."
    return {"error": said, "hint": "assistant doctor"}


def _served(of: Callable[[str], T], method: Callable[[T, Any, str], Any]) -> Any:
    import gradio as gr

    def answer(call: dict[str, Any], request: gr.Request) -> Any:
        try:
            asked = of(str(call.get("collection") or ""))
            return method(asked, call.get("wanted"), owner_of(request))
        except Exception as error:  # noqa: BLE001 - told to the page, or logged
            return complaint(error)

    answer.__name__ = method.__name__
    return answer

"""A visitor of the page, without a browser: what its scripts send and receive, over HTTP.

Follows the protocol of Gradio's queue. Knows the chat tab by the ids of its elements.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx

API = "/gradio_api"


class PageVisitor(AbstractContextManager["PageVisitor"]):
    """One open page; closing it hangs up.

    Args:
        url: Address of the page.
        patience_seconds: Longest silence of the server that is waited through.
    """

    def __init__(self, url: str, *, patience_seconds: float = 60.0) -> None:
        self._session = uuid.uuid4().hex[:10]
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(10.0, read=patience_seconds),
            headers={"origin": url, "sec-fetch-site": "same-origin"},
            trust_env=False,
        )
        self._http.get("/").raise_for_status()
        config = self._http.get("/config").raise_for_status().json()
        self._ask = _trigger(config, "ask", "click")
        self._outputs = [_name_of(config, each) for each in self._ask["outputs"]]
        self._opened = self._http.stream("GET", f"{API}/heartbeat/{self._session}")
        self._opened.__enter__().raise_for_status()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the page and all of its connections."""
        self._opened.__exit__(None, None, None)
        self._http.close()

    @contextmanager
    def asking(self, question: str) -> Iterator[Iterator[dict[str, str]]]:
        """Ask a question; leaving the block early hangs up.

        Yields:
            What the page shows in each of the elements that changed, by id, whenever it changes.
        """
        body = {
            "data": [question, None, ""],
            "fn_index": self._ask["id"],
            "trigger_id": None,
            "event_data": None,
            "session_hash": self._session,
        }
        self._http.post(f"{API}/queue/join", json=body).raise_for_status()
        data = self._http.stream("GET", f"{API}/queue/data?session_hash={self._session}")
        with data as response:
            yield self._shown(response.raise_for_status())

    def answer(self, question: str) -> str:
        """Ask a question, see its answer to the end, and return the last state of its turn."""
        state = ""
        with self.asking(question) as frames:
            for frame in frames:
                state = state_of(frame.get("current", "")) or state
        return state

    def _shown(self, response: httpx.Response) -> Iterator[dict[str, str]]:
        shown: list[Any] = [""] * len(self._outputs)
        for line in response.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            match message.get("msg"):
                case "process_generating":
                    for nth, change in enumerate(message["output"]["data"]):
                        shown[nth] = _changed(shown[nth], change)
                    yield {
                        name: value
                        for name, value in zip(self._outputs, shown, strict=True)
                        if isinstance(value, str)
                    }
                case "process_completed":
                    if not message["success"]:
                        raise RuntimeError(f"the page failed: {message['output']}")
                    return
                case "unexpected_error" | "server_stopped":
                    raise RuntimeError(f"the page failed: {message}")


def state_of(turn: str) -> str:
    """Return the state of a turn as the page shows it: ``running``, ``done``, ..."""
    return turn.partition('data-state="')[2].partition('"')[0]


def _trigger(config: dict[str, Any], name: str, event: str) -> dict[str, Any]:
    wanted = [component["id"] for component in config["components"] if _is(component, name)]
    found: dict[str, Any] = next(
        each
        for each in config["dependencies"]
        if any([target, event] in each["targets"] for target in wanted)
    )
    return found


def _is(component: dict[str, Any], name: str) -> bool:
    return bool(component.get("props", {}).get("elem_id") == name)


def _name_of(config: dict[str, Any], component_id: int) -> str:
    found = next(each for each in config["components"] if each["id"] == component_id)
    return found.get("props", {}).get("elem_id") or str(component_id)


def _changed(value: Any, change: Any) -> Any:
    """Return a value with a change, which is a list of edits behind the first message."""
    if not isinstance(change, list):
        return change
    for action, path, new in change:
        if path:
            continue  # inside a component's properties, of which the chat tab changes none
        if action == "append":
            value += new
        elif action in ("replace", "add"):
            value = new
    return value

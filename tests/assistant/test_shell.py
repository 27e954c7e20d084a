"""What scripts and shells get of the command line: events as JSON Lines, and completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assistant.commands import cli, console
from assistant.streaming.events import event_as_dict
from assistant.types import Event
from tests.fakes import (
    ScriptedAssistant,
    abstained_story,
    answered_story,
    default_stories,
    endless_story,
    followed_up_story,
    hostile_story,
)

ROOT = Path(__file__).resolve().parents[2]


def completed(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "assistant"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_gets_its_script(shell: str) -> None:
    script = completed(_ASSISTANT_COMPLETE=f"source_{shell}")
    assert "_ASSISTANT_COMPLETE" in script
    assert f"complete_{shell}" in script


@pytest.mark.parametrize(
    ("words", "found"), [("se", "search serve"), ("serve --ap", "--api-only --api-key")]
)
def test_commands_and_options_are_completed(words: str, found: str) -> None:
    line = f"assistant {words}"
    said = completed(
        _ASSISTANT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" "))
    )
    assert said.split() == found.split()


def test_events_are_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def open_assistant(settings: object) -> Iterator[ScriptedAssistant]:
        yield ScriptedAssistant(default_stories())

    monkeypatch.setattr(console, "open_assistant", open_assistant)
    result = CliRunner().invoke(cli.app, ["ask", "--events", "How fast is it?"])
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events == [json.loads(json.dumps(event_as_dict(each))) for each in answered_story()]
    assert events[-1]["answer"]["status"] == "answered"


@pytest.mark.parametrize(
    "story",
    [
        answered_story(),
        abstained_story(),
        followed_up_story(),
        hostile_story(),
        endless_story()[:5],
    ],
)
def test_every_event_has_a_name_and_is_json(story: list[Event]) -> None:
    for event in story:
        fields = json.loads(json.dumps(event_as_dict(event)))
        assert fields["type"] == type(event).__name__.lower()
        assert len(fields) > 1

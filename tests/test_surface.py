"""What the outside sees: public names, the README, the help."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import assistant
import vectorstore
from assistant import errors
from assistant.commands import cli
from assistant.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", [assistant, vectorstore])
def test_public_names_are_there(package: ModuleType) -> None:
    assert all(getattr(package, name) for name in package.__all__)


def test_every_setting_is_in_the_readme_with_its_help() -> None:
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `ASSISTANT_{name.upper()}` | {field.description} |" in README


def test_every_command_of_the_readme_exists() -> None:
    commands = set(re.findall(r"^assistant ([a-z]+)", README, re.MULTILINE))
    assert len(commands) >= 5
    for command in commands:
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert result.exit_code == 0, command
        assert "Example" in result.stdout or "Commands" in result.stdout


def test_every_file_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:assistant|vectorstore|prompts|bootstrap)/[\w./]*)`", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name


def test_every_field_of_an_answer_is_in_the_readme() -> None:
    source = inspect.getsource(assistant.Answer.as_dict)
    for name in re.findall(r'"(\w+)":', source):
        assert f"`{name}`" in README, name


def test_every_error_is_drawn_in_its_tree() -> None:
    for module in (errors, vectorstore.errors):
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__ == module.__name__:
                assert name in (module.__doc__ or ""), name

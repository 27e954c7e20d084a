"""Promises of the logins: who comes in, who does not, and that nobody forgets them by accident."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from assistant.commands.cli import app
from assistant.errors import ServerError, SettingsError
from assistant.serving.gate import Access
from assistant.serving.logins import Logins, read_logins
from assistant.ui.visitors import credentials


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_users_come_from_the_command_line_and_from_files(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("# ours\nada:pass:word\n\nben:x\n", encoding="utf-8")
    logins = read_logins(["cyd:y", str(path)])
    assert logins.passwords == {"cyd": "y", "ada": "pass:word", "ben": "x"}
    assert "pass:word" not in repr(logins)


@pytest.mark.parametrize("given_logins", ["", "ada", "ada:", ":x", "no/such/file"])
def test_what_is_no_login_is_refused(given_logins: str) -> None:
    with pytest.raises(ServerError):
        read_logins([given_logins])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("# nobody\n", encoding="utf-8")
    with pytest.raises(ServerError):
        read_logins([str(path)])


def test_only_the_right_password_of_a_user_admits() -> None:
    logins = Logins({"ada": "ß:x"})
    assert logins.admit(basic("ada", "ß:x"))
    for user, password in (("ada", "y"), ("ada", ""), ("", ""), ("", "ß:x"), ("eve", "ß:x")):
        assert not logins.admit(basic(user, password))
    assert not Logins().admit("")


@given(st.text())
def test_no_header_does_harm(header: str) -> None:
    assert not Logins({"ada": "x"}).admit(header)
    credentials("Basic " + header)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_other_machines_need_logins_or_a_word(host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Access(host=host)
    assert "--auth" in refused.value.hint
    assert "--open-to-all" in refused.value.hint
    assert Access(host=host, logins=Logins({"ada": "x"})).guarded
    assert not Access(host=host, open_to_all=True).guarded
    assert not Access().guarded


def test_the_command_refuses_before_it_loads_anything(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--index", str(tmp_path / "none")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "--auth" in result.stderr

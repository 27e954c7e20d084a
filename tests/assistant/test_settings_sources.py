"""Where settings come from: what cannot be used is told with its place, and keys stay at home."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assistant import settings as module
from assistant.commands import cli
from assistant.errors import SettingsError
from assistant.settings import Settings, load_settings

SERVED = "openai:http://192.0.2.1/v1"
STORE = "http://192.0.2.1:8000/abstracts"
Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("ASSISTANT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(module, "user_config_path", lambda app: tmp_path / "config")
    (tmp_path / "config").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def write(folders: Path) -> Write:
    """Write a settings file: ``own`` is the user's, ``local`` that of the working folder."""

    def write(which: str, text: str) -> Path:
        path = folders / {"own": "config", "local": "here"}[which] / "assistant.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# Files that cannot be used


@pytest.mark.parametrize("which", ["own", "local"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"max_papers = 3\nthreads = = 2\n", "line 2"),
        (b"max_papers = 3\n\n# \xff\n", "line 3"),
        (b"x = " + 5000 * b"[", "is no TOML"),
        (b"#" + 2_000_000 * b"x", "larger than"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_can_be_passed_over(
    write: Write, monkeypatch: pytest.MonkeyPatch, which: str, content: bytes, reason: str
) -> None:
    path = write(which, "")
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(path) in str(refused.value)
    assert reason in str(refused.value)
    assert "--no-settings-files" in refused.value.hint
    assert load_settings(files=False).max_papers == 8
    monkeypatch.setenv("ASSISTANT_NO_SETTINGS_FILES", "1")
    assert load_settings().max_papers == 8


def test_what_is_no_file_is_no_settings_file(folders: Path) -> None:
    (folders / "here" / "assistant.toml").mkdir()
    os.mkfifo(folders / "config" / "assistant.toml")
    assert load_settings().max_papers == 8


@pytest.mark.parametrize(
    "line",
    [
        "threads = 100000000",
        "gpu_layers = 1000",
        "states_gigabytes = inf",
        "states_gigabytes = 1e300",
        "model_timeout = nan",
        "read_ahead = 10000000000000000000000",
        "no_such_setting = 1",
        'model.name = "x"',
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_line(write: Write, line: str) -> None:
    path = write("own", f"# mine\n\n{line}\n")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert f"{path}, line 3" in str(refused.value)
    assert "--no-settings-files" in refused.value.hint
    load_settings(files=False)


def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSISTANT_THREADS", "513")
    with pytest.raises(SettingsError, match="ASSISTANT_THREADS in the environment"):
        load_settings()
    monkeypatch.setenv("ASSISTANT_THREADS", "512")
    monkeypatch.setenv("ASSISTANT_CORS_ORIGINS", "https://example.org")
    with pytest.raises(SettingsError, match="cors_origins") as refused:
        load_settings()
    assert "JSON" in refused.value.hint


def test_a_command_goes_on_without_the_files(write: Write) -> None:
    path = write("local", "threads = 0")
    broken = CliRunner().invoke(cli.app, ["models", "list"])
    assert broken.exit_code == 1
    assert f"{path}, line 1" in broken.stderr
    assert "--no-settings-files" in broken.stderr
    assert CliRunner().invoke(cli.app, ["models", "list", "--no-settings-files"]).exit_code == 0


# Files of the working folder


def test_a_file_of_the_working_folder_is_said(write: Write) -> None:
    write("own", "read_ahead = 5")
    assert load_settings().notices == ()
    path = write("local", "max_papers = 3\nthreads = 2")
    notice = f"settings of {path} are in use: max_papers, threads"
    assert load_settings().notices == (notice,)
    assert load_settings(threads=1).notices == (notice.removesuffix(", threads"),)
    assert load_settings(files=False).notices == ()
    assert notice in CliRunner().invoke(cli.app, ["models", "list"]).stderr


def test_in_the_configuration_folder_the_file_is_the_users_own(
    write: Write, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("own", f'model = "{SERVED}"\nmodel_key = "secret"')
    monkeypatch.chdir(folders / "config")
    settings = load_settings()
    assert settings.notices == ()
    assert secret(settings, "model_key") == "secret"


def secret(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    return None if value is None else str(value.get_secret_value())


SERVERS = [("model", SERVED, "model_key"), ("store", STORE, "store_token")]


@pytest.mark.parametrize(("address", "server", "key"), SERVERS)
@pytest.mark.parametrize("origin", ["flag", "environment", "own"])
def test_a_server_that_the_working_folder_names_gets_no_key_from_elsewhere(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    server: str,
    key: str,
    origin: str,
) -> None:
    path = write("local", f'{address} = "{server}"')
    flags: dict[str, Any] = {key: "secret"} if origin == "flag" else {}
    if origin == "environment":
        monkeypatch.setenv(f"ASSISTANT_{key.upper()}", "secret")
    if origin == "own":
        write("own", f'{key} = "secret"')
    settings = load_settings(**flags)
    for each in (settings, settings.changed(threads=1), pickle.loads(pickle.dumps(settings))):
        assert getattr(each, address) == server
        assert not secret(each, key)
    assert secret(settings.changed(collection="birds"), key) == ""
    said = "\n".join(settings.notices)
    assert f"{server} does not get the {key} given elsewhere" in said
    assert f"{path} names this server" in said
    assert "secret" not in said
    # Named where the key is, or by the user in this very command, it gets the key.
    assert secret(load_settings(**flags | {address: server}), key) == "secret"
    if origin == "own":
        write("own", f'{key} = "secret"\n{address} = "{server}"')
        assert not secret(load_settings(), key)  # the local file still wins
        path.unlink()
        assert secret(load_settings(), key) == "secret"


@pytest.mark.parametrize(("address", "server", "key"), SERVERS)
def test_a_file_of_the_working_folder_may_hold_both(
    write: Write, monkeypatch: pytest.MonkeyPatch, address: str, server: str, key: str
) -> None:
    write("local", f'{address} = "{server}"\n{key} = "theirs"')
    assert secret(load_settings(), key) == "theirs"
    monkeypatch.setenv(f"ASSISTANT_{key.upper()}", "mine")
    assert secret(load_settings(), key) == "theirs"


def test_a_local_model_takes_no_key_away(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSISTANT_MODEL_KEY", "secret")
    path = write("local", 'model = "smollm2-135m-instruct-q4_1"')
    assert load_settings().notices == (f"settings of {path} are in use: model",)
    assert secret(load_settings(), "model_key") == "secret"


def test_what_is_changed_later_reads_nothing_anew(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(threads=2)
    write("own", "threads = 1\nmax_papers = 3")
    monkeypatch.setenv("ASSISTANT_MODEL_KEY", "secret")
    changed = settings.changed(threads=None)
    assert (changed.threads, changed.max_papers, changed.model_key) == (None, 8, None)

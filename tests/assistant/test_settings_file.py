"""The user's settings file keeps what is not changed; what wins over it is told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import settings as module
from assistant.errors import ModelError, ModelMissingError, SettingsError
from assistant.llm.hardware import usable_cores
from assistant.settings import DEFAULT_MODEL, load_settings
from assistant.settings_file import SettingsFile, winner
from assistant.ui.conversations import Conversations
from assistant.ui.tab_settings import Panel
from tests.fakes import ScriptedAssistant

THEIRS = "# mine\nmax_papers = 6  # fewer\r\n\n  read_ahead=10\nnot_known = [1,\n 2]\n"


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("MODEL", "THREADS", "GPU_LAYERS"):
        monkeypatch.delenv(f"ASSISTANT_{name}", raising=False)
    monkeypatch.setattr(module, "user_config_path", lambda app: tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file() -> SettingsFile:
    return SettingsFile()


def test_a_setting_is_saved_read_and_taken_back(file: SettingsFile) -> None:
    assert file.text() == ""
    file.save({"threads": None, "gpu_layers": "auto"})
    assert not file.path.exists()  # the defaults need no file
    file.save({"threads": 3, "model": "other"})
    assert (load_settings().threads, load_settings().model) == (3, "other")
    file.save({"threads": None, "model": DEFAULT_MODEL})
    assert load_settings().threads is None
    assert file.text() == ""


def test_what_is_not_changed_stays_to_the_character(file: SettingsFile) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(THEIRS.encode())
    file.save({"threads": 2})
    assert file.text() == THEIRS + "threads = 2\n"
    file.save({"threads": None})
    assert file.text() == THEIRS


names = st.sampled_from(["threads", "model", "gpu_layers"])
theirs = st.lists(
    st.sampled_from(["# a note", "", "max_papers = 3", "x.y = 1", "  z = 'it''s'", "[t]", "a=1"]),
    unique=True,
)


@given(theirs, st.lists(st.tuples(names, st.none() | st.integers(1, 64)), max_size=5))
def test_other_lines_stay_whatever_is_saved(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], changes: list[tuple[str, Any]]
) -> None:
    text = "\n".join(line for line in lines if "''" not in line) + "\n"
    file = SettingsFile(tmp_path_factory.mktemp("file") / "assistant.toml")
    file.path.write_text(text, encoding="utf-8")
    before = tomllib.loads(text)
    for name, value in changes:
        file.save({name: value})
    assert set(text.splitlines()) <= set(file.text().splitlines())
    saved = {name: value for name, value in dict(changes).items() if value is not None}
    assert tomllib.loads(file.text()) == before | saved


def test_a_link_to_the_file_stays_a_link(file: SettingsFile, folders: Path) -> None:
    real = folders / "dotfiles.toml"
    real.touch(mode=0o640)
    file.path.parent.mkdir(parents=True)
    file.path.symlink_to(real)
    file.save({"threads": 2})
    assert file.path.is_symlink()
    assert real.read_text(encoding="utf-8") == "threads = 2\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_no_toml_is_left_alone(file: SettingsFile) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_text("threads = = 2", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"assistant\.toml is no TOML"):
        file.save({"threads": 3})
    assert file.text() == "threads = = 2"


def test_a_folder_that_cannot_be_written_is_told(folders: Path) -> None:
    (folders / "config").touch()
    with pytest.raises(SettingsError):
        SettingsFile().save({"threads": 3})


def test_what_wins_over_the_file_is_told(
    file: SettingsFile, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save({"threads": 3})
    assert winner("threads", load_settings()) == ""
    here = folders / "assistant.toml"
    here.write_text("threads = 1\n", encoding="utf-8")
    assert winner("threads", load_settings()) == str(here)
    monkeypatch.setenv("assistant_threads", "2")
    assert winner("threads", load_settings()) == "ASSISTANT_THREADS in the environment"
    started = load_settings(threads=4)
    assert winner("threads", started.changed(threads=5)) == "--threads on the command line"
    assert winner("gpu_layers", started.changed(gpu_layers=5)) == ""


# The panel


class Refusing(ScriptedAssistant):
    """Its models cannot be exchanged."""

    def use(self, **changes: object) -> None:
        raise ModelMissingError("not here", model=str(changes), hint="fetch it")


@pytest.fixture
def panel() -> Panel:
    return Panel(ScriptedAssistant({}), Conversations(None))


def test_what_is_applied_is_saved_and_told(panel: Panel, file: SettingsFile) -> None:
    panel.use({"threads": "2", "gpu_layers": "7"}, "")
    assert file.text() == "threads = 2\ngpu_layers = 7\n"
    told = panel.overview(None, "")
    assert f"Saved in <code>{file.path}</code>" in told
    assert 'data-names="threads gpu_layers"' in told
    panel.reset(["threads", "gpu_layers", "api_key"], "")
    assert file.text() == ""


def test_what_wins_is_told_beside_what_is_saved(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_THREADS", "2")
    told = panel.overview(None, "")
    assert "<code>ASSISTANT_THREADS in the environment</code> wins" in told


class Trying(ScriptedAssistant):
    """Notes what is in the file while it tries a setting, which may end the process."""

    ends = False

    def use(self, **changes: object) -> None:
        self.used.append({"file": SettingsFile().text(), **changes})
        if self.ends:
            raise SystemExit("aborted")


def test_a_setting_is_saved_only_after_it_worked(file: SettingsFile) -> None:
    assistant = Trying({})
    Panel(assistant, Conversations(None)).use({"gpu_layers": "3"}, "")
    assert assistant.used == [{"file": "", "gpu_layers": 3}]
    assert file.text() == "gpu_layers = 3\n"
    assistant.ends = True
    with pytest.raises(SystemExit):
        Panel(assistant, Conversations(None)).use({"gpu_layers": "4"}, "")
    assert file.text() == "gpu_layers = 3\n"


@pytest.mark.parametrize(
    "wanted",
    [
        {"threads": "100000000"},
        {"threads": 10**30},
        {"threads": "-1"},
        {"threads": "many"},
        {"gpu_layers": "100000000"},
        {"gpu_layers": "-2"},
        {"gpu_layers": ["auto"]},
    ],
)
def test_a_number_that_would_end_the_process_is_not_even_tried(
    file: SettingsFile, wanted: dict[str, object]
) -> None:
    assistant = Trying({})
    with pytest.raises(SettingsError):
        Panel(assistant, Conversations(None)).use(wanted, "")
    assert assistant.used == []
    assert not file.path.exists()


def test_more_threads_than_cores_are_refused_with_the_most(file: SettingsFile) -> None:
    cores = usable_cores()
    with pytest.raises(SettingsError) as refused:
        Panel(Trying({}), Conversations(None)).use({"threads": cores + 1}, "")
    assert f"at most {cores}" in refused.value.hint
    assert not file.path.exists()


def test_what_cannot_be_saved_is_not_applied(folders: Path) -> None:
    assistant = Trying({})
    (folders / "config").symlink_to("/proc/nothing")  # a folder that cannot be made
    with pytest.raises(SettingsError, match="cannot be written"):
        Panel(assistant, Conversations(None)).use({"gpu_layers": 3}, "")
    assert [each["gpu_layers"] for each in assistant.used] == [3, "auto"]


def test_a_file_that_cannot_be_used_is_told_and_nothing_is_tried(file: SettingsFile) -> None:
    assistant = Trying({})
    started = load_settings()
    file.path.parent.mkdir(parents=True)
    file.path.write_text("threads = = 2", encoding="utf-8")

    class Running(Trying):
        settings = started

    assistant = Running({})
    panel = Panel(assistant, Conversations(None))
    assert "cannot be saved: the settings file" in panel.overview(None, "")
    with pytest.raises(SettingsError, match="is no TOML"):
        panel.use({"gpu_layers": 3}, "")
    assert assistant.used == []
    assert file.text() == "threads = = 2"


def test_what_cannot_be_applied_is_not_saved(file: SettingsFile) -> None:
    file.save({"threads": 3})
    with pytest.raises(ModelMissingError):
        Panel(Refusing({}), Conversations(None)).use({"threads": "1"}, "")
    assert file.text() == "threads = 3\n"


@pytest.mark.parametrize("model", ["openai:http://192.0.2.1/v1", "/etc/passwd", "hf:a/b/c.gguf"])
def test_a_model_that_is_not_in_the_list_is_refused(
    panel: Panel, file: SettingsFile, model: str
) -> None:
    with pytest.raises(ModelError):
        panel.use({"model": model}, "")
    with pytest.raises(ModelError):
        panel.pull(model, "")
    assert file.text() == ""

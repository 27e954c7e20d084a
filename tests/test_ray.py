"""Workers on a Ray cluster: the same index and the same answers, whatever happens to a worker."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant.commands import cli
from assistant.commands.ray_engine import Cluster
from assistant.errors import WorkersError
from assistant.question_files.batch import BatchReport, answering_all, prepare_batch, run_batch
from tests.fakes import EchoAssistant, HashEmbedder
from tests.ray_jobs import Echoing, HashEmbedding, doubling, dying, failing, kill_one, refusing
from tests.vectorstore.synthetic import synthetic
from vectorstore import Paper, Store
from vectorstore.ahead import EmbeddedAhead
from vectorstore.sources.duplicates import IndexedDuplicate

# What Ray says of itself.
pytestmark = pytest.mark.filterwarnings("ignore:::ray")

ROOT = Path(__file__).resolve().parent.parent
SEEDS = ROOT / "seeds" / "huggingface_papers.txt"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers on this machine."""
    cluster = Cluster(workers=2)
    cluster.start()
    with cluster:
        yield cluster


# --- streams -------------------------------------------------------------------------------------


def test_all_work_is_done_once_and_in_order_if_wanted(cluster: Cluster) -> None:
    work = [(str(number), number) for number in range(100)]
    made = list(cluster.each(doubling, work, in_order=True))
    assert made == [(str(number), 2 * number) for number in range(100)]
    assert sorted(cluster.each(doubling, work)) == sorted(made)
    assert list(cluster.each(doubling, [])) == []


def test_an_endless_stream_is_read_no_further_than_a_few_pieces_ahead(cluster: Cluster) -> None:
    read = itertools.count()
    stream = cluster.each(doubling, ((number, next(read)) for number in itertools.count()))
    some = list(itertools.islice(stream, 50))
    stream.close()
    assert len({number for number, _ in some}) == 50
    assert next(read) <= 50 + 4 * 2


def test_a_result_does_not_wait_for_the_work_behind_it(cluster: Cluster) -> None:
    back: list[int] = []

    def work() -> Iterator[tuple[int, int]]:
        for number in range(30):
            # All but those that may be underway have come back, and nothing else pushes them.
            assert len(back) >= number - 4 * 2
            yield number, number

    for number, _ in cluster.each(doubling, work(), in_order=True):
        back.append(number)
    assert back == list(range(30))


def test_a_worker_that_cannot_work_says_why(cluster: Cluster) -> None:
    with pytest.raises(WorkersError, match="the model is gone") as caught:
        list(cluster.each(refusing, [(1, 1)]))
    assert caught.value.hint == "assistant models pull m"
    with pytest.raises(WorkersError, match="ZeroDivisionError"):
        list(cluster.each(failing, [(1, 1)]))


def test_work_that_kills_every_worker_ends_the_run_and_not_the_cluster(cluster: Cluster) -> None:
    with pytest.raises(WorkersError, match="4 have died") as caught:
        list(cluster.each(dying, [(1, 1)]))
    assert "same command" in caught.value.hint
    assert list(cluster.each(doubling, [(1, 1)])) == [(1, 2)]


# --- ingest --------------------------------------------------------------------------------------


def contents(store: Store) -> list[Any]:
    """All there is, in its order and to the bit."""
    return [(paper, spans, vectors.tobytes()) for paper, spans, vectors in store.exported()]


def found(store: Store) -> list[Any]:
    return [store.search(f"Subject{number} at length", 5) for number in range(0, 350, 50)]


def short(number: int, version: int = 0) -> Paper:
    """A paper of one to three chunks."""
    paper = synthetic(number, version)
    return replace(paper, abstract=paper.abstract[: 300 + 400 * (version % 3)])


def test_an_index_is_the_same_to_the_bit_also_if_a_worker_dies(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that each worker is given several pieces.
    monkeypatch.setattr("vectorstore.ahead.PAPERS_PER_EMBEDDING", 32)
    first = [short(number) for number in range(300)]
    # Changed, unchanged, new ones, two of one id, and one that is there under another id.
    twin = Paper("twin", first[5].title, first[5].abstract, year=first[5].year)
    second = [short(number, version=number % 3) for number in range(150, 350)]
    streams = [first, [*second, second[7], twin]]

    workers = partial(cluster.each, HashEmbedding(tmp_path, deadly=True), in_order=True)
    with (
        Store.create(tmp_path / "here", HashEmbedder()) as here,
        Store.create(tmp_path / "there", HashEmbedder()) as there,
    ):
        for papers in streams:
            doubles: list[list[IndexedDuplicate]] = [[], []]
            one = here.ingest(papers, prune=True, on_duplicate=doubles[0].append)
            ahead = EmbeddedAhead(there, workers)
            two = there.ingest(
                ahead.papers(iter(papers)),
                vectors=ahead.known,
                prune=True,
                on_duplicate=doubles[1].append,
            )
            (tmp_path / "died").unlink()
            assert (one.added, one.updated, one.unchanged, one.removed, one.chunks) == (
                two.added, two.updated, two.unchanged, two.removed, two.chunks,
            )  # fmt: skip
            assert doubles[0] == doubles[1]
            assert contents(here) == contents(there)
        assert there.check() == []
        assert found(here) == found(there)


def test_the_workers_do_all_the_embedding_and_none_twice(cluster: Cluster, tmp_path: Path) -> None:
    papers = [short(number) for number in range(100)]
    embedder = HashEmbedder()
    sent: list[int] = []

    def workers(work: Iterable[Any]) -> Any:
        def noted() -> Iterator[Any]:
            for kept, some in work:
                sent.append(len(some))
                yield kept, some

        return cluster.each(HashEmbedding(tmp_path), noted(), in_order=True)

    with Store.create(tmp_path / "index", embedder) as store:
        for _ in range(2):
            ahead = EmbeddedAhead(store, workers)
            store.ingest(ahead.papers(papers), vectors=ahead.known)
        assert embedder.texts == 0
        assert sum(sent) == len(papers)


# --- batch ---------------------------------------------------------------------------------------

QUESTIONS: list[dict[str, Any]] = [
    {"id": "a", "question": "What is a state?", "topic": "states"},
    {"question": "An unknown thing?"},
    {"question": "refused"},
    {"id": 4, "question": "And then?", "history": ["What is a state?"], "year": "2020.."},
    {"question": "  "},
    {"question": "crash"},
    {"question": "elsewhere", "collection": "other"},
    {"question": "What is a state?"},
    *({"question": f"How fast is number {number}?"} for number in range(40)),
]


def write_questions(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answers(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


def asked(folder: Path) -> Counter[str]:
    return Counter(json.loads(line) for line in (folder / "asked").read_text().splitlines())


def counts(report: BatchReport) -> tuple[int, ...]:
    return report.total, report.answered, report.abstained, report.failed


def test_answers_are_the_same_also_if_a_worker_dies(cluster: Cluster, tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.jsonl", QUESTIONS)
    here = run_batch(EchoAssistant(), questions, tmp_path / "here.jsonl")
    killed: list[int] = []

    def disturb(report: BatchReport) -> None:
        if report.done > 10 and not killed:
            killed.append(kill_one(tmp_path))

    with prepare_batch(questions, tmp_path / "there.jsonl") as batch:
        there = batch.run(
            answering_all(EchoAssistant()),
            workers=partial(cluster.each, Echoing(tmp_path, 0.05)),
            progress=disturb,
        )
    assert len(list(tmp_path.glob("*.worker"))) == 3
    assert counts(here) == counts(there)
    assert answers(tmp_path / "here.jsonl") == answers(tmp_path / "there.jsonl")
    assert not (tmp_path / "there.jsonl.journal.jsonl").exists()
    # Only what the killed worker was at, or had before it, is asked again.
    again = asked(tmp_path) - Counter(set(asked(tmp_path)))
    assert sum(again.values()) <= 2


def test_a_run_goes_on_with_another_engine(cluster: Cluster, tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "q.jsonl", QUESTIONS[8:])
    target = tmp_path / "answers.jsonl"
    here = EchoAssistant()

    def stop(report: BatchReport, after: int) -> None:
        if report.done == after:
            raise KeyboardInterrupt

    with (
        prepare_batch(questions, target) as batch,
        pytest.raises(KeyboardInterrupt),
    ):
        batch.run(answering_all(here), progress=partial(stop, after=15))
    with prepare_batch(questions, target) as batch, pytest.raises(KeyboardInterrupt):
        batch.run(
            answering_all(here),
            workers=partial(cluster.each, Echoing(tmp_path)),
            progress=partial(stop, after=30),
        )
    with prepare_batch(questions, target) as batch:
        done = batch.run(answering_all(here))
    assert (done.answered, done.resumed) == (40, 30)
    assert len(here.asked) == 25
    run_batch(EchoAssistant(), questions, tmp_path / "once.jsonl")
    assert answers(target) == answers(tmp_path / "once.jsonl")


def test_the_same_question_in_two_windows_is_asked_once(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.question_files.batch.WINDOW", 3)
    rows = [{"question": f"number {number % 5}", "row": number} for number in range(20)]
    questions = write_questions(tmp_path / "q.jsonl", rows)
    with prepare_batch(questions, tmp_path / "a.jsonl") as batch:
        done = batch.run(
            answering_all(EchoAssistant()),
            workers=partial(cluster.each, Echoing(tmp_path, 0.2)),
        )
    assert counts(done) == (20, 20, 0, 0)
    assert [row["row"] for row in answers(tmp_path / "a.jsonl")] == list(range(20))
    assert asked(tmp_path) == Counter({f"number {number}": 1 for number in range(5)})


# --- the command line ----------------------------------------------------------------------------


def assistant(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_command_embeds_on_ray_what_it_would_embed_here(tmp_path: Path) -> None:
    here = assistant("ingest", str(SEEDS), "--index", str(tmp_path / "here"))
    there = assistant(
        "ingest",
        str(SEEDS),
        "--index",
        str(tmp_path / "there"),
        "--engine",
        "ray",
        "--workers",
        "2",
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.split("(")[0] == here.stdout.split("(")[0]
    assert " E " not in there.stderr
    with (
        Store.open(tmp_path / "here", HashEmbedder("all-minilm-l6-v2", 384)) as one,
        Store.open(tmp_path / "there", HashEmbedder("all-minilm-l6-v2", 384)) as two,
    ):
        for (paper, spans, vectors), (other, others, computed) in zip(
            one.exported(), two.exported(), strict=True
        ):
            assert (paper, spans) == (other, others)
            assert np.abs(vectors - computed).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--engine", "spark"], "local, ray or"),
        (["--engine", "ray:"], "local, ray or"),
        (["--workers", "2"], "--engine ray"),
    ],
)
def test_an_engine_that_is_none_is_a_wrong_use(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(cli.app, ["ingest", str(SEEDS), *arguments])
    assert done.exit_code == 2
    assert reason in done.output


def test_a_cluster_that_is_not_there_leaves_the_index_alone(tmp_path: Path) -> None:
    index = tmp_path / "index"
    with Store.create(index, HashEmbedder("all-minilm-l6-v2", 384)) as store:
        store.ingest([synthetic(1)])
    done = assistant(
        "ingest", str(SEEDS), "--index", str(index), "--rebuild", "--engine", "ray:127.0.0.1:1"
    )
    assert done.returncode == 1
    assert "cluster at 127.0.0.1:1 cannot be used" in done.stderr
    assert "ray status" in done.stderr
    with Store.open(index, HashEmbedder("all-minilm-l6-v2", 384)) as store:
        assert len(store) == 1


def test_ray_client_is_refused() -> None:
    with pytest.raises(WorkersError, match="ray://") as caught:
        Cluster("ray://elsewhere:10001").start()
    assert "ray:auto" in caught.value.hint


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkersError, match="not installed") as caught:
        Cluster().start()
    assert "abstract-assistant[ray]" in caught.value.hint

"""Questions about the collection are told from questions about papers, and answered from all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.answer.collection import LISTED, CollectionQuestion, about_collection, look_up
from assistant.resources import resource
from tests.fakes import HashEmbedder
from vectorstore import Paper
from vectorstore.sources.papers import read_papers
from vectorstore.store import Store

QUESTIONS = Path(__file__).parents[1] / "quality" / "dev_questions.jsonl"


@pytest.mark.parametrize(
    ("question", "kind", "topic"),
    [
        ("How many papers are there?", "count", ""),
        ("how many papers are there on machine unlearning", "count", "machine unlearning"),
        ("How many papers on diffusion models do we have?", "count", "diffusion models"),
        ("How many papers in this collection mention CLIP?", "count", "CLIP"),
        ("List all papers that use contrastive learning.", "list", "contrastive learning"),
        ("show me all the papers about “in-context learning”", "list", "in-context learning"),
        ("Which papers are there on prompts?", "list", "prompts"),
        ("What is this collection about?", "overview", ""),
        ("Which topics does my library cover?", "overview", ""),
    ],
)
def test_a_question_about_the_collection_is_known(question: str, kind: str, topic: str) -> None:
    wanted = about_collection(question)
    assert wanted is not None
    assert (wanted.kind, wanted.topic) == (kind, topic)


def test_a_question_about_what_papers_say_is_none() -> None:
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    others = ["How many papers does the survey review?", "How many papers about it are there?"]
    for question in [*(row["question"] for row in rows), *others]:
        assert about_collection(question) is None, question


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    read = read_papers([resource("seeds/huggingface_papers.txt")])
    papers = [paper for paper in read if isinstance(paper, Paper)]
    with Store.create(tmp_path_factory.mktemp("index") / "index", HashEmbedder()) as store:
        store.ingest(papers)
        yield store


@pytest.mark.parametrize("topic", ["unlearning", "continual learning", "CLIP", "diffusion models"])
def test_what_is_counted_is_what_a_search_through_every_record_finds(
    store: Store, topic: str
) -> None:
    listing = look_up(CollectionQuestion("count", topic), store)
    assert listing is not None
    stem = topic.casefold().removesuffix("s")
    by_hand = {
        paper.id for paper in store.papers() if stem in f"{paper.title} {paper.abstract}".casefold()
    }
    assert {paper.id for paper in listing.papers} == by_hand
    assert listing.lead.startswith(f"{len(by_hand)} of 68 papers hold ")


def test_a_topic_that_no_paper_holds_is_not_listed(store: Store) -> None:
    assert look_up(CollectionQuestion("list", "protein folding"), store) is None


def test_all_papers_are_counted_and_a_long_list_says_where_it_ends(store: Store) -> None:
    listing = look_up(CollectionQuestion("list"), store)
    assert listing is not None
    assert listing.lead == f"There are 68 papers; {LISTED} of them:"
    assert len(listing.papers) == LISTED


def test_the_overview_names_subjects_and_papers_of_the_collection(store: Store) -> None:
    listing = look_up(CollectionQuestion("overview"), store)
    assert listing is not None
    assert listing == look_up(CollectionQuestion("overview"), store)
    assert len(listing.groups) > 2
    known: dict[str, Paper] = {paper.id: paper for paper in store.papers()}
    for name, papers in listing.groups:
        assert name
        assert papers
        assert all(known[paper.id] == paper for paper in papers)


def test_an_empty_collection_has_no_overview(tmp_path: Path) -> None:
    with Store.create(tmp_path / "index", HashEmbedder()) as empty:
        assert look_up(CollectionQuestion("overview"), empty) is None
        assert look_up(CollectionQuestion("count"), empty) is None

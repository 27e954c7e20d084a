"""The collection in the words of LangChain and of LlamaIndex."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import QueryBundle

from assistant import Answer
from assistant.answer.pipeline import Assistant
from assistant.langchain import PaperRetriever as LangChainRetriever
from assistant.llamaindex import CitedQueryEngine
from assistant.llamaindex import PaperRetriever as LlamaIndexRetriever
from tests.fakes import PAPERS, ScriptedAssistant, default_stories

QUERY = "a system that cites"


class AskableAssistant(ScriptedAssistant):
    """Answers coroutines, too."""

    async def aask(self, question: str, **kwargs: Any) -> Answer:
        """Play a story to its end."""
        return await asyncio.to_thread(self.ask, question, **kwargs)


@pytest.fixture
def scripted() -> AskableAssistant:
    return AskableAssistant(default_stories())


def test_langchain_gets_the_papers_of_a_search(scripted: AskableAssistant) -> None:
    documents = LangChainRetriever(assistant=scripted, top_k=2).invoke(QUERY)
    found = scripted.search(QUERY, top_k=2)
    assert [each.id for each in documents] == [each.paper.id for each in found]
    for document, passage in zip(documents, found, strict=True):
        start, end = document.metadata["start"], document.metadata["end"]
        assert document.page_content[start:end] == passage.chunk.text
        assert document.metadata["title"] == passage.paper.title
    again = asyncio.run(LangChainRetriever(assistant=scripted, top_k=2).ainvoke(QUERY))
    assert again == documents


def test_llamaindex_gets_the_papers_of_a_search(scripted: AskableAssistant) -> None:
    nodes = LlamaIndexRetriever(scripted, top_k=2).retrieve(QueryBundle(QUERY))
    found = scripted.search(QUERY, top_k=2)
    assert [each.node.node_id for each in nodes] == [each.paper.id for each in found]
    assert [each.score for each in nodes] == [each.score for each in found]
    assert nodes[0].text == found[0].paper.abstract


def by_query(engine: CitedQueryEngine, question: str) -> Any:
    return engine.query(question)


def by_aquery(engine: CitedQueryEngine, question: str) -> Any:
    return asyncio.run(engine.aquery(question))


@pytest.mark.parametrize("ask", [by_query, by_aquery])
def test_llamaindex_gets_answers_with_their_quotations(
    scripted: AskableAssistant, ask: Callable[[CitedQueryEngine, str], Any]
) -> None:
    engine = CitedQueryEngine(assistant=scripted)
    response = ask(engine, "How fast is it?")
    assert str(response).startswith("On a laptop with two cores")
    assert response.metadata["status"] == "answered"
    papers = {paper.id: paper for paper in PAPERS}
    for source in response.source_nodes:
        about = source.metadata
        abstract = papers[about["paper_id"]].abstract
        assert abstract[about["start"] : about["end"]] == source.text
    declined = ask(engine, "What do swans eat?")
    assert declined.metadata["status"] == "abstained"
    assert declined.source_nodes == []


def test_the_real_assistant_is_what_adapters_take(assistant: Assistant) -> None:
    documents = LangChainRetriever(assistant=assistant, top_k=3).invoke("chest x-ray pretraining")
    assert len(documents) == 3
    assert "BenchX" in documents[0].metadata["title"]
    engine = CitedQueryEngine(assistant=assistant)
    response = engine.query("How many papers are there on machine unlearning?")
    assert response.source_nodes

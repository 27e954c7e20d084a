"""The collection as retriever and query engine of LlamaIndex.

Needs the extra ``abstract-assistant[llamaindex]``.
Imported by nobody but its users, and so the one place that may import llama_index.

>>> from assistant import Assistant
>>> from assistant.llamaindex import CitedQueryEngine
>>> CitedQueryEngine(assistant=Assistant()).query("How many datasets does BenchX include?")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import Field, SkipValidation

from assistant.types import Answer
from vectorstore import Passage
from vectorstore.filters import Filters


class Searching(Protocol):
    """What a retriever needs of an `Assistant` or a `Store`."""

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """The papers closest to a query, best first."""


class Answering(Protocol):
    """What a query engine needs of an `Assistant`."""

    def ask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer a question."""

    async def aask(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """Answer a question."""


class PaperRetriever(BaseRetriever):
    """Papers closest to a query, best first; no language model is asked.

    A node is a whole abstract; its metadata tells the paper and where the best passage is.

    Args:
        assistant: An `Assistant` or a `Store`.
        top_k: Papers to return, at most.
        where: What papers must meet.
    """

    def __init__(self, assistant: Searching, top_k: int = 8, where: Filters | None = None) -> None:
        super().__init__()
        self._where = where
        self._assistant = assistant
        self._top_k = top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._assistant.search(query_bundle.query_str, self._top_k, self._where)
        return [NodeWithScore(node=_node(passage), score=passage.score) for passage in found]


class CitedQueryEngine(CustomQueryEngine):
    """Answers of the assistant, with a source node for each quotation.

    The text of a source node is the quotation; its metadata tells the paper, the number of the
    marker, and where the quotation is in the abstract. The response's metadata is the whole answer,
    as ``Answer.as_dict``; of an abstention, ``status`` is ``abstained`` there.
    """

    assistant: SkipValidation[Answering] = Field(description="An `Assistant`.")
    where: Filters | None = Field(default=None, description="What papers must meet.")

    def custom_query(self, query_str: str) -> Response:
        """Answer a question."""
        return _response(self.assistant.ask(query_str, where=self.where))

    async def acustom_query(self, query_str: str) -> Response:
        """Answer a question."""
        return _response(await self.assistant.aask(query_str, where=self.where))


def _node(passage: Passage) -> TextNode:
    paper = passage.paper
    return TextNode(
        id_=paper.id,
        text=paper.abstract,
        metadata={
            "paper_id": paper.id,
            "title": paper.title,
            "authors": list(paper.authors),
            "year": paper.year,
            "url": paper.url,
            "start": passage.chunk.start,
            "end": passage.chunk.end,
        },
    )


def _response(answer: Answer) -> Response:
    nodes = [
        NodeWithScore(
            node=TextNode(
                text=each.quote,
                metadata={
                    "number": each.number,
                    "paper_id": each.paper_id,
                    "title": each.title,
                    "start": each.start,
                    "end": each.end,
                },
            )
        )
        for each in answer.citations
    ]
    return Response(response=answer.text, source_nodes=nodes, metadata=answer.as_dict())

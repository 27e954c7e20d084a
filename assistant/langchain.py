"""The collection as a retriever of LangChain; needs the extra ``abstract-assistant[langchain]``.

Imported by nobody but its users, and so the one place that may import langchain_core.

>>> from assistant import Assistant
>>> from assistant.langchain import PaperRetriever
>>> PaperRetriever(assistant=Assistant()).invoke("chest x-ray pretraining")
"""

from __future__ import annotations

from typing import Protocol

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SkipValidation

from vectorstore import Passage
from vectorstore.filters import Filters


class Searching(Protocol):
    """What a retriever needs of an `Assistant` or a `Store`."""

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """The papers closest to a query, best first."""


class PaperRetriever(BaseRetriever):
    """Papers closest to a query, best first; no language model is asked.

    A document is a whole abstract. Its metadata tells the paper and where in the abstract the best
    passage is: ``page_content[start:end]``.
    """

    assistant: SkipValidation[Searching] = Field(description="An `Assistant` or a `Store`.")
    top_k: int = Field(default=8, ge=1, description="Papers to return, at most.")
    where: Filters | None = Field(default=None, description="What papers must meet.")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        found = self.assistant.search(query, self.top_k, self.where)
        return [_document(passage) for passage in found]


def _document(passage: Passage) -> Document:
    paper = passage.paper
    return Document(
        id=paper.id,
        page_content=paper.abstract,
        metadata={
            "paper_id": paper.id,
            "title": paper.title,
            "authors": list(paper.authors),
            "year": paper.year,
            "url": paper.url,
            "score": passage.score,
            "start": passage.chunk.start,
            "end": passage.chunk.end,
        },
    )

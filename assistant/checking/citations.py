"""The numbered citations of one answer or text: each place of a paper has one number."""

from __future__ import annotations

from assistant.checking.sentences import Span
from assistant.types import Citation
from vectorstore import Paper
from vectorstore.chunking import chunk_paper


class Citations:
    """Citations in the order in which their places were first cited."""

    def __init__(self) -> None:
        self.all: list[Citation] = []

    def cite(self, paper: Paper, span: Span) -> Citation:
        """Return the citation of a place, a new one if it was not cited before."""
        start, end = span
        for known in self.all:
            if (known.paper_id, known.start, known.end) == (paper.id, start, end):
                return known
        citation = Citation(
            number=len(self.all) + 1,
            paper_id=paper.id,
            title=paper.title,
            chunk_id=next(chunk.id for chunk in chunk_paper(paper) if start < chunk.end),
            start=start,
            end=end,
            quote=paper.abstract[start:end],
        )
        self.all.append(citation)
        return citation

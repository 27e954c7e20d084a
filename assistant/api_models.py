"""What goes over the wire of the REST API: requests, which are checked, and results.

The results are those of the other surfaces: an answer is ``Answer.as_dict``, papers and passages
are the store's own. Knows nothing of HTTP.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from assistant.question import MOST_CHARACTERS
from vectorstore import Paper, Passage

MOST_PAPERS = 100
"""Papers of one page or search."""
MOST_EARLIER = 50
"""Earlier questions of one request."""

QuestionText = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 8.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]


class _Request(BaseModel):
    """An unknown field is refused: it is a mistake, or for a newer version."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AskRequest(_Request):
    """A question of the papers."""

    question: QuestionText = Field(examples=["How many datasets does BenchX include?"])
    history: list[QuestionText] = Field(
        default=[], max_length=MOST_EARLIER, description="Earlier questions, oldest first."
    )
    stream: bool = Field(default=False, description="Send the events as they come (SSE).")


class SearchRequest(_Request):
    """A search among the papers, without the language model."""

    query: QuestionText = Field(examples=["chest x-ray pretraining"])
    top_k: Integer = Field(default=8, ge=1, le=MOST_PAPERS, description="At most so many papers.")


class CitationBody(BaseModel):
    """One quotation: the abstract's text from ``start`` to ``end``, in characters, is ``quote``."""

    number: int = Field(description="Of its marker in the text.")
    paper_id: str
    title: str
    chunk_id: str
    start: int
    end: int
    quote: str


class SentenceBody(BaseModel):
    """A sentence and what it rests on."""

    text: str
    citations: list[int]
    support: float = Field(description="Share of its content words in the abstract, in [0, 1].")
    verbatim: bool


class ShownPassageBody(BaseModel):
    """A paper that the model read."""

    paper_id: str
    title: str
    text: str
    score: float
    likelihood: float | None
    probe: float | None


class ClosestBody(BaseModel):
    """For an abstention: what a near paper does say."""

    paper_id: str
    title: str
    start: int
    end: int
    quote: str


class TimingsBody(BaseModel):
    """Seconds since the question."""

    retrieved_seconds: float | None
    first_text_seconds: float | None
    first_sentence_seconds: float | None
    total_seconds: float


class TokensBody(BaseModel):
    """What the model did."""

    reused: int
    prefilled: int
    decoded: int
    papers_read: int


class AnswerBody(BaseModel):
    """An answer, or an abstention with the closest papers; as ``assistant ask --json``."""

    question: str
    text: str = Field(description="With [n] markers.")
    status: Literal["answered", "abstained", "error"]
    reason: str | None
    standalone_question: str | None
    lead: str
    citations: list[CitationBody]
    sentences: list[SentenceBody]
    passages: list[ShownPassageBody]
    closest: list[ClosestBody]
    timings: TimingsBody
    tokens: TokensBody
    model: str


class PaperBody(RootModel[Paper]):
    """A paper, for those who take models alone."""


class SearchResult(BaseModel):
    """Papers near a query, best first, each with its best passage."""

    passages: list[Passage]


class PaperPage(BaseModel):
    """A stretch of the collection."""

    papers: list[Paper]
    offset: int
    total: int = Field(description="Papers in the collection.")


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class ErrorDetail(BaseModel):
    """What is wrong, and what to do about it; in the shape that OpenAI's clients read."""

    message: str
    hint: str | None = Field(default=None, description="What to do next.")
    type: str
    param: str | None = Field(default=None, description="The field that is wrong.")
    code: str | None = None


class ErrorBody(BaseModel):
    """Every error of this API."""

    error: ErrorDetail

"""What goes over the wire of the REST API: requests, which are checked, and results.

The results are those of the other surfaces: an answer is ``Answer.as_dict``, papers and passages
are the store's own. Knows nothing of HTTP.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from assistant.answer.question import MOST_CHARACTERS
from assistant.checking import texts
from vectorstore import Paper, Passage
from vectorstore.filters import Condition, Filters

MOST_PAPERS = 100
"""Papers of one page or search."""
MOST_TEXT_CHARACTERS = texts.MOST_CHARACTERS
"""Characters of a text that is checked."""
MOST_EARLIER = 50
"""Earlier questions of one request."""

QuestionText = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 8.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The bounds stand before the validator, or the description would not have them.
Year = Annotated[int, Field(ge=0, le=9999), BeforeValidator(_whole)]
TopK = Annotated[int, Field(ge=1, le=MOST_PAPERS), BeforeValidator(_whole)]


class _Request(BaseModel):
    """An unknown field is refused: it is a mistake, or for a newer version."""

    model_config = ConfigDict(extra="forbid", strict=True)


Name = Annotated[str, Field(min_length=1, max_length=200)]


class Equal(_Request):
    """A field of the metadata is this; fields inside fields are named ``a.b``."""

    field: Name = Field(examples=["category"])
    operator: Literal["="]
    value: Name = Field(examples=["cs.CL"])


class Comparison(_Request):
    """A number of the metadata compared with another."""

    field: Name = Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", examples=["upvotes"])
    operator: Literal["<", "<=", ">", ">="]
    value: float = Field(ge=-1e15, le=1e15)


class Where(_Request):
    """Conditions that a paper must meet, all of them; as ``vectorstore.filters.Filters``."""

    from_year: Year | None = None
    to_year: Year | None = None
    authors: list[Name] = Field(default=[], max_length=20, description="All of them.")
    venues: list[Name] = Field(default=[], max_length=20, description="One of them.")
    metadata: list[Equal | Comparison] = Field(default=[], max_length=20)
    ids: list[Name] | None = Field(default=None, max_length=1000, description="Only these.")

    @property
    def filters(self) -> Filters | None:
        """As the store takes them; None without any."""
        conditions = (
            Condition(each.field, each.operator, str(each.value)) for each in self.metadata
        )
        found = Filters(
            years=(self.from_year, self.to_year),
            authors=tuple(self.authors),
            venues=tuple(self.venues),
            conditions=tuple(conditions),
            ids=None if self.ids is None else tuple(self.ids),
        )
        return found or None


def filters_of(where: Where | None) -> Filters | None:
    """As the store takes them; None without any."""
    return where.filters if where else None


class AskRequest(_Request):
    """A question of the papers."""

    question: QuestionText = Field(examples=["How many datasets does BenchX include?"])
    history: list[QuestionText] = Field(
        default=[], max_length=MOST_EARLIER, description="Earlier questions, oldest first."
    )
    where: Where | None = Field(default=None, description="What papers must meet.")
    stream: bool = Field(default=False, description="Send the events as they come (SSE).")


class SearchRequest(_Request):
    """A search among the papers, without the language model."""

    query: QuestionText = Field(examples=["chest x-ray pretraining"])
    where: Where | None = Field(default=None, description="What papers must meet.")
    top_k: TopK = Field(default=8, description="At most so many papers.")


class CitationBody(BaseModel):
    """One quotation: the abstract's text from ``start`` to ``end``, in characters, is ``quote``."""

    number: int = Field(description="Of its marker in the text.")
    paper_id: str
    title: str
    chunk_id: str
    start: int
    end: int
    quote: str


class CheckRequest(_Request):
    """A text that is compared with the papers, without the language model."""

    text: str = Field(
        min_length=1,
        max_length=MOST_TEXT_CHARACTERS,
        pattern=r"\S",
        examples=["BenchX compares nine methods on four datasets."],
    )
    paper: str = Field(default="", description="Id or exact title of one paper.")
    where: Where | None = Field(default=None, description="What papers must meet.")


class CheckedSentenceBody(BaseModel):
    """One sentence of a checked text."""

    sentence: str
    verdict: Literal["supported", "contradicted", "not_found", "no_claim"]
    reason: str = Field(description="Why it is not supported; empty if it is.")
    support: float = Field(description="Estimated probability that the paper says it, in [0, 1].")
    citations: list[CitationBody]


class CheckResult(BaseModel):
    """The sentences of a text, in order."""

    sentences: list[CheckedSentenceBody]


class SentenceBody(BaseModel):
    """A sentence and what it rests on."""

    text: str
    citations: list[int]
    support: float = Field(description="Estimated probability that the paper says it, in [0, 1].")
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

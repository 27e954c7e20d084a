"""Papers are read ahead once each, the last question's first, and never more than allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assistant.llm.ahead import ReadAhead
from vectorstore import Paper

PAPERS = [Paper(id=f"p{n}", title=f"Paper {n}", abstract="It says so.") for n in range(12)]


def read_all(ahead: ReadAhead, ready: set[str]) -> list[str]:
    order = []
    while paper := ahead.next(lambda each: each.id in ready):
        order.append(paper.id)
        ready.add(paper.id)
        assert len(order) <= len(PAPERS)
    return order


def test_papers_of_a_question_are_read_first() -> None:
    ahead = ReadAhead(PAPERS[:4], most=12)
    ahead.prefer([PAPERS[7], PAPERS[2]])
    assert read_all(ahead, set()) == ["p7", "p2", "p0", "p1", "p3"]


@given(
    st.lists(st.sampled_from(PAPERS), unique_by=lambda each: each.id, max_size=8),
    st.lists(st.sampled_from(PAPERS), unique_by=lambda each: each.id, max_size=8),
    st.sets(st.sampled_from([paper.id for paper in PAPERS])),
    st.integers(0, 12),
)
def test_every_paper_is_read_once_up_to_the_most(
    papers: list[Paper], found: list[Paper], ready: set[str], most: int
) -> None:
    ahead = ReadAhead(papers, most)
    ahead.prefer(found)
    ready_before = set(ready)
    order = read_all(ahead, ready)
    wanted = {paper.id for paper in [*papers, *found]}
    assert len(order) == len(set(order))
    assert not ready_before & set(order)
    assert ahead.progress.read == ahead.progress.total == min(most, len(wanted))

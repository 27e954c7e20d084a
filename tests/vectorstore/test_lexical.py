from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorstore import IndexDamagedError, Paper
from vectorstore.index.lexical import LexicalIndex


@pytest.fixture
def index(tmp_path: Path) -> LexicalIndex:
    return LexicalIndex.create(tmp_path / "lexical")


def paper(key: str, abstract: str, title: str = "T") -> Paper:
    return Paper(key, title, abstract)


def put(index: LexicalIndex, papers: list[Paper], removed: Iterable[str] = ()) -> None:
    """Add papers; the position of one is its id, read as a number."""
    index.replace([(position(each.id), each) for each in papers], removed)


def position(key: str) -> int:
    return int.from_bytes(key.encode()[:6])


def found(index: LexicalIndex, query: str) -> list[str]:
    return [key(number) for number, _ in index.search(query, 9)]


def key(number: int) -> str:
    return number.to_bytes(6).lstrip(b"\0").decode()


def ids(index: LexicalIndex) -> set[str]:
    return {key(number) for number, _ in index.versions(0, 2**48)}


WORDS = ["graph", "forget", "label", "prompt", "pixel", "tulu", "state", "merge"]
# At most 39 words or parts: tantivy keeps the length of longer texts in one byte, rounded.
ABSTRACTS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join), min_size=1, max_size=8
)


def slow_bm25(texts: list[list[str]], query: list[str]) -> list[float]:
    """Score by the formula of Robertson and Zaragoza (2009), doi:10.1561/1500000019."""
    mean = sum(map(len, texts)) / len(texts)

    def score(text: list[str], term: str) -> float:
        frequency = sum(term in other for other in texts)
        idf = math.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
        norm = text.count(term) + 1.2 * (1 - 0.75 + 0.75 * len(text) / mean)
        return idf * text.count(term) * 2.2 / norm

    return [sum(score(text, term) for term in query) for text in texts]


def slow_pairs(words: list[str]) -> list[str]:
    return [" ".join(pair) for pair in itertools.pairwise(words)]


def slow_parts(words: list[str]) -> list[str]:
    marked = [f"_{word}_" for word in words]
    return [w[n : n + 4] for w in marked for n in range(len(w)) if n == 0 or n + 4 <= len(w)]


def slow_scores(papers: list[Paper], query: list[str]) -> dict[str, float]:
    texts = [f"{p.title} {p.abstract}".lower().split() for p in papers]
    words = slow_bm25(texts, query)
    pairs = slow_bm25([slow_pairs(text) for text in texts], slow_pairs(query))
    parts = slow_bm25([slow_parts(text) for text in texts], slow_parts(query))
    sums = [a + 0.2 * b + 0.15 * c for a, b, c in zip(words, pairs, parts, strict=True)]
    return {p.id: score for p, score in zip(papers, sums, strict=True) if score}


@settings(max_examples=settings().max_examples // 4)
@given(abstracts=ABSTRACTS, query=st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=5))
def test_scores_equal_a_slow_independent_reference(
    tmp_path_factory: pytest.TempPathFactory, abstracts: list[str], query: list[str]
) -> None:
    index = LexicalIndex.create(tmp_path_factory.mktemp("lexical"))
    papers = [paper(str(number), abstract) for number, abstract in enumerate(abstracts)]
    put(index, papers)
    # These words are their own stems; the reference knows nothing of stemming.
    assert index.terms(" ".join(query)) == query
    ranking = [(key(number), score) for number, score in index.search(" ".join(query), 100)]
    assert dict(ranking) == pytest.approx(slow_scores(papers, query), rel=1e-5)
    assert [score for _, score in ranking] == sorted((s for _, s in ranking), reverse=True)


def test_spellings_and_word_forms_meet(index: LexicalIndex) -> None:
    put(index, [paper("a", r"We train T\"ULU models"), paper("b", "Fréchet distances")])
    for query in ("TÜLU", "tulu", r"T\"{U}LU", "Tu\u0308lu", "training", "MODEL"):
        assert found(index, query) == ["a"], query
    for query in ("Frechet", r"Fr\'echet", "distance"):
        assert found(index, query) == ["b"], query


@pytest.mark.parametrize(
    "query",
    [
        'needle) AND (OR "', "title:needle", "needle ^9 ~2 *", "+needle -absent", "needle\\",
        "needle " * 20_000, "needle\0\ud800", "needle " + "x" * 100_000,
        "needle " + " ".join(f"w{n}" for n in range(5_000)), "</needle>", "IN [needle]",
        "[needle TO z]",
    ],
)  # fmt: skip
def test_a_query_is_words_never_a_language(index: LexicalIndex, query: str) -> None:
    put(index, [paper("a", "a needle"), paper("b", "hay and title")])
    assert found(index, query)[0] == "a"


@pytest.mark.parametrize("query", ["difusion", "diffusoin", "Difussion", "diffuse", "diffusional"])
def test_a_word_is_found_in_spite_of_an_error_or_another_ending(
    index: LexicalIndex, query: str
) -> None:
    names = ["fusion of sensors", "a diffusion model", "confusion and profusion", "refused"]
    put(index, [paper(str(number), name) for number, name in enumerate(names)])
    assert found(index, query)[0] == "1"


@pytest.mark.parametrize("query", ["", "()", "?!", "absent", "*", "\0"])
def test_a_query_without_known_words_finds_nothing(index: LexicalIndex, query: str) -> None:
    put(index, [paper("a", "a needle")])
    assert index.search(query, 9) == []


def test_a_paper_is_replaced_and_removed(index: LexicalIndex) -> None:
    put(index, [paper("a", "old words"), paper("b", "more words")])
    put(index, [paper("a", "new text")], ["b", "unknown"])
    assert index.search("words", 9) == []
    assert found(index, "text") == ["a"]
    assert (ids(index), len(index)) == ({"a"}, 1)


def test_ids_are_taken_as_they_are(index: LexicalIndex) -> None:
    keys = ["A b:c", "a b:c", "ü", "10.1/x", "-"]
    put(index, [paper(each, "same") for each in keys])
    put(index, [], ["A b:c"])
    assert ids(index) == set(keys[1:])


def test_document_frequency_counts_papers_that_are_there_now(index: LexicalIndex) -> None:
    put(index, [paper(str(n), "zero-shot learning, shot by shot") for n in range(5)])
    put(index, [paper("0", "a zero, then a shot"), paper("9", "Tülu")], ["1"])
    words = ["learn", "Learning", "zero-shot", "shot", 'T\\"ULU', "absent", "", "?", "zero"]
    assert index.document_frequency(words) == dict(
        zip(words, [3, 3, 3, 4, 1, 0, 0, 0, 4], strict=True)
    )


def test_what_another_opening_wrote_is_seen_after_reload(tmp_path: Path) -> None:
    reader = LexicalIndex.create(tmp_path)
    put(LexicalIndex.create(tmp_path), [paper("a", "word")])
    reader.reload()
    assert ids(reader) == {"a"}


def test_a_commit_that_was_killed_before_its_end_can_be_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "lexical"
    papers = [paper(str(number), f"word {number}") for number in range(20)]
    put(LexicalIndex.create(folder), papers)
    before = (folder / "meta.json").read_bytes()
    put(LexicalIndex.create(folder), [], ["3"])
    # A commit writes which papers are gone, and then what is valid; it was killed in between.
    assert list(folder.glob("*.del"))
    (folder / "meta.json").write_bytes(before)
    index = LexicalIndex.create(folder)
    assert "3" in ids(index)
    put(index, [], ["3"])
    assert ids(index) == {str(number) for number in range(20)} - {"3"}


def test_a_damaged_index_is_an_error_for_the_user(tmp_path: Path) -> None:
    folder = tmp_path / "lexical"
    put(LexicalIndex.create(folder), [paper("a", "word")])
    (folder / "meta.json").write_text("{")
    with pytest.raises(IndexDamagedError, match="lexical index") as caught:
        LexicalIndex.create(folder)
    assert "assistant repair" in caught.value.hint


@given(abstracts=ABSTRACTS, wanted=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
@settings(max_examples=settings().max_examples // 4)
def test_the_papers_that_hold_every_word_are_all_found_and_counted(
    tmp_path_factory: pytest.TempPathFactory, abstracts: list[str], wanted: list[str]
) -> None:
    index = LexicalIndex.create(tmp_path_factory.mktemp("holding"))
    put(index, [paper(str(n), text) for n, text in enumerate(abstracts)])
    expected = {str(n) for n, text in enumerate(abstracts) if {*wanted} <= {*text.split()}}
    positions, count = index.holding(wanted, limit=100)
    assert ({key(each) for each in positions}, count) == (expected, len(expected))
    assert len(index.holding(wanted, limit=1)[0]) == min(1, len(expected))


def test_among_many_papers_a_word_of_most_of_them_does_not_count(
    index: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["model pixel", "model pixel pixel", "model graph", "model state", "model", "merge"]
    put(index, [paper(str(number), text, "") for number, text in enumerate(texts)])
    assert len(found(index, "model pixel")) == 5
    monkeypatch.setattr("vectorstore.index.lexical._MANY_PAPERS", 5)
    assert found(index, "model pixel") == found(index, "pixel")
    assert index.search("model", 9) == []

"""Promises of groups: every paper is in one, and their names are words that its papers share."""

from __future__ import annotations

import numpy as np

from vectorstore.subjects import find_subjects

BIRDS = [
    "We show that herons sleep on wet grass",
    "Results: herons optimally catch frogs",
    "The proposed method counts herons",
    "A novel task: herons at night",
]
STARS = [
    "The proposed method finds dwarf stars",
    "A novel task: dwarf stars and their dust",
    "We show that dwarf stars cool",
    "Results of dwarf stars",
]


def found() -> dict[tuple[int, ...], tuple[str, ...]]:
    near = np.eye(2, 8, dtype=np.float32)
    vectors = np.repeat(near, [4, 4], axis=0)
    subjects = find_subjects([*BIRDS, *STARS], vectors, 9)
    return {tuple(sorted(each.members)): each.words for each in subjects}


def test_every_text_is_in_one_group() -> None:
    assert set(found()) == {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_a_name_is_what_the_texts_share_and_not_what_all_abstracts_say() -> None:
    birds, stars = found()[0, 1, 2, 3], found()[4, 5, 6, 7]
    assert birds[0] == "herons"
    assert stars[0] == "dwarf stars"
    said = {word for name in (*birds, *stars) for word in name.split()}
    assert not said & {"show", "results", "proposed", "method", "novel", "optimally", "the"}


def test_a_pair_stands_in_a_text_word_by_word() -> None:
    texts = " ".join([*BIRDS, *STARS]).lower()
    assert all(name in texts for names in found().values() for name in names if " " in name)


def test_texts_of_nothing_but_common_words_have_no_name() -> None:
    (subject,) = find_subjects(["the and of"], np.eye(1, 8, dtype=np.float32), 3)
    assert subject.words == ()

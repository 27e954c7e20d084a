"""Promises of the kept conversations: whole, private, findable, gone when they are deleted."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given

from assistant.errors import ConversationsError
from assistant.streaming.turn import Turn
from assistant.ui import page
from assistant.ui.conversations import Conversations, new_id
from tests.assistant.test_page import last_turn, turns
from tests.fakes import abstained_story, answered_story, followed_up_story, hostile_story


@pytest.fixture
def kept(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "data" / "conversations.sqlite3")


def numbered(number: int, question: str) -> Turn:
    turn = last_turn(answered_story(question), question)
    return Turn(**{name: getattr(turn, name) for name in Turn.__slots__} | {"number": number})


@given(turns())
def test_a_turn_comes_back_as_it_was(turn: Turn) -> None:
    memory = Conversations(None)
    memory.keep("c", turn)
    (back,) = memory.turns("c")
    assert back == turn
    assert page.turn(back) == page.turn(turn)
    assert page.sources(back) == page.sources(turn)


@pytest.mark.parametrize(
    "story", [answered_story(), abstained_story(), hostile_story(), followed_up_story()]
)
def test_turns_survive_the_program(kept: Conversations, story: list) -> None:  # type: ignore[type-arg]
    turn = last_turn(story)
    kept.keep("c", turn)
    kept.close()
    assert kept.path is not None
    assert Conversations(kept.path).turns("c") == (turn,)


def test_a_list_has_the_newest_first_and_is_searched_by_all_words(kept: Conversations) -> None:
    kept.keep("swans", last_turn(abstained_story(), "What do swans eat?"))
    kept.keep("fast", numbered(1, "How fast is it?"))
    kept.keep("fast", numbered(2, "100% of what_ever?"))
    assert [(each.id, each.turns) for each in kept.list()] == [("fast", 2), ("swans", 1)]
    assert [each.id for each in kept.list("SWANS eat")] == ["swans"]
    assert [each.id for each in kept.list("laptop cores")] == ["fast"]  # words of an answer
    assert kept.list("swans laptop") == ()
    assert [each.id for each in kept.list("100% what_")] == ["fast"]
    assert kept.list("100%what") == ()


def test_what_is_deleted_is_gone_from_the_file(kept: Conversations) -> None:
    kept.keep("c", numbered(1, "Where is the zyzzyva?"))
    kept.keep("d", numbered(1, "Another?"))
    kept.delete("c")
    assert kept.turns("c") == ()
    assert [each.id for each in kept.list()] == ["d"]
    assert kept.path is not None
    assert b"zyzzyva" not in kept.path.read_bytes()
    assert kept.delete_all() == 1
    assert kept.list() == ()


def test_nobody_reaches_what_is_somebody_elses(kept: Conversations) -> None:
    mine = new_id()
    kept.keep(mine, numbered(1, "Mine?"), owner="me")
    for owner in ("", "you"):
        assert kept.turns(mine, owner=owner) == ()
        assert kept.turn(mine, 1, owner=owner) is None
        assert kept.list(owner=owner) == ()
        kept.rename(mine, "yours", owner=owner)
        kept.rate(mine, 1, "bad", "", owner=owner)
        kept.keep(mine, numbered(1, "Overwritten?"), owner=owner)
        kept.keep(mine, numbered(2, "Added?"), owner=owner)
        kept.delete(mine, owner=owner)
        kept.delete_all(owner=owner)
    assert [turn.question for turn in kept.turns(mine, owner="me")] == ["Mine?"]
    assert kept.title(mine, owner="me") == "Mine?"
    assert kept.rated("bad", owner="me") == ()


def test_a_judgement_is_kept_with_the_questions_before(kept: Conversations) -> None:
    kept.keep("c", numbered(1, "First?"))
    kept.keep("c", numbered(2, "Second?"))
    kept.rate("c", 2, "bad", "it is about something else")
    (rated,) = kept.rated("bad")
    assert (rated.earlier, rated.reason) == (("First?",), "it is about something else")
    assert rated.turn.question == "Second?"
    kept.rate("c", 2, None, "")
    assert kept.rated("bad") == ()


def test_a_title_can_be_changed_but_not_lost(kept: Conversations) -> None:
    kept.keep("c", numbered(1, "First?"))
    kept.rename("c", "  Speed \n of Larch ")
    assert kept.title("c") == "Speed of Larch"
    kept.rename("c", " ")
    assert kept.title("c") == "Speed of Larch"
    kept.keep("c", numbered(2, "Second?"))
    assert kept.title("c") == "Speed of Larch"


def test_many_threads_lose_nothing(kept: Conversations) -> None:
    def keep(name: str) -> None:
        for number in range(1, 6):
            kept.keep(name, numbered(number, f"{name} {number}?"))

    threads = [threading.Thread(target=keep, args=(f"c{each}",)) for each in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.turns for each in kept.list()) == [5] * 6


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "conversations.sqlite3"
    if content is None:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
    else:
        path.write_bytes(content)
    with pytest.raises(ConversationsError) as raised:
        Conversations(path)
    assert str(path) in str(raised.value)
    assert "ASSISTANT_KEEP_CONVERSATIONS" in raised.value.hint

"""The order of a prompt, piece by piece, whatever the pieces are made of: token ids or text.

    prefix | abstract, instruction | question, reminder, end of turn | Yes. ...

What comes first changes least: the prefix is the same for all papers, the paper's block for all
questions, so what was read of them can be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from assistant.llm.chat_format import ChatFormat
from assistant.llm.prompts import Prompts
from vectorstore import Paper

T = TypeVar("T")

AFFIRMED = "Yes.\n"
"""How the reply of a paper begins that is to answer."""

YES, NO = ("Yes", " Yes", "yes", " yes"), ("No", " No", "no", " no")


class Encode(Protocol[T]):
    """Text to pieces. Only with ``special`` do control tokens in the text count as such."""

    def __call__(self, text: str, *, special: bool = False) -> list[T]:
        """Nothing in ``text`` is lost."""


class PromptParts(Generic[T]):
    """A prompt file in a chat format, cut into the parts that are reused and those that change.

    Args:
        prompts: What the model is told.
        layout: Where the model's chat format puts it.
        encode: Makes pieces of text.
        cut: Cuts the pieces of a paper to the most that is read of one.
    """

    def __init__(
        self,
        prompts: Prompts,
        layout: ChatFormat,
        encode: Encode[T],
        cut: Callable[[list[T]], list[T]],
    ) -> None:
        self._paper, self._encode, self._cut = prompts.paper, encode, cut
        self.prefix = encode(layout.before, special=True)
        ending = encode(layout.after, special=True)
        before, _, after = prompts.question.template.partition("$question")
        # The logits behind the last token are those of the question's first.
        *self._question, self._last = encode(before.rstrip(" "))
        self._ending = [*encode(after), *ending]
        self.after = [*encode(f"{after}\n{prompts.reminder.template.strip()}"), *ending]
        """Behind a question: the reminder, and the end of the turn."""
        self._instruction = [*encode(f"\n\n{prompts.answer.template.strip()}"), *self._question]
        self.affirmed = encode(AFFIRMED)

    def block(self, paper: Paper) -> list[T]:
        """What is read of a paper, whatever the question."""
        text = self._paper.substitute(title=paper.title, abstract=paper.abstract).strip()
        return self._cut(self._encode(text)) + self._instruction

    def stem(self, question: str, context: str) -> tuple[list[T], int]:
        """The question with what stands in front of it; how many pieces at its end are its own."""
        words = self._encode(f" {question}")
        before = self._encode(f" {context}") if context else []
        return [self._last, *before, *words], len(words)

    def abstract(self, block: list[T]) -> list[T]:
        """A block without the instruction to answer."""
        return block[: len(block) - len(self._instruction)]

    def instead(self, stem: list[T], instruction: str) -> list[T]:
        """Behind an abstract: the question and another instruction, to the end of the turn."""
        return [*self._question, *stem, *self._encode(f"\n{instruction.strip()}"), *self._ending]

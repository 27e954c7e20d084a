"""Where a model's own chat template puts the system text, the paper, and the question.

The template is rendered once with two marks in place of paper and question and cut at the marks.
Everything outside the marks is trusted and may hold control tokens; what comes between them is
tokenised without, so no paper and no question can end a turn or start one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, str]]

_PAPER, _SUFFIX = "\x02paper\x03", "\x02suffix\x03"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For a file that carries no template; llama-cpp-python would silently take llama-2's."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """One prompt is ``before + paper + suffix + after``, and then the model speaks."""

    before: str
    after: str


def chat_format(template: str | None, system: str, *, bos: str = "", eos: str = "") -> ChatFormat:
    """Cut a chat template around the text of the user.

    Args:
        template: Jinja source out of the model file; rendered in a sandbox.
        system: The system text; joined to the user's where the template refuses a system role.
        bos: Text of the begin-of-sequence token.
        eos: Text of the end-of-sequence token.

    Raises:
        ValueError: The template does not render both marks in order.
    """
    return cut_format(lambda messages: _render(template or CHATML, messages, bos, eos), system)


def cut_format(render: Callable[[Messages], str | None], system: str) -> ChatFormat:
    """Cut what somebody else makes of messages; as `chat_format`.

    Args:
        render: Messages to the text of a prompt, with the head of the reply; None if refused.
        system: The system text.

    Raises:
        ValueError: The text of the user does not come through.
    """
    user = _PAPER + _SUFFIX
    for messages in (
        [{"role": "system", "content": system}, {"role": "user", "content": user}],
        [{"role": "user", "content": f"{system}\n\n{user}"}],
    ):
        text = render(messages)
        if text and text.count(user) == 1:
            before, after = text.split(user)
            if system in before:
                return ChatFormat(before, after)
    raise ValueError("the model's chat template does not keep the text of a user's turn")


def _render(template: str, messages: Messages, bos: str, eos: str) -> str | None:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    values: dict[str, Any] = {
        "messages": messages,
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
        "raise_exception": refuse,
        "tools": None,
        "enable_thinking": False,
        "strftime_now": lambda _format: "",
    }
    try:
        return environment.from_string(template).render(**values)
    except TemplateError:
        return None

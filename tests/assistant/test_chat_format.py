"""A chat template is cut around the user's text, whatever it looks like."""

from __future__ import annotations

import pytest

from assistant.llm.chat_format import CHATML, chat_format

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def test_chatml_is_taken_where_a_file_has_no_template() -> None:
    layout = chat_format(None, "Be brief.")
    assert layout == chat_format(CHATML, "Be brief.")
    assert layout.before.endswith("<|im_start|>user\n")
    assert layout.after == "<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_refuses_a_system_role_gets_the_text_with_the_user() -> None:
    layout = chat_format(GEMMA, "Be brief.", bos="<bos>")
    assert layout.before == "<bos><start_of_turn>user\nBe brief.\n\n"
    assert layout.after == "<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize(
    "template",
    ["{{ broken", "no messages at all", "{{ ''.__class__.__mro__[1].__subclasses__() }}"],
)
def test_a_template_that_cannot_serve_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="chat template"):
        chat_format(template, "Be brief.")

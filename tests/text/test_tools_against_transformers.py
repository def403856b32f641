"""What models are told of tools is token for token what transformers makes of the same template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import pytest

from llmos.drivers.text.codec import load_codec
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi.words import ChatMessage, MadeCall, Role
from tests.text.small_models import chat_model
from tests.text.tool_templates import HERMES, LLAMA, MISTRAL

FUNCTION = {
    "name": "weather",
    "description": 'Tells the weather, é < > & "quoted".',
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS: list[dict[str, object]] = [{"type": "function", "function": FUNCTION}]
CALL = {"type": "function", "id": "call00000", "function": {"name": "weather", "arguments": {"city": "Paris"}}}


class Reference(Protocol):
    """A tokenizer of transformers."""

    def apply_chat_template(
        self,
        conversation: Sequence[dict[str, object]],
        *,
        tools: list[dict[str, object]],
        add_generation_prompt: bool,
        return_dict: bool,
    ) -> list[int]:
        """The ids of a conversation."""
        ...


@pytest.mark.parametrize("template", [HERMES, LLAMA, MISTRAL], ids=["hermes", "llama", "mistral"])
def test_a_conversation_with_tools_has_transformers_ids(tmp_path: Path, template: str) -> None:
    from transformers import AutoTokenizer

    folder = chat_model(tmp_path, template)
    codec, reference = load_codec(folder), cast("Reference", AutoTokenizer.from_pretrained(folder))
    asked: dict[str, object] = {"role": "user", "content": "Is it raining?"}
    messages = [ChatMessage(Role.USER, "Is it raining?")]
    told = json.dumps(TOOLS)
    expected = reference.apply_chat_template([asked], tools=TOOLS, add_generation_prompt=True, return_dict=False)
    assert list(codec.encode_chat(messages, Turn(TurnKind.EMPTY), told)) == expected
    messages += [
        ChatMessage(Role.ASSISTANT, "", (MadeCall("weather", '{"city": "Paris"}', "call00000"),)),
        ChatMessage(Role.TOOL, "yes", name="weather", tool_call_id="call00000"),
    ]
    conversation: list[dict[str, object]] = [
        asked,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "yes", "name": "weather", "tool_call_id": "call00000"},
    ]
    expected = reference.apply_chat_template(conversation, tools=TOOLS, add_generation_prompt=True, return_dict=False)
    assert list(codec.encode_chat(messages, Turn(TurnKind.EMPTY), told)) == expected

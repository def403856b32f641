"""Continues a conversation whose beginning is known by its tokens only.

The template renders whole conversations. So it is given a stand-in for the beginning, with placeholder
words, and what it writes after the last placeholder is what continues the context: the end of the
stand-in's last message, less what the context already has of it, and then the new messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from llmos.drivers.text.template import ChatTemplate, PlainMessage
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import Role

STAND_INS: dict[Role, tuple[Role, ...]] = {
    Role.SYSTEM: (Role.SYSTEM,),
    Role.USER: (Role.USER,),
    Role.ASSISTANT: (Role.USER, Role.ASSISTANT),
    Role.TOOL: (Role.USER, Role.ASSISTANT, Role.TOOL),
}
STAND_IN_ID = "000000000"
"""Some templates insist on nine letters or digits."""

TOGETHER = "append these messages together with the ones before them, in one call"


def continuation(
    template: ChatTemplate, messages: Sequence[PlainMessage], after: Turn, end_texts: Collection[str]
) -> str:
    """The text that continues a context. Raises `InvalidArgument` when the template allows no such continuation."""
    answered = messages[-1].role in (Role.USER, Role.TOOL)
    if after.kind is TurnKind.EMPTY:
        return _beginning(template, messages, answered)
    role = after.role if after.kind is TurnKind.CLOSED and after.role is not None else Role.ASSISTANT
    before = _stand_in(role, messages)
    placeholder = before[-1].content
    text = _after(template.render([*before, *messages], answered), placeholder)
    if any(message.content in text for message in before):
        raise InvalidArgument("this model's chat template moves earlier messages behind later ones", TOGETHER)
    if after.kind is TurnKind.OPEN:
        return _without_end(text, end_texts) if after.ended else text
    closing = _after(template.render(before, False), placeholder)
    if not text.startswith(closing):
        raise InvalidArgument(f"this model's chat template cannot go on after a message of the {role}", TOGETHER)
    return text[len(closing) :]


def _beginning(template: ChatTemplate, messages: Sequence[PlainMessage], answered: bool) -> str:
    text = template.render(messages, answered)
    if messages[-1].role == Role.SYSTEM and messages[-1].content.strip() not in text:
        raise InvalidArgument("this model's chat template shows no such message by itself", TOGETHER)
    return text


def _stand_in(role: Role, messages: Sequence[PlainMessage]) -> list[PlainMessage]:
    word = _unused_word(lambda word: any(word in message.content for message in messages))
    return [
        PlainMessage(role.value, f"{word}{number}", tool_call_id=STAND_IN_ID if role is Role.TOOL else None)
        for number, role in enumerate(STAND_INS[role])
    ]


def _unused_word(used: Callable[[str], bool]) -> str:
    word = "placeholder"
    while used(word):
        word += "x"
    return word


def _after(text: str, placeholder: str) -> str:
    _, found, after = text.rpartition(placeholder)
    if not found:
        raise InvalidArgument("this model's chat template leaves out earlier messages", TOGETHER)
    return after


def _without_end(text: str, end_texts: Collection[str]) -> str:
    stripped = text.lstrip()
    for end in end_texts:
        if end and stripped.startswith(end):
            return stripped[len(end) :]
    return text

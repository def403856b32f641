"""The codec against transformers: the same ids for conversations and texts, on the default and on small models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.drivers.models.catalogue import DEFAULT_MODEL
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.progress import SilentReporter
from llmos.drivers.models.pull import pull
from llmos.drivers.models.store import ModelStore
from llmos.drivers.text.codec import ModelTextCodec, load_codec
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi.errors import DeviceError
from llmos.syscalls.abi.words import ChatMessage, Role
from tests.text.small_models import CHATML, FOLDING, TRIMMING, chat_model, plain_model

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.e2e

EMPTY = Turn(TurnKind.EMPTY)
WORDS = st.sampled_from(
    ["hello", "  two  ", "\n\n", "12 345", "a   1", "ß€😀", "def f(x):\n\treturn", "日本", "<b>", "", "|>"]
)
CONTENTS = st.one_of(st.lists(WORDS, max_size=6).map("".join), st.text(st.characters(codec="utf-8"), max_size=30))


class Reference(Protocol):
    """The part of transformers' tokenizer that is compared."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, add_generation_prompt: bool, return_dict: bool
    ) -> list[int]:
        """The ids of a conversation."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids."""
        ...


Pair = tuple[ModelTextCodec, Reference]


def pair_of(directory: Path) -> Pair:
    """Both for one directory."""
    from transformers import AutoTokenizer

    return load_codec(directory), cast("Reference", AutoTokenizer.from_pretrained(directory))


@pytest.fixture(scope="module")
def default_pair() -> Pair:
    """The default model's."""
    store = ModelStore(models_directory(None, os.environ))
    try:
        return pair_of(pull(store, DEFAULT_MODEL, SilentReporter()).directory)
    except DeviceError as error:
        pytest.skip(f"the default model cannot be had: {error}")


@pytest.fixture(scope="module", params=[CHATML, TRIMMING, FOLDING], ids=["chatml", "trimming", "folding"])
def small_pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A small model's, with each template."""
    return pair_of(chat_model(tmp_path_factory.mktemp("chat"), request.param))


@pytest.fixture(scope="module")
def plain_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """That of a SentencePiece-like tokenizer."""
    return pair_of(plain_model(tmp_path_factory.mktemp("plain")))


def conversation(system: str | None, contents: Sequence[str]) -> list[ChatMessage]:
    """User and assistant in turns, after an optional system message."""
    roles = (Role.USER, Role.ASSISTANT)
    turns = [ChatMessage(roles[number % 2], content) for number, content in enumerate(contents)]
    return turns if system is None else [ChatMessage(Role.SYSTEM, system), *turns]


def expected(reference: Reference, messages: Sequence[ChatMessage]) -> list[int]:
    """What transformers makes of a conversation."""
    plain = [{"role": message.role.value, "content": message.content} for message in messages]
    answered = messages[-1].role is Role.USER
    return reference.apply_chat_template(plain, add_generation_prompt=answered, return_dict=False)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.none(), CONTENTS), st.lists(CONTENTS, min_size=1, max_size=5))
def test_the_default_models_conversations_have_transformers_ids(
    default_pair: Pair, system: str | None, contents: list[str]
) -> None:
    codec, reference = default_pair
    messages = conversation(system, contents)
    assert list(codec.encode_chat(messages, EMPTY)) == expected(reference, messages)


@settings(max_examples=100, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=5))
def test_small_models_conversations_have_transformers_ids(small_pair: Pair, contents: list[str]) -> None:
    codec, reference = small_pair
    messages = conversation(None, contents)
    assert list(codec.encode_chat(messages, EMPTY)) == expected(reference, messages)


@settings(max_examples=100, deadline=None)
@given(CONTENTS, CONTENTS, CONTENTS, CONTENTS)
def test_a_conversation_that_grows_has_the_ids_of_the_whole(
    default_pair: Pair, system: str, question: str, answer: str, second: str
) -> None:
    codec, reference = default_pair
    messages = conversation(system, [question, answer, second])
    asked = [*codec.encode_chat(messages[:1], EMPTY)]
    asked += codec.encode_chat(messages[1:2], Turn(TurnKind.CLOSED, Role.SYSTEM))
    assert asked == expected(reference, messages[:2])
    # A model's answer may be tokenized in many ways; here it is as the template's text would be.
    answered = expected(reference, messages[:3])[: -len(codec.encode("<|im_end|>\n", False))]
    assert [*answered, *codec.encode_chat(messages[3:], Turn(TurnKind.OPEN))] == expected(reference, messages)


@settings(max_examples=200, deadline=None)
@given(CONTENTS)
def test_plain_text_has_transformers_ids(default_pair: Pair, text: str) -> None:
    codec, reference = default_pair
    assert list(codec.encode(text, True)) == reference.encode(text)
    assert list(codec.encode(text, False)) == reference.encode(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 49151), max_size=40))
def test_tokens_have_transformers_text(default_pair: Pair, tokens: list[int]) -> None:
    codec, reference = default_pair
    assert codec.decode(tokens) == reference.decode(tokens)
    stream = codec.stream(())
    streamed = "".join(stream.push(token).text for token in tokens) + stream.flush()
    assert streamed == codec.decode([token for token in tokens if token > 16])


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("abhe <|_>\nß€"), max_size=30))
def test_a_document_with_a_beginning_of_its_own_has_transformers_ids(plain_pair: Pair, text: str) -> None:
    codec, reference = plain_pair
    assert list(codec.encode(text, True)) == reference.encode(text)


def test_special_tokens_in_plain_text_are_those_tokens_as_in_transformers(default_pair: Pair) -> None:
    codec, reference = default_pair
    text = "<|im_start|>user\nhello<|im_end|>\n"
    assert list(codec.encode(text, True)) == reference.encode(text)
    assert codec.encode(text, True)[0] == 1

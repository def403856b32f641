"""The text codec of one model: `kernel.ports.text` with the tokenizers library and the model's chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from llmos.drivers.text.model_files import ModelFiles, read_model_files
from llmos.drivers.text.pieces import Marks, PieceEncoder
from llmos.drivers.text.stream import Detokenizer, ModelTextStream, shows_each_byte
from llmos.drivers.text.template import NO_CHAT_HINT, ChatTemplate, PlainMessage
from llmos.drivers.text.tools import format_of, plain_message, read_tools, texts_of, tool_continuation
from llmos.kernel.ports.text import Turn, TurnKind
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import ChatMessage, Role, ToolFormat


class ModelTextCodec:
    """A `TextCodec`. Thread-safe."""

    def __init__(self, files: ModelFiles, now: Callable[[], datetime]) -> None:
        self._tokenizer = files.tokenizer
        self._template = None if files.template is None else ChatTemplate(files.template, files.special_tokens, now)
        self._tool_format = format_of(self._template)
        self._encoder = PieceEncoder(files.tokenizer, "" if self._template is None else self._template.literals)
        added = files.tokenizer.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        self._ends = _end_texts(files)
        self._unfinished_bytes = shows_each_byte(files.tokenizer)
        self._prefix = _document_prefix(files)

    def encode(self, text: str, first: bool) -> tuple[int, ...]:
        """Tokens of plain text. As with any tokenizer, the text of a special token in it is that token."""
        _refuse_surrogates(text)
        ids = self._encoder.encode(text, continues=not first)
        return (*self._prefix, *ids) if first else tuple(ids)

    @property
    def tool_format(self) -> ToolFormat:
        """In which form the model is asked to call tools."""
        return self._tool_format

    def encode_chat(self, messages: Sequence[ChatMessage], after: Turn, tools: str | None = None) -> tuple[int, ...]:
        """Tokens that continue a conversation. What looks like a control token in a message, or in what can be called,
        is text.
        """
        if self._template is None:
            raise InvalidArgument("this model has no chat template", NO_CHAT_HINT)
        if not messages:
            raise InvalidArgument("there are no messages to append")
        written = [self._template.literals, tools or "", *(text for one in messages for text in texts_of(one))]
        for text in written:
            _refuse_surrogates(text)
        marks = Marks.unused_in(written)
        marked = [self._marked(message, marks) for message in messages]
        specifications = None if tools is None else read_tools(tools, lambda text: self._mark(text, marks))
        text = tool_continuation(self._template, marked, after, self._ends, specifications, self._tool_format)
        return tuple(self._encoder.encode_marked(text, marks, continues=after.kind is not TurnKind.EMPTY))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens included."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def stream(self, stop: Sequence[str]) -> ModelTextStream:
        """A new stream of text."""
        return ModelTextStream(Detokenizer(self._tokenizer, self._special, self._unfinished_bytes), stop)

    def _marked(self, message: ChatMessage, marks: Marks) -> PlainMessage:
        content = self._encoder.mark(message.content, marks, message.role is Role.ASSISTANT)
        return plain_message(message, content, lambda text: self._mark(text, marks))

    def _mark(self, text: str, marks: Marks) -> str:
        return self._encoder.mark(text, marks, False)


def load_codec(directory: Path, now: Callable[[], datetime] = datetime.now) -> ModelTextCodec:
    """The codec of a model directory; `now` is for templates that write the date.

    Raises `NotFound` and `InvalidArgument`.
    """
    return ModelTextCodec(read_model_files(directory), now)


def _end_texts(files: ModelFiles) -> tuple[str, ...]:
    texts = {files.tokenizer.id_to_token(number) for number in files.end_tokens}
    return tuple(sorted((text for text in texts if text is not None), key=len, reverse=True))


def _document_prefix(files: ModelFiles) -> tuple[int, ...]:
    """What the tokenizer puts before a document. What it puts behind one would end the context, and is left out."""
    plain = files.tokenizer.encode("x", add_special_tokens=False).ids
    whole = files.tokenizer.encode("x", add_special_tokens=True).ids
    starts = (start for start in range(len(whole)) if whole[start : start + len(plain)] == plain)
    return tuple(whole[: next(starts, 0)])


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the text is no valid Unicode: {error.reason} at character {error.start}") from error

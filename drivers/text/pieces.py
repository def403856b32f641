"""Text to tokens by pieces, such that what a caller wrote never becomes a control token.

A template writes control tokens as text, and the tokenizer finds them by their text; so it would find those
in a message, too. Therefore every control token's text inside a message is put between two marks before the
template sees it. After rendering, the text is cut at the marks, and what stood between them is encoded by
the same model without its added tokens. A conversation without such text has one piece only, and its tokens
are those of the ordinary encoding.

Marks are private-use characters that occur neither in the messages nor in the template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken, Tokenizer

from llmos.syscalls.abi.errors import InvalidArgument

PRIVATE_USE = (0xE000, 0xF8FF)


@dataclass(frozen=True, slots=True)
class Marks:
    """The two characters around a control token's text."""

    begin: str
    end: str

    @staticmethod
    def unused_in(texts: Iterable[str]) -> Marks:
        """Marks that occur in none of the texts."""
        used = set().union(*texts)
        free = (chr(code) for code in range(PRIVATE_USE[0], PRIVATE_USE[1] + 1) if chr(code) not in used)
        begin, end = next(free, None), next(free, None)
        if begin is None or end is None:
            raise InvalidArgument("the messages use every private-use character of Unicode's first plane")
        return Marks(begin, end)


class PieceEncoder:
    """Encodes plain text and marked text. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, template_text: str) -> None:
        self._tokenizer = tokenizer
        added = list(tokenizer.get_added_tokens_decoder().values())
        self._special = _pattern(token for token in added if token.special)
        self._control = _pattern(token for token in added if token.special or _is_structure(token, template_text))
        self._control_ids = frozenset(
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if self._control.fullmatch(token.content)
        )
        self._newline = tokenizer.encode("\n", add_special_tokens=False).ids
        self._prepends = _prepends(tokenizer)

    @cached_property
    def _without_added(self) -> Tokenizer:
        """Made when first needed, which for most models in most lives is never."""
        return _without_added_tokens(self._tokenizer)

    def mark(self, text: str, marks: Marks, from_assistant: bool) -> str:
        """Put marks around control tokens' text.

        An assistant's own words may have added tokens that are not special, as in `<think>`: those stay
        what they are.
        """
        pattern = self._special if from_assistant else self._control
        return pattern.sub(lambda match: f"{marks.begin}{match.group()}{marks.end}", text)

    def encode(self, text: str, continues: bool) -> list[int]:
        """Tokens of text, control tokens included; `continues`: something precedes it, so nothing is put before it."""
        return self._encode_with(self._tokenizer, text, continues)

    def encode_marked(self, text: str, marks: Marks, continues: bool) -> list[int]:
        """Tokens of text in which marked control tokens are text."""
        ids: list[int] = []
        parts = re.split(f"([{marks.begin}{marks.end}])", text)
        for number in range(0, len(parts), 2):
            if parts[number]:
                # A template may cut off one of the two marks; one is enough to know.
                before, after = parts[max(number - 1, 0) : number], parts[number + 1 : number + 2]
                encode = self._as_text if marks.begin in before or marks.end in after else self.encode
                ids += encode(parts[number], continues or bool(ids))
        return ids

    def _as_text(self, text: str, continues: bool) -> list[int]:
        ids = self._encode_with(self._without_added, text, continues)
        if self._control_ids.isdisjoint(ids):
            return ids
        raise InvalidArgument(f"this model cannot tell {text!r} in a message from its control token", "leave it out")

    def _encode_with(self, tokenizer: Tokenizer, text: str, continues: bool) -> list[int]:
        if continues and self._prepends:
            # Some tokenizers put a space before every text; behind a newline it goes before the newline.
            ids = tokenizer.encode("\n" + text, add_special_tokens=False).ids
            if ids[: len(self._newline)] == self._newline:
                return ids[len(self._newline) :]
        return tokenizer.encode(text, add_special_tokens=False).ids


def _is_structure(token: AddedToken, template_text: str) -> bool:
    return bool(token.content.strip()) and token.content in template_text


def _pattern(tokens: Iterable[AddedToken]) -> re.Pattern[str]:
    longest_first = sorted((token.content for token in tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _prepends(tokenizer: Tokenizer) -> bool:
    def ids(text: str) -> Sequence[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    return [*ids("\n"), *ids("x")] != [*ids("\nx")]


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(description))

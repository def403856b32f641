"""Grammars in the form in which llguidance takes them, and the bounds of what one may cost. Free of torch.

JSON is written as Python writes it (`, ` and `: `, no other white space): a model cannot fill its tokens with blanks.
The bounds are llguidance's own. They do not bound everything: who compiles what a stranger wrote does it where it can
be ended, and nobody waits for a mask without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llmos.kernel.ports.engine import Grammar, GrammarKind

_LIMITS = LLParserLimits(
    step_lexer_fuel=100_000, max_lexer_states=50_000, max_grammar_size=200_000, verbose_errors=False
)
"""About 7 ms of lexer and 2.5 ms of parser for a mask, and 100 MB of lexer states, by llguidance's own figures."""

_BOOLEAN = {"true": "{}", "false": '{"allOf": [false]}'}
"""The same as an object, which alone can carry options."""


def load_tokenizer(directory: Path, vocabulary: int, end_tokens: Sequence[int]) -> LLTokenizer:
    """The tokenizer of a model directory as llguidance has it. Raises `ValueError`, also for a model without ends."""
    if not end_tokens:
        raise ValueError("the model has no end token, which is how a complete text ends")
    return LLTokenizer(str(directory / "tokenizer.json"), n_vocab=vocabulary, eos_token=list(end_tokens))


def matcher(tokenizer: LLTokenizer, grammar: Grammar) -> LLMatcher:
    """A matcher at the beginning of the text; what is wrong with the grammar is in its `get_error()`.

    Raises `ValueError` for a schema that is neither a JSON object nor true nor false. Releases the interpreter.
    """
    return LLMatcher(tokenizer, _source(grammar), log_level=0, limits=_LIMITS)


def _source(grammar: Grammar) -> str:
    match grammar.kind:
        case GrammarKind.SCHEMA:
            return LLMatcher.grammar_from_json_schema(
                _BOOLEAN.get(grammar.text.strip(), grammar.text),
                overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
            )
        case GrammarKind.REGEX:
            return LLMatcher.grammar_from_regex(grammar.text)

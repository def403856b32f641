"""The reference: what transformers' own `generate` says, eager and in fp32. `python -m ... MODEL_DIRECTORY OUTPUT`

Run in a process of its own, once a session; the record goes to OUTPUT as JSON. Two sets of prompts: `varied` from 5 to
1,500 tokens, and `equal`, which are all of one length. What is of one length makes a batch without padding. All texts
come with Python or with this repository.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

if TYPE_CHECKING:
    from torch import Tensor

TIE = 1e-4
"""Logits closer than this may be ordered either way."""

VARIED_TOKENS = 24
EQUAL_PROMPTS, EQUAL_LENGTH, EQUAL_TOKENS = 12, 96, 48
LENGTHS = ((5, 3), (11, 2), (31, 2), (32, 3), (33, 2), (65, 3), (129, 2), (400, 1), (1000, 1), (1500, 1))
"""How long the varied prompts are, and how many there are of each length."""

QUESTIONS = ("What is the capital of France?", "Name three colours.", "Schreib ein Gedicht über die Nordsee.")
MODULES = (
    *(
        "argparse",
        "ast",
        "asyncio.events",
        "base64",
        "bisect",
        "calendar",
        "cmd",
        "codecs",
        "collections",
        "compileall",
    ),
    *(
        "configparser",
        "contextlib",
        "copy",
        "csv",
        "datetime",
        "decimal",
        "difflib",
        "doctest",
        "email.message",
        "enum",
    ),
    *("fractions", "functools", "heapq", "inspect", "ipaddress", "json", "logging", "mailbox", "optparse", "pathlib"),
    *("pickle", "pickletools", "platform", "random", "re", "shelve", "statistics", "subprocess", "tarfile", "turtle"),
)
MOST_CHARACTERS = 12_000
LICENSE = Path(__file__).parents[2] / "LICENSE"


Tokens = tuple[int, ...]


class Said(Protocol):
    """What `generate` gives: token ids, prompt included, and for each step the logits of all rows."""

    sequences: Tensor
    logits: tuple[Tensor, ...]


class Generates(Protocol):
    """A model of transformers, as far as it is used here."""

    def generate(self, inputs: Tensor, **options: object) -> Said:
        """Continue every row."""
        ...


class Continuation(msgspec.Struct, frozen=True):
    """A prompt, its greedy continuation, and by how much each token's logit led the next best.

    `question` is what the prompt was made from with the chat template; empty for a plain text.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    margins: tuple[float, ...]
    question: str = ""


class Reference(msgspec.Struct, frozen=True):
    """Everything that was computed."""

    varied: tuple[Continuation, ...]
    equal: tuple[Continuation, ...]


def ties(reference: Continuation, tokens: Sequence[int]) -> int:
    """How many ties were decided the other way, 0 or 1: after one, nothing can be compared. Fails on a real error."""
    for position, (expected, got) in enumerate(zip(reference.tokens, tokens, strict=False)):
        if expected != got:
            margin = reference.margins[position]
            assert margin < TIE, f"token {position} is {got}, not {expected}, which leads by {margin}"
            return 1
    return 0


def _texts() -> Iterator[str]:
    """Long texts, each with another beginning."""
    yield LICENSE.read_text(encoding="utf-8")
    for name in MODULES:
        module = import_module(name)
        members = [member for _, member in sorted(vars(module).items()) if callable(member)]
        words = [inspect.getdoc(module) or "", *(inspect.getdoc(member) or "" for member in members)]
        yield f"The module {name}.\n" + "\n\n".join(words)


def main(directory: str, output: str) -> None:
    """Compute the reference and write it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", dtype=torch.float32)
    model.eval()
    model.generation_config.eos_token_id = None

    def chat(question: str) -> Tokens:
        messages = [{"role": "user", "content": question}]
        text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    texts = [tuple(tokenizer.encode(text[:MOST_CHARACTERS])) for text in _texts()]
    source = cast(Generates, model)
    varied: list[Continuation] = []
    for batch in _batches(texts):
        varied += _continue(source, batch, VARIED_TOKENS)
    for question in QUESTIONS:
        (answer,) = _continue(source, [chat(question)], VARIED_TOKENS)
        varied.append(msgspec.structs.replace(answer, question=question))
    long_ones = [tokens for tokens in texts if len(tokens) > EQUAL_LENGTH][-EQUAL_PROMPTS:]
    equal = _continue(source, [tokens[-EQUAL_LENGTH:] for tokens in long_ones], EQUAL_TOKENS)
    Path(output).write_bytes(msgspec.json.encode(Reference(tuple(varied), tuple(equal))))


def _batches(texts: Sequence[Tokens]) -> Iterator[list[Tokens]]:
    """Beginnings of texts, each of another one, in batches of one length."""
    left = sorted(texts, key=len)
    for length, count in LENGTHS:
        found = [tokens for tokens in left if len(tokens) >= length][:count]
        assert len(found) == count, f"there are not enough texts of {length} tokens"
        for tokens in found:
            left.remove(tokens)
        yield [tokens[:length] for tokens in found]


def _continue(model: Generates, prompts: Sequence[Tokens], count: int) -> list[Continuation]:
    import torch

    ids = torch.tensor(prompts)
    said = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.stack(said.logits, dim=1).topk(2).values
    margins = (best[..., 0] - best[..., 1]).tolist()
    tokens = said.sequences[:, ids.shape[1] :].tolist()
    return [Continuation(*row) for row in zip(prompts, map(tuple, tokens), map(tuple, margins), strict=True)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

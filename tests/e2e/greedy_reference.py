"""The reference: what transformers' own `generate` says, eager and in fp32. `python -m ... MODEL_DIRECTORY OUTPUT`

Run in a process of its own, once a session; the record goes to OUTPUT as JSON. Two sets of prompts: `varied` from 5 to
1,500 tokens, one after the other, and `equal`, which are all of one length, so that they make one batch without
padding. All texts come with Python or with this repository.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import msgspec

TIE = 1e-4
"""Logits closer than this may be ordered either way."""

VARIED_TOKENS = 24
EQUAL_PROMPTS, EQUAL_LENGTH, EQUAL_TOKENS = 12, 192, 64
LENGTHS = (5, 6, 8, 11, 15, 21, 31, 32, 33, 47, 63, 64, 65, 90, 128, 129, 200, 300, 450, 1000, 1250, 1500)
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

    def generate(prompts: list[tuple[int, ...]], count: int, questions: Sequence[str]) -> Iterator[Continuation]:
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
        best = torch.stack(said.logits).topk(2).values
        margins = (best[..., 0] - best[..., 1]).T
        for row, prompt in enumerate(prompts):
            tokens = said.sequences[row, len(prompt) :]
            yield Continuation(prompt, tuple(tokens.tolist()), tuple(margins[row].tolist()), questions[row])

    def chat(question: str) -> tuple[int, ...]:
        messages = [{"role": "user", "content": question}]
        return tuple(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])

    encoded = [tuple(tokenizer.encode(text[:MOST_CHARACTERS])) for text in _texts()]
    longest = sorted(encoded, key=len, reverse=True)
    plain = [tokens[:length] for length, tokens in zip(reversed(LENGTHS), longest, strict=False)]
    assert [len(tokens) for tokens in plain] == list(reversed(LENGTHS)), "the texts are too short"
    alike = [tokens[-EQUAL_LENGTH:] for tokens in longest[:EQUAL_PROMPTS]]
    varied: list[Continuation] = []
    for tokens in plain:
        varied += generate([tokens], VARIED_TOKENS, [""])
    for question in QUESTIONS:
        varied += generate([chat(question)], VARIED_TOKENS, [question])
    equal = tuple(generate(alike, EQUAL_TOKENS, [""] * EQUAL_PROMPTS))
    Path(output).write_bytes(msgspec.json.encode(Reference(tuple(varied), equal)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

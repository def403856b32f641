"""What transformers says of given continuations: `python -m tests.e2e.score_reference DIRECTORY < items > scores`.

A process of its own, because torch's threads would stay in the tests' one. Items and scores are JSON.
"""

from __future__ import annotations

import sys

import msgspec
import torch
from msgspec import Struct
from transformers import AutoModelForCausalLM


class Item(Struct, frozen=True):
    """A context and what may follow it, as token ids."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


class Expected(Struct, frozen=True):
    """The log-probability of each token, and whether it was the likeliest one."""

    logprobs: tuple[float, ...]
    likeliest: tuple[bool, ...]


@torch.inference_mode()
def main(directory: str) -> None:
    """Score the items of stdin with eager attention in single precision."""
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", dtype=torch.float32).eval()
    scores = []
    for item in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Item]):
        tokens = torch.tensor([[*item.context, *item.continuation]])
        rows = model(tokens, use_cache=False).logits[0, len(item.context) - 1 : -1].double().log_softmax(-1)
        wanted = torch.tensor(item.continuation)
        logprobs = rows.gather(1, wanted.unsqueeze(1)).squeeze(1)
        scores.append(Expected(tuple(logprobs.tolist()), tuple((rows.argmax(-1) == wanted).tolist())))
    sys.stdout.buffer.write(msgspec.json.encode(scores))


if __name__ == "__main__":
    main(sys.argv[1])

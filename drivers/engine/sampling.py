"""Choosing tokens from logits.

A draw depends on the logits, the seed and the position alone: a number in [0, 1) is derived from seed and
position, and looked up in the cumulative distribution, in double precision and in the order of token ids.
Filters apply in the order temperature, top-k, top-p, min-p, as in transformers. Log-probabilities are those
of the model's own distribution, before any of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from llmos.kernel.ports.engine import SamplingParameters

_MANTISSA = 53

_SCORED_AT_ONCE = 64
"""Rows of logits that are held in double precision."""

_NUCLEUS_GUESSES = (512, 8192)
"""So many tokens almost always hold the nucleus; finding them is much cheaper than sorting the vocabulary."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, and what was asked for about it."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def choose(
    raw: Tensor,
    parameters: Sequence[SamplingParameters],
    positions: Sequence[int],
    allowed: Tensor | None = None,
) -> list[Choice | None]:
    """A token for every row of `[rows, vocabulary]`; None for a row whose logits are not numbers.

    `positions` are those of the tokens that are chosen; `allowed` are the logits that `restrict` has left.
    """
    logits = raw if allowed is None else allowed
    if any(entry.banned for entry in parameters):
        logits = _without_banned(logits, parameters)
    best, greedy = logits.float().max(-1)
    sane = torch.isfinite(best).tolist()
    likeliest: list[int] = greedy.tolist()
    chosen: list[Choice | None] = []
    for row, (entry, position) in enumerate(zip(parameters, positions, strict=True)):
        if not sane[row]:
            chosen.append(None)
            continue
        token = likeliest[row] if entry.temperature <= 0.0 else _draw(logits[row], entry, position)
        chosen.append(_described(token, raw[row], entry))
    return chosen


def restrict(logits: Tensor, rows: Sequence[int], bits: Tensor) -> Tensor:
    """The logits, with those of tokens that `bits` does not allow at minus infinity.

    `bits` is `[rows, bytes]` of unsigned bytes, for the rows that are named; the first token is in the lowest bit.
    """
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    allowed = (bits.unsqueeze(-1) >> places & 1).flatten(1)[:, : logits.shape[1]].bool()
    restricted = logits.clone()
    restricted[list(rows)] = logits[list(rows)].masked_fill_(~allowed, -torch.inf)
    return restricted


def score(logits: Tensor, targets: Sequence[int]) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """The log-probability of each target under its row of `[targets, vocabulary]`, and whether none is likelier."""
    logprobs: list[float] = []
    likeliest: list[bool] = []
    for start in range(0, len(targets), _SCORED_AT_ONCE):
        rows = logits[start : start + _SCORED_AT_ONCE]
        wanted = torch.tensor(targets[start : start + _SCORED_AT_ONCE], device=logits.device)
        logprobs += torch.log_softmax(rows.double(), -1).gather(1, wanted.unsqueeze(1)).squeeze(1).tolist()
        likeliest += (rows.argmax(-1) == wanted).tolist()
    return tuple(logprobs), tuple(likeliest)


def uniform(seed: int, position: int) -> float:
    """The number in [0, 1) that belongs to a seed and a position."""
    digest = blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> (64 - _MANTISSA)) / (1 << _MANTISSA)


def _without_banned(logits: Tensor, parameters: Sequence[SamplingParameters]) -> Tensor:
    allowed = logits.clone()
    for row, entry in enumerate(parameters):
        if entry.banned:
            allowed[row, list(entry.banned)] = -torch.inf
    return allowed


def _draw(logits: Tensor, entry: SamplingParameters, position: int) -> int:
    scores, tokens = _candidates(logits, entry)
    weights = _filtered(scores, entry)
    cumulative = weights.cumsum(0)
    total = float(cumulative[-1])
    index = int(torch.searchsorted(cumulative, uniform(entry.seed, position) * total, right=True))
    if index == len(weights):
        index = int(weights.nonzero()[-1])
    return int(tokens[index])


def _candidates(logits: Tensor, entry: SamplingParameters) -> tuple[Tensor, Tensor]:
    """Scaled scores and their token ids, by token id; with top-k only the k best and what ties with the last
    of them.
    """
    if entry.top_k is None or entry.top_k >= len(logits):
        return logits.double() / entry.temperature, torch.arange(len(logits), device=logits.device)
    last = torch.topk(logits, max(1, entry.top_k)).values[-1]
    tokens = (logits >= last).nonzero().squeeze(1)
    return logits[tokens].double() / entry.temperature, tokens


def _filtered(scores: Tensor, entry: SamplingParameters) -> Tensor:
    """Unnormalised weights after top-p and min-p."""
    weights = torch.exp(scores - scores.max())
    if entry.top_p is not None and entry.top_p < 1.0:
        weights = _nucleus(weights, entry.top_p)
    if entry.min_p is not None and entry.min_p > 0.0:
        weights = torch.where(weights >= entry.min_p * weights.max(), weights, 0.0)
    return weights


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens until they make up `top_p`: those before which less than that was kept."""
    mass = top_p * float(weights.sum())
    for guess in _NUCLEUS_GUESSES:
        values, order = torch.topk(weights, min(len(weights), guess))
        if float(values.sum()) >= mass:
            break
    else:
        values, order = torch.sort(weights, descending=True, stable=True)
    before = values.cumsum(0) - values
    kept = order[(before < mass) | (before == 0.0)]
    return torch.zeros_like(weights).index_copy_(0, kept, weights[kept])


def _described(token: int, raw: Tensor, entry: SamplingParameters) -> Choice:
    if entry.top_logprobs is None:
        return Choice(token)
    logprobs = torch.log_softmax(raw.double(), -1)
    values, tokens = torch.topk(logprobs, min(entry.top_logprobs, len(raw)))
    top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    logprob = float(logprobs[token])
    return Choice(token, logprob if math.isfinite(logprob) else None, top)

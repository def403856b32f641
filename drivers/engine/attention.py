"""Paged attention, in the way that transformers calls attention functions.

`paged_attention` is registered under `NAME`; the step in flight comes in as the keyword `KEYWORD` of the
model's call. Keys and values of new tokens are written to their pages, then every sequence attends over its
page table.

Rules: no mask arrives from transformers (the name is in no mask table); causality and windows are applied
here. The query heads of one KV head are folded into query rows (decode) or into a batch dimension of stride
0 (prefill), never by repeating keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from llmos.drivers.engine.support import Unsupported

NAME = "llmos_paged"
KEYWORD = "llmos_step"


@dataclass(frozen=True, slots=True)
class Form:
    """What differs between the attention of layers: scale, window in tokens, soft cap of the scores."""

    scale: float
    window: int | None
    softcap: float | None


class AttentionStep(Protocol):
    """What attends for the layers of one forward pass."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """Query `[1, query_heads, tokens, head_dim]`, key and value `[1, kv_heads, ...]` to `[1, tokens,
        query_heads, head_dim]`.
        """
        ...


def install(model: PreTrainedModel) -> None:
    """Make a model call `paged_attention`."""
    AttentionInterface.register(NAME, paged_attention)
    model.set_attn_implementation(NAME)


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    llmos_step: AttentionStep | None = None,
    **unused: object,
) -> tuple[Tensor, None]:
    """The function that transformers calls in every layer. Raises `Unsupported` for what it cannot compute."""
    if llmos_step is None:
        raise Unsupported("its layers do not pass keywords of the model's call on to attention")
    if s_aux is not None or position_bias is not None:
        raise Unsupported("its attention has sinks or a position bias")
    layer = module.layer_idx
    if not isinstance(layer, int):
        raise Unsupported("its attention layers are not numbered")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return llmos_step.attend(layer, query, key, value, Form(scale, sliding_window, softcap)), None


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, form: Form) -> Tensor:
    """Attention over `[batch, heads, rows, head_dim]`; `mask` is added to the scores, `causal` is for square
    scores without a mask.
    """
    if form.softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, scale=form.scale)
    scores = torch.matmul(query, key.transpose(-1, -2)) * form.scale
    scores = torch.tanh(scores / form.softcap) * form.softcap
    if causal:
        mask = causal_mask(query.shape[-2], 0, key.shape[-2], None, scores)
    if mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype), value)


def causal_mask(rows: int, start: int, columns: int, window: int | None, like: Tensor, offset: int = 0) -> Tensor:
    """What is added to the scores of positions `start...` (rows) over positions `offset...` (columns): 0 or
    minus infinity.
    """
    row = torch.arange(start, start + rows, device=like.device).unsqueeze(1)
    column = torch.arange(offset, offset + columns, device=like.device).unsqueeze(0)
    hidden = column > row
    if window is not None:
        hidden |= column <= row - window
    return torch.zeros((rows, columns), dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)

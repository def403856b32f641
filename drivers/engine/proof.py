"""What a model's configuration cannot tell: the shape of its attention, and that paged attention computes
what the model itself does.

Both are found by running the loaded model on a few tokens. A model whose own (eager) logits come out
different through pages is refused, whatever the reason may be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llmos.drivers.engine.attention import KEYWORD, Form, attend
from llmos.drivers.engine.pools import Geometry
from llmos.drivers.engine.step import PagedStep, Scratch, Span
from llmos.drivers.engine.support import Unsupported

_LENGTH = 40
_SPLIT = 24
_EXACT, _ROUNDED = 1e-3, 0.15
"""Largest differences of logits, in standard deviations of the logits, that rounding explains: in single precision,
and where weights or activations have fewer bits. A wrong mask or page shows as a difference of the order of one.
"""


@dataclass(slots=True)
class _Recorder:
    """An attention step without pages that notes what the layers hand to it."""

    shapes: list[tuple[int, int, int, int]] = field(default_factory=list)
    forms: dict[int, Form] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        self.forms[layer] = form
        self.shapes.append((query.shape[1], key.shape[1], key.shape[3], value.shape[3]))
        groups = query.shape[1] // key.shape[1]
        out = attend(query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), None, True, form)
        return out.transpose(1, 2)


@dataclass(frozen=True, slots=True)
class FoundAttention:
    """The shape of a model's attention, and the form of each layer's."""

    geometry: Geometry
    forms: tuple[Form, ...]


@torch.inference_mode()
def own_logits(model: PreTrainedModel) -> Tensor:
    """The model's own logits for a fixed text, before anything is changed in it: `[tokens, vocabulary]`."""
    logits: Tensor = model(input_ids=_tokens(model), use_cache=False).logits
    return logits[0]


@torch.inference_mode()
def find_attention(model: PreTrainedModel, page_tokens: int) -> FoundAttention:
    """The shape of the model's attention. Raises `Unsupported` if its layers differ or do not call attention
    as expected.
    """
    recorder = _Recorder()
    model(**{"input_ids": _tokens(model), "position_ids": _positions(model), "use_cache": False, KEYWORD: recorder})
    layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    if set(recorder.forms) != set(range(layers)) or len(recorder.shapes) != layers:
        raise Unsupported(f"attention was called {len(recorder.shapes)} times by its {layers} layers")
    if len(set(recorder.shapes)) > 1:
        raise Unsupported(f"its layers differ in heads or head size: {sorted(set(recorder.shapes))}")
    query_heads, kv_heads, head_dim, value_dim = recorder.shapes[0]
    if head_dim != value_dim:
        raise Unsupported(f"its keys have {head_dim} numbers a head, its values {value_dim}")
    geometry = Geometry(layers, page_tokens, query_heads, kv_heads, head_dim, model.dtype)
    return FoundAttention(geometry, tuple(recorder.forms[layer] for layer in range(layers)))


@torch.inference_mode()
def prove(model: PreTrainedModel, geometry: Geometry, expected: Tensor, exact: bool) -> None:
    """Run the fixed text through pages, in two chunks beside another sequence, and compare. Raises
    `Unsupported`.
    """
    found = _paged_logits(model, geometry)
    difference = float((found - expected).float().abs().max() / expected.float().std())
    if not difference <= (_EXACT if exact and geometry.dtype == torch.float32 else _ROUNDED):
        raise Unsupported(f"its logits through pages differ from its own by {difference:.2g} standard deviations")


def _paged_logits(model: PreTrainedModel, geometry: Geometry) -> Tensor:
    tokens = _tokens(model)
    need = -(-_LENGTH // geometry.page_tokens)
    pool = torch.zeros((2 * need, *geometry.page_shape), dtype=geometry.dtype, device=model.device)
    table, other = tuple(range(0, 2 * need, 2)), tuple(range(1, 2 * need, 2))
    scratch = Scratch(pool, geometry)
    parts = []
    for start, end in ((0, _SPLIT), (_SPLIT, _LENGTH - 1), (_LENGTH - 1, _LENGTH)):
        spans = [Span(start, end - start, table), Span(start, end - start, other)]
        single = end - start == 1
        step = PagedStep(pool, geometry, scratch, [spans] if single else [], [] if single else spans)
        both = torch.cat((tokens[:, start:end], tokens.flip(1)[:, start:end]), 1)
        positions = _positions(model)[:, start:end].repeat(1, 2)
        logits = model(**{"input_ids": both, "position_ids": positions, "use_cache": False, KEYWORD: step}).logits
        parts.append(logits[0, : end - start])
    return torch.cat(parts)


def _tokens(model: PreTrainedModel) -> Tensor:
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    return (torch.arange(_LENGTH, device=model.device) * 7919 + 13).remainder(vocabulary).unsqueeze(0)


def _positions(model: PreTrainedModel) -> Tensor:
    return torch.arange(_LENGTH, device=model.device).unsqueeze(0)

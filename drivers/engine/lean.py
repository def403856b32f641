"""Decoder layers of the Llama kind, computed with half the operators.

On a CPU a decoding step of a small model spends as much time between operators as in them. For the families that share
Llama's layer (norm, rotary attention, norm, gated MLP) each layer is replaced by one that multiplies fused weights,
rotates queries and keys at once and normalises in one operator. Every other model keeps its own layers.

Rules: the numbers stay those of the model up to rounding; `proof` checks that after the replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llmos.drivers.engine.attention import AttentionStep, Form
from llmos.drivers.engine.pools import Geometry
from llmos.drivers.engine.products import Multiply, Product

_FAMILIES = frozenset({"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"})


def replace_layers(model: PreTrainedModel, geometry: Geometry, forms: Sequence[Form], multiply: Multiply) -> None:
    """Replace the layers of a model that has Llama's, in place; leave any other model alone."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not all(type(layer).__name__ in _FAMILIES for layer in layers):
        return
    rotation = _Rotation(geometry.head_dim)
    for index, form in enumerate(forms):
        place = _Place(index, form, geometry.query_heads, geometry.kv_heads)
        layers[index] = _LeanLayer(layers[index], place, rotation, multiply)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a layer must know of its attention."""

    layer: int
    form: Form
    query_heads: int
    kv_heads: int


class _LeanLayer(nn.Module):
    """One layer; takes over the weights of the one that it replaces."""

    def __init__(self, layer: nn.Module, place: _Place, rotation: _Rotation, multiply: Multiply) -> None:
        super().__init__()
        attention, gated = layer.get_submodule("self_attn"), layer.get_submodule("mlp")
        self._place, self._rotation = place, rotation
        self._before_attention = _norm(layer, "input_layernorm")
        self._before_mlp = _norm(layer, "post_attention_layernorm")
        self._head_norms = [_norm(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        self._inputs = _product(attention, ("q_proj", "k_proj", "v_proj"), multiply)
        self._output = _product(attention, ("o_proj",), multiply)
        self._gate_and_up = _product(gated, ("gate_proj", "up_proj"), multiply)
        self._down = _product(gated, ("down_proj",), multiply)
        self._activation = gated.get_submodule("act_fn")

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        llmos_step: AttentionStep,
        **unused: object,
    ) -> Tensor:
        attended = self._attend(self._before_attention(hidden_states), position_embeddings, llmos_step)
        hidden_states = self._output(attended).add_(hidden_states)
        gate, up = self._gate_and_up(self._before_mlp(hidden_states)).chunk(2, -1)
        return self._down(self._activation(gate).mul_(up)).add_(hidden_states)

    def _attend(self, inputs: Tensor, angles: tuple[Tensor, Tensor], step: AttentionStep) -> Tensor:
        place = self._place
        tokens, both = inputs.shape[1], place.query_heads + place.kv_heads
        heads = self._inputs(inputs).view(tokens, both + place.kv_heads, -1)
        turned = self._rotation.turn(self._normed(heads[:, :both]), angles)
        query, key = _as_batch(turned[:, : place.query_heads]), _as_batch(turned[:, place.query_heads :])
        value = _as_batch(heads[:, both:])
        return step.attend(place.layer, query, key, value, place.form).view(1, tokens, -1)

    def _normed(self, heads: Tensor) -> Tensor:
        if not self._head_norms:
            return heads
        parts = heads.split((self._place.query_heads, self._place.kv_heads), 1)
        return torch.cat([norm(part) for norm, part in zip(self._head_norms, parts, strict=True)], 1)


class _Rotation:
    """Rotary position embedding of queries and keys together; the angles are prepared once a step, for all layers."""

    def __init__(self, head_dim: int) -> None:
        self._halves = (2, head_dim // 2)
        self._known: tuple[Tensor, Tensor] | None = None
        self._prepared: tuple[Tensor, Tensor] | None = None

    def turn(self, heads: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """`[tokens, heads, head_dim]`, turned by the cosines and sines `[1, tokens, head_dim]` of its positions."""
        cosine, sine = self._prepare(angles)
        halves = heads.unflatten(-1, self._halves)
        return torch.addcmul(halves * cosine, halves.flip(-2), sine).flatten(-2)

    def _prepare(self, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if self._prepared is None or self._known is not angles:
            cosine, sine = (side[0].unsqueeze(1).unflatten(-1, self._halves) for side in angles)
            signed = torch.cat((-sine[..., :1, :], sine[..., 1:, :]), -2)
            self._known, self._prepared = angles, (cosine, signed)
        return self._prepared


def _as_batch(heads: Tensor) -> Tensor:
    """`[tokens, heads, head_dim]` as attention wants it: `[1, heads, tokens, head_dim]`."""
    return heads.transpose(0, 1).unsqueeze(0)


def _norm(module: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """Root mean square normalisation (Zhang and Sennrich 2019) with the weights of a module's part."""
    norm = module.get_submodule(name)
    weight, epsilon = norm.get_parameter("weight"), norm.variance_epsilon
    assert isinstance(epsilon, float)
    shape = list(weight.shape)
    return lambda inputs: torch.rms_norm(inputs, shape, weight, epsilon)


def _product(module: nn.Module, names: Sequence[str], multiply: Multiply) -> Product:
    linears = [module.get_submodule(name) for name in names]
    weight = torch.cat([linear.get_parameter("weight") for linear in linears])
    plain = getattr(linears[0], "bias", None) is None
    return multiply(weight, None if plain else torch.cat([linear.get_parameter("bias") for linear in linears]))

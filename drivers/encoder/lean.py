"""BERT's forward pass with nothing in it but the arithmetic: no padding, fused projections, weights in oneDNN's order.

Texts are packed: the rows of all their tokens stand one after the other, sorted by length, so that every product runs
over real tokens only, and attention over all texts of one length at once. The numbers are those of transformers'
`BertModel` in float32 (Devlin et al. 2018, section 3; `hidden_act` gelu in its exact form), up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from llmos.drivers.encoder.description import Configuration, Description, Pooling, Unsupported

Product = Callable[[Tensor], Tensor]
_USUAL_ROWS = 8
"""For how many rows at a time weights are ordered; more or fewer work, and here just as fast."""

_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, rows: Tensor) -> Tensor:
        return layer_norm(rows, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    project: Product
    """Queries, keys and values in one."""
    join: Product
    attended: _Norm
    widen: Product
    narrow: Product
    done: _Norm


class LeanEncoder:
    """One model in this process."""

    def __init__(self, description: Description, device: torch.device) -> None:
        """Load the weights. Raises `Unsupported` when some are missing."""
        self._configuration = configuration = description.configuration
        self._pooling = description.pooling
        self._device = device
        weights = _Weights(description.directory, device)
        first = configuration.first_position
        kinds = weights["embeddings.token_type_embeddings.weight"][0]
        self._words = weights[_WORDS]
        self._places = weights["embeddings.position_embeddings.weight"][first:] + kinds
        self._norm = weights.norm("embeddings.LayerNorm", configuration)
        self._layers = [_layer(weights, number, configuration) for number in range(configuration.num_hidden_layers)]

    def encode(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Vectors `[texts, dimensions]` in float32, of any length, of texts given as token ids and sorted by length."""
        lengths = [len(text) for text in texts]
        ids = torch.tensor([token for text in texts for token in text], device=self._device)
        places = torch.cat([self._places[:length] for length in lengths])
        rows = self._norm(self._words[ids] + places)
        runs = [(length, len(list(run))) for length, run in groupby(lengths)]
        for layer in self._layers:
            rows = layer.attended(layer.join(self._attend(layer.project(rows), runs)) + rows)
            rows = layer.done(layer.narrow(layer.widen(rows)) + rows)
        return self._pooled(rows, runs)

    def _attend(self, projected: Tensor, runs: Sequence[tuple[int, int]]) -> Tensor:
        heads, width = self._configuration.num_attention_heads, self._configuration.hidden_size
        parts, begin = [], 0
        for length, count in runs:
            part = projected[begin : begin + length * count]
            query, key, value = part.view(count, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            attended = scaled_dot_product_attention(query, key, value)
            parts.append(attended.transpose(1, 2).reshape(length * count, width))
            begin += length * count
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pooled(self, rows: Tensor, runs: Sequence[tuple[int, int]]) -> Tensor:
        parts, begin = [], 0
        for length, count in runs:
            texts = rows[begin : begin + length * count].view(count, length, -1)
            parts.append(texts.mean(1) if self._pooling is Pooling.MEAN else texts[:, 0])
            begin += length * count
        return torch.cat(parts)


class _Weights:
    """The tensors of a directory by the names that `BertModel` gives them, in float32."""

    def __init__(self, directory: Path, device: torch.device) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._device = device
        try:
            for path in sorted(directory.glob("*.safetensors")):
                self._tensors |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise Unsupported(f"the weights in {directory} cannot be read: {error}") from error
        found = next((name for name in self._tensors if name.endswith(_WORDS)), _WORDS)
        self._prefix = found.removesuffix(_WORDS)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors.get(self._prefix + name)
        if tensor is None:
            raise Unsupported(f"the weights lack {name}")
        return tensor.to(self._device, torch.float32).contiguous()

    def norm(self, name: str, configuration: Configuration) -> _Norm:
        """A layer norm."""
        return _Norm(self[f"{name}.weight"], self[f"{name}.bias"], configuration.layer_norm_eps)

    def product(self, *names: str, activate: bool = False) -> Product:
        """The product with one matrix, or with several as one; with `activate` its gelu."""
        weight = torch.cat([self[f"{name}.weight"] for name in names])
        bias = torch.cat([self[f"{name}.bias"] for name in names])
        return _product(weight, bias, activate)


def _layer(weights: _Weights, number: int, configuration: Configuration) -> _Layer:
    at = f"encoder.layer.{number}"
    return _Layer(
        project=weights.product(*(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))),
        join=weights.product(f"{at}.attention.output.dense"),
        attended=weights.norm(f"{at}.attention.output.LayerNorm", configuration),
        widen=weights.product(f"{at}.intermediate.dense", activate=True),
        narrow=weights.product(f"{at}.output.dense"),
        done=weights.norm(f"{at}.output.LayerNorm", configuration),
    )


def _product(weight: Tensor, bias: Tensor, activate: bool) -> Product:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        if activate:
            return lambda rows: gelu(linear(rows, weight, bias))
        return lambda rows: linear(rows, weight, bias)
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, _USUAL_ROWS)
    product: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default
    return lambda rows: product(rows, ordered, bias, *(("gelu", [], "none") if activate else ("none", [], "")))

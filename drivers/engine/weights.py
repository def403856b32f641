"""Linear layers as they are multiplied: projections of the same input fused, weights packed.

Works on any model by the names that transformers gives to its projections; what it does not recognise stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llmos.drivers.engine.products import Multiply, Product

_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3"), ("query", "key", "value"))
"""Names of projections that are siblings in one module and are fed the same tensor."""


def fuse_siblings(model: PreTrainedModel, multiply: Multiply) -> None:
    """Compute projections of the same input by one product, in place."""
    for module in list(model.modules()):
        for names in _SAME_INPUT:
            _fuse(module, names, multiply)


def pack_linears(model: PreTrainedModel, multiply: Multiply) -> None:
    """Replace every linear layer by a product, in place."""
    for parent, name, linear in list(_linears(model)):
        setattr(parent, name, _Multiplied(multiply(linear.weight, linear.bias)))


class _Multiplied(nn.Module):
    """Stands in for a linear layer."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self._product = product

    def forward(self, inputs: Tensor) -> Tensor:
        return self._product(inputs)


class _Fusion:
    """One product for several projections; the first of them that sees an input computes it for all."""

    def __init__(self, product: Product, sizes: Sequence[int]) -> None:
        self._product = product
        self._sizes = list(sizes)
        self._inputs: Tensor | None = None
        self._parts: tuple[Tensor, ...] = ()

    def part(self, inputs: Tensor, index: int) -> Tensor:
        """One projection of `inputs`, which is recognised by its identity: it is held until another one comes."""
        if self._inputs is not inputs:
            self._inputs, self._parts = inputs, self._product(inputs).split(self._sizes, -1)
        return self._parts[index]


class _Projection(nn.Module):
    """Stands in for one of the projections of a fusion."""

    def __init__(self, fusion: _Fusion, index: int) -> None:
        super().__init__()
        self._fusion, self._index = fusion, index

    def forward(self, inputs: Tensor) -> Tensor:
        return self._fusion.part(inputs, self._index)


def _fuse(module: nn.Module, names: Sequence[str], multiply: Multiply) -> None:
    linears = [child for name in names if type(child := getattr(module, name, None)) is nn.Linear]
    if len(linears) < len(names) or len({_kind(linear) for linear in linears}) > 1:
        return
    weight = torch.cat([linear.weight for linear in linears])
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    fusion = _Fusion(multiply(weight, bias), [linear.out_features for linear in linears])
    for index, name in enumerate(names):
        setattr(module, name, _Projection(fusion, index))


def _kind(linear: nn.Linear) -> tuple[int, bool, torch.dtype]:
    return linear.in_features, linear.bias is not None, linear.weight.dtype


def _linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                yield parent, name, child

"""Products with a weight matrix, in the formats that the engine keeps weights in.

`fp16` keeps weights in half precision and computes in float32 (fbgemm); `exact` keeps what it is given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""`[..., inputs]` to a new tensor `[..., outputs]`."""

Multiply = Callable[[Tensor, Tensor | None], Product]
"""Makes a product of a weight `[outputs, inputs]` and a bias."""

_HALF_LIMIT = torch.finfo(torch.float16).max


def exact(weight: Tensor, bias: Tensor | None) -> Product:
    """The weights as they are."""
    return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)


def half(weight: Tensor, bias: Tensor | None) -> Product:
    """Weights packed in half precision, unless there are numbers that it cannot hold."""
    if float(weight.abs().max()) > _HALF_LIMIT:
        return exact(weight, bias)
    packed = torch.ops.quantized.linear_prepack_fp16(weight.float().contiguous(), bias)
    product: Callable[[Tensor, object], Tensor] = torch.ops.quantized.linear_dynamic_fp16.default
    return lambda inputs: product(inputs, packed)

"""Products with a weight matrix, in the formats that the engine keeps weights in.

`fp16` keeps weights in half precision and computes in float32 (fbgemm); `exact` keeps single precision (oneDNN).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""`[..., inputs]` to a new tensor `[..., outputs]`."""

Multiply = Callable[[Tensor, Tensor | None], Product]
"""Makes a product of a weight `[outputs, inputs]` and a bias."""

_USUAL_ROWS = 8
"""For how many rows at a time weights are ordered; more or fewer work, and here just as fast."""

_HALF_LIMIT = torch.finfo(torch.float16).max


def half_is_possible() -> bool:
    """Whether this machine's torch has the kernels of `half`."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def exact(weight: Tensor, bias: Tensor | None) -> Product:
    """The weights as they are, in the order in which the processor reads them where oneDNN knows it."""
    if not torch.backends.mkldnn.is_available():
        return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _USUAL_ROWS)
    product: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default
    return lambda inputs: product(inputs, ordered, bias, "none", [], "")


def half(weight: Tensor, bias: Tensor | None) -> Product:
    """Weights packed in half precision, unless there are numbers that it cannot hold."""
    if float(weight.abs().max()) > _HALF_LIMIT:
        return exact(weight, bias)
    packed = torch.ops.quantized.linear_prepack_fp16(weight.float().contiguous(), bias)
    product: Callable[[Tensor, object], Tensor] = torch.ops.quantized.linear_dynamic_fp16.default
    return lambda inputs: product(inputs, packed)

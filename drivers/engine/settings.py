"""What an engine is told when it starts. Free of torch: the kernel builds it and sends it to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    """Where the model runs; `auto` takes a GPU when there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class WeightFormat(StrEnum):
    """How the linear layers keep their weights; `auto` is `fp16` on a CPU and `exact` on a GPU.

    `exact` is the model's own numbers, `fp16` keeps half-precision weights and computes in the model's
    precision.
    """

    AUTO = "auto"
    EXACT = "exact"
    FP16 = "fp16"
    INT8 = "int8"


class NumberFormat(StrEnum):
    """The precision of activations and KV; `auto` is float32 on a CPU and the model's own on a GPU."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of one engine. None leaves a size to the engine, which knows its device.

    `directory` holds the model in the transformers format. `device_pages` goes before `device_memory`
    (bytes); `host_memory` is the size of the shared host pool in bytes. `step_tokens` bounds the tokens of a
    plan, `max_batch` its sequences, `threads` the CPU threads of the linear algebra.
    """

    model: str
    directory: str
    device: DeviceKind = DeviceKind.AUTO
    dtype: NumberFormat = NumberFormat.AUTO
    weights: WeightFormat = WeightFormat.AUTO
    page_tokens: int | None = None
    device_pages: int | None = None
    device_memory: int | None = None
    host_memory: int = 1 << 30
    step_tokens: int | None = None
    max_batch: int | None = None
    threads: int | None = None

"""From settings to a running engine: choose the device, load and check the model, size the pools, say what
came out.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

from llmos.drivers.engine.attention import install
from llmos.drivers.engine.lean import replace_layers
from llmos.drivers.engine.masks import GrammarMasks
from llmos.drivers.engine.pools import Geometry, PagePools, host_pool
from llmos.drivers.engine.products import exact, half, half_is_possible
from llmos.drivers.engine.proof import FoundAttention, find_attention, own_logits, prove
from llmos.drivers.engine.runner import Runner
from llmos.drivers.engine.settings import DeviceKind, EngineSettings, NumberFormat, WeightFormat
from llmos.drivers.engine.support import Unsupported, check_configuration, context_limit
from llmos.drivers.engine.weights import fuse_siblings, pack_linears
from llmos.kernel.ports.engine import Ready

_CUDA_RESERVE = 1 << 31
_HASH_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and how the model computes, with the sizes that go with it."""

    device: torch.device
    dtype: NumberFormat
    weights: WeightFormat
    page_tokens: int
    step_tokens: int
    max_batch: int
    lookahead: int


def import_model_code(directory: str) -> None:
    """Import the code of the model in a directory, without loading it; says nothing when there is none."""
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError):
        return
    MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def load_engine(settings: EngineSettings, host: int) -> tuple[Runner, Ready]:
    """Everything up to the first plan. Raises `Unsupported` for what will never work."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    place = _place(settings)
    with ThreadPoolExecutor(1) as hashing:
        digest = hashing.submit(_digest, Path(settings.directory))
        model, geometry = _load_model(settings, place)
        return _assemble(settings, place, model, geometry, host, digest)


def _place(settings: EngineSettings) -> _Place:
    cuda = _wants_cuda(settings.device)
    weights = settings.weights
    if weights is WeightFormat.INT8:
        raise Unsupported("engine.weights = int8: its accuracy is not proven; use fp16 or exact")
    if weights is WeightFormat.AUTO:
        weights = WeightFormat.EXACT if cuda or not half_is_possible() else WeightFormat.FP16
    if weights is WeightFormat.FP16 and not cuda and not half_is_possible():
        raise Unsupported("engine.weights = fp16: this machine's torch has no fbgemm; use exact")
    dtype = settings.dtype
    if not cuda and dtype not in (NumberFormat.AUTO, NumberFormat.FLOAT32):
        raise Unsupported(f"engine.dtype = {dtype.value}: on a CPU the engine computes in float32")
    if cuda and weights is WeightFormat.FP16 and dtype is NumberFormat.AUTO:
        dtype = NumberFormat.FLOAT16
    if not cuda:
        dtype = NumberFormat.FLOAT32
        torch.set_num_threads(settings.threads or len(os.sched_getaffinity(0)))
    return _Place(
        device=torch.device("cuda" if cuda else "cpu"),
        dtype=dtype,
        weights=weights,
        page_tokens=settings.page_tokens or (16 if cuda else 32),
        step_tokens=settings.step_tokens or (2048 if cuda else 64),
        max_batch=settings.max_batch or (256 if cuda else 32),
        lookahead=1 if cuda else 0,
    )


def _wants_cuda(kind: DeviceKind) -> bool:
    match kind:
        case DeviceKind.CPU:
            return False
        case DeviceKind.CUDA:
            if not torch.cuda.is_available():
                raise Unsupported("engine.device = cuda: there is no usable CUDA device")
            return True
        case DeviceKind.AUTO:
            return torch.cuda.is_available()


def _load_model(settings: EngineSettings, place: _Place) -> tuple[PreTrainedModel, Geometry]:
    config = _configuration(settings)
    check_configuration(settings.model, config)
    dtype = "auto" if place.dtype is NumberFormat.AUTO else getattr(torch, place.dtype.value)
    model = AutoModelForCausalLM.from_pretrained(
        settings.directory, config=config, dtype=dtype, local_files_only=True, attn_implementation="eager"
    )
    model = model.eval().requires_grad_(False).to(place.device)
    try:
        expected = own_logits(model)
        install(model)
        found = find_attention(model, place.page_tokens)
        _speed_up(model, found, place)
        prove(model, found.geometry, expected, exact=place.weights is WeightFormat.EXACT)
    except Unsupported as error:
        raise Unsupported(f"model {settings.model!r} ({config.model_type}) is not supported: {error}") from error
    gc.collect()
    return model, found.geometry


def _speed_up(model: PreTrainedModel, found: FoundAttention, place: _Place) -> None:
    """On a CPU, bring layers and weights into the form in which they are computed fastest."""
    if place.device.type != "cpu":
        return
    multiply = half if place.weights is WeightFormat.FP16 else exact
    replace_layers(model, found.geometry, found.forms, multiply)
    fuse_siblings(model, multiply)
    pack_linears(model, multiply)


def _configuration(settings: EngineSettings) -> PretrainedConfig:
    if not (Path(settings.directory) / "config.json").is_file():
        raise Unsupported(f"model {settings.model!r}: there is no config.json in {settings.directory}")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(settings.directory, local_files_only=True)
    except ValueError as error:
        raise Unsupported(f"model {settings.model!r}: {error}") from error
    return config


def _assemble(
    settings: EngineSettings, place: _Place, model: PreTrainedModel, geometry: Geometry, host: int, digest: Future[str]
) -> tuple[Runner, Ready]:
    pages = _device_pages(settings, place.device, geometry)
    pools = PagePools(geometry, pages, host_pool(geometry, host, settings.host_memory), place.device)
    dtype = str(geometry.dtype).removeprefix("torch.")
    ready = Ready(
        model=settings.model,
        fingerprint=f"{digest.result()}-{dtype}-{place.weights.value}-{geometry.page_tokens}",
        device=_device_name(place.device),
        dtype=dtype,
        weights=place.weights.value,
        page_tokens=geometry.page_tokens,
        page_bytes=geometry.page_bytes,
        device_pages=pages,
        host_pages=pools.host.shape[0],
        context_limit=context_limit(model.config),
        vocabulary=int(model.config.get_text_config(decoder=True).vocab_size),
        end_tokens=_end_tokens(model),
        step_tokens=place.step_tokens,
        max_batch=place.max_batch,
        lookahead=place.lookahead,
    )
    masks = GrammarMasks(Path(settings.directory), ready.vocabulary, ready.end_tokens)
    return Runner(model, pools, masks), ready


def _device_pages(settings: EngineSettings, device: torch.device, geometry: Geometry) -> int:
    if settings.device_pages is not None:
        return settings.device_pages
    memory = settings.device_memory
    if memory is None:
        memory = _free_memory(device)
    pages = memory // geometry.page_bytes
    if pages == 0:
        raise Unsupported(f"engine.device_memory = {memory} bytes: a page takes {geometry.page_bytes}")
    return pages


def _free_memory(device: torch.device) -> int:
    """What the pool may take when nobody said: an eighth of what is free on a CPU, all but a reserve on a
    GPU.
    """
    if device.type == "cpu":
        return psutil.virtual_memory().available // 8
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(0, free - _CUDA_RESERVE)


def _device_name(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"


def _end_tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """The ids after which a generation ends: the generation settings', else the configuration's."""
    for source in (model.generation_config, model.config.get_text_config(decoder=True)):
        end = getattr(source, "eos_token_id", None)
        if end is not None:
            return tuple(end) if isinstance(end, list) else (int(end),)
    return ()


def _digest(directory: Path) -> str:
    """A digest of everything that decides the numbers: weights, configuration and tokenizer."""
    total = hashlib.sha256()
    for path in sorted(_model_files(directory)):
        total.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                total.update(block)
    return total.hexdigest()[:32]


def _model_files(directory: Path) -> Iterator[Path]:
    names = ("*.safetensors", "*.bin", "config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
    for name in names:
        yield from directory.glob(name)

"""The peer of the engine: `generate` of transformers, eager attention, fp32, batches padded on the left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from bench.inside import Timed

_PAD = 0


class EagerTransformers:
    """The model as transformers loads and runs it."""

    def __init__(self, directory: Path) -> None:
        transformers_logging.disable_progress_bar()
        self._model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
        self._model.generation_config.eos_token_id = None
        self._model.generation_config.pad_token_id = _PAD

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], new: int) -> Timed:
        """Greedy tokens after every prompt, with times."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[_PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        watch = _Watch()
        began = time.perf_counter()
        output: Tensor = self._model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=new,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
        ended = time.perf_counter()
        tokens = tuple(tuple(row) for row in output[:, longest:].tolist())
        return Timed(watch.first - began, ended - watch.first, tokens)


class _Watch(StoppingCriteria):
    """Is asked after every token, and notes when the first one was there."""

    def __init__(self) -> None:
        self.first = 0.0

    def __call__(self, input_ids: Tensor, scores: Tensor, **unused: object) -> Tensor:
        if self.first == 0.0:
            self.first = time.perf_counter()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

"""The models of the family that `lean` does not know, computed by transformers' own code, padded and masked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging

from llmos.drivers.encoder.description import Description, Pooling, Unsupported


class EagerEncoder:
    """One model in this process."""

    def __init__(self, description: Description, device: torch.device) -> None:
        """Load it. Raises `Unsupported`."""
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._device = device
        self._pooling = description.pooling
        self._padding = description.configuration.pad_token_id or 0
        self._model = _load(description)
        # transformers wraps this method in a way that hides what it takes.
        self._model.to(device)  # type: ignore[arg-type]

    def encode(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Vectors `[texts, dimensions]` in float32 of texts, given as token ids; not normalised."""
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[self._padding] * (longest - len(text))] for text in texts], device=self._device)
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=self._device)
        states: Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if self._pooling is Pooling.FIRST:
            return states[:, 0]
        weights = mask.unsqueeze(-1).float()
        return (states * weights).sum(1) / weights.sum(1)


def _load(description: Description) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModel.from_pretrained(
            str(description.directory), dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise Unsupported(f"transformers cannot load it: {error}") from error
    model.eval().requires_grad_(False)
    return model

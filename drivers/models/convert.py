"""Converts a GGUF file into a transformers directory; a program of its own, run once for each model.

`python -m llmos.drivers.models.convert GGUF DIRECTORY`. It is the only part of the store that imports torch
and transformers, and being its own OS process it gives their memory back. Each line on stdout names the
stage that begins; `STAGES` has them all, in order. The directory must exist and be empty; it is whole when
the exit status is 0. Status 3: this kind of model cannot be converted, and the last line on stderr says
why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmos.drivers.models.gguf_header import read_header
from llmos.drivers.models.tokenizer_repair import repair_tokenizer
from llmos.syscalls.abi.errors import Error, NotSupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STAGES = (
    "loading the libraries",
    "reading the tokenizer",
    "unpacking the weights",
    "writing the weights",
    "done",
)
CANNOT_CONVERT = 3
THREADS = 2


def convert(source: Path, target: Path) -> None:
    """Unpack weights to fp32 and write configuration, weights, tokenizer and template."""
    _announce(0)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    torch.set_num_threads(THREADS)
    folder, file = str(source.parent), source.name
    _announce(1)
    AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
    repair_tokenizer(target, read_header(source))
    _announce(2)
    # Without `dequantize` the weights would stay packed, which is slow to run and cannot be saved.
    unpacked = GgufConfig(dequantize=True)
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, quantization_config=unpacked, dtype=torch.float32, output_loading_info=True
    )
    model, loading = cast("tuple[PreTrainedModel, dict[str, set[object]]]", loaded)
    # Weights that the file lacks would be filled with random numbers, and nobody would be told.
    absent = sorted(map(str, loading["missing_keys"] | loading["mismatched_keys"]))
    if absent:
        raise NotSupported(f"the file lacks {len(absent)} weights of the model, among them {absent[0]}")
    _announce(3)
    model.save_pretrained(target)
    _announce(4)


def _announce(stage: int) -> None:
    print(STAGES[stage], flush=True)


def main() -> int:
    """Convert as told on the command line."""
    source, target = (Path(argument) for argument in sys.argv[1:3])
    try:
        convert(source, target)
    except (ValueError, KeyError, NotImplementedError, Error) as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        return CANNOT_CONVERT
    return 0


if __name__ == "__main__":
    sys.exit(main())

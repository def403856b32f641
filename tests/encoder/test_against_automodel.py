"""Vectors are those of transformers: `AutoModel`, mean over the tokens, length 1. The default model, small ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from llmos.drivers.encoder.description import Unsupported
from llmos.drivers.encoder.encoder import Encoder, load_encoder
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.kernel.ports.encoder import Encoded, EncodeOrder, EncoderReady
from tests.encoder.conftest import SmallEncoder
from tests.encoder.small_encoders import WORDS, small_tokenizer

CLOSE = 1e-4

ODD = (
    "",
    " ",
    "\n\t",
    ".",
    "a",
    "?!...,,;:()",
    "\u0000",
    "\u200b\u200d\ufeff",
    "naïve café Ünïcode ÅÄÖ",
    "日本語のテキストと漢字",
    "Приве́т, мир",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦 family 🎉🎉🎉",
    "x" * 300,
    "supercalifragilisticexpialidocious " * 3,
    "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "CamelCase and snake_case and kebab-case",
    "1234567890 3.14159 -7e10",
    "http://example.org/path?query=1#anchor",
    "line one\nline two\r\nline three",
)


def texts() -> list[str]:
    """Odd ones, and sentences of every length up to far beyond what the model takes."""
    source = random.Random(7)
    words = [
        "the",
        "a",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "lazy",
        "dogs",
        "while",
        "seventeen",
        "pelicans",
        "debate",
        "monetary",
        "policy",
        "in",
        "autumn",
    ]
    lengths = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 254, 255, 300, 700)
    sentences = [" ".join(source.choices(words, k=length)) for length in lengths for _ in range(2)]
    return [*ODD, *sentences]


def load(directory: Path) -> tuple[Encoder, EncoderReady]:
    """The encoder of a directory, on the CPU."""
    return load_encoder(EncoderSettings("model", str(directory), "f" * 64, DeviceKind.CPU))


def rows(encoded: Encoded, ready: EncoderReady) -> np.ndarray:
    """The vectors as a matrix."""
    return np.frombuffer(encoded.vectors, "<f4").reshape(-1, ready.dimensions)


def pooled(model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """What sentence-transformers makes of token vectors."""
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).float()
    means = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return np.asarray(torch.nn.functional.normalize(means, dim=1))


def expected(directory: Path, asked: Sequence[str], longest: int) -> np.ndarray:
    """The same by transformers' own code."""
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = AutoModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32).eval()
    parts = []
    for begin in range(0, len(asked), 16):
        part = list(asked[begin : begin + 16])
        batch = tokenizer(part, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        parts.append(pooled(model, batch["input_ids"], batch["attention_mask"]))
    return np.concatenate(parts)


def test_the_default_encoders_vectors_are_transformers(minilm: Path) -> None:
    asked = texts()
    assert len(asked) >= 50
    encoder, ready = load(minilm)
    assert (ready.dimensions, ready.max_tokens) == (384, 256)
    encoded = encoder.run(EncodeOrder(1, tuple(asked)))
    found = rows(encoded, ready)
    difference = np.abs(found - expected(minilm, asked, ready.max_tokens)).max(axis=1)
    assert difference.max() < CLOSE, asked[int(difference.argmax())][:60]
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    whole = AutoTokenizer.from_pretrained(minilm, local_files_only=True)(asked, verbose=False)["input_ids"]
    assert encoded.cut == tuple(index for index, ids in enumerate(whole) if len(ids) > ready.max_tokens)
    assert max(encoded.tokens) == ready.max_tokens


def test_a_vector_does_not_depend_on_its_company_or_its_place(minilm: Path) -> None:
    encoder, ready = load(minilm)
    asked = texts()
    together = rows(encoder.run(EncodeOrder(1, tuple(asked))), ready)
    turned = rows(encoder.run(EncodeOrder(2, tuple(reversed(asked)))), ready)[::-1]
    alone = np.concatenate([rows(encoder.run(EncodeOrder(3, (text,))), ready) for text in asked])
    assert np.abs(together - turned).max() < 1e-5
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("kind", ["bert", "bert-relu", "roberta", "distilbert", "masked"])
def test_small_models_of_the_family_are_computed_as_by_transformers(small_encoder: SmallEncoder, kind: str) -> None:
    directory = small_encoder(kind)
    encoder, ready = load(directory)
    source = random.Random(3)
    asked = [" ".join(source.choices(WORDS[4:], k=length)) for length in (1, 2, 2, 9, 9, 20, 20, 60)]
    found = rows(encoder.run(EncodeOrder(1, tuple(asked))), ready)
    tokenizer = small_tokenizer()
    tokenizer.enable_truncation(ready.max_tokens)
    model = AutoModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32).eval()
    for index, text in enumerate(asked):
        ids = torch.tensor([tokenizer.encode(text).ids])
        assert np.abs(found[index] - pooled(model, ids, torch.ones_like(ids))[0]).max() < CLOSE


@pytest.mark.parametrize(("kind", "words"), [("gpt2", "gpt2 is none"), ("bert-decoder", "configured as a decoder")])
def test_other_models_are_refused_by_name(small_encoder: SmallEncoder, kind: str, words: str) -> None:
    with pytest.raises(Unsupported, match=f"model 'model' is not supported: .*{words}"):
        load(small_encoder(kind))


def write(directory: Path, modules: str, pooling: str) -> None:
    """What sentence-transformers keeps beside a model."""
    (directory / "1_Pooling").mkdir(exist_ok=True)
    (directory / "modules.json").write_text(modules)
    (directory / "1_Pooling" / "config.json").write_text(pooling)


MODULES = '[{"path": "", "type": "st.Transformer"}, {"path": "1_Pooling", "type": "st.Pooling"}]'


def test_pooling_by_the_first_token_and_a_shorter_limit_are_honoured(
    small_encoder: SmallEncoder, tmp_path: Path
) -> None:
    directory = tmp_path / "model"
    directory.symlink_to(small_encoder("bert"), target_is_directory=True)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    write(copy, MODULES, '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    encoder, ready = load(copy)
    encoded = encoder.run(EncodeOrder(1, ("w1 w2 w3 w4 w5 w6 w7 w8 w9",)))
    assert (encoded.tokens, encoded.cut, ready.max_tokens) == ((8,), (0,), 8)
    model = AutoModel.from_pretrained(copy, local_files_only=True, dtype=torch.float32).eval()
    ids = torch.tensor([[1, 4 + 1, 4 + 2, 4 + 3, 4 + 4, 4 + 5, 4 + 6, 2]])
    with torch.inference_mode():
        first = torch.nn.functional.normalize(model(input_ids=ids).last_hidden_state[:, 0], dim=1)
    assert np.abs(rows(encoded, ready) - np.asarray(first)).max() < CLOSE


@pytest.mark.parametrize(
    ("modules", "pooling", "words"),
    [
        (MODULES, '{"pooling_mode_max_tokens": true}', "pooling_mode_max_tokens"),
        (MODULES, "{}", "none"),
        (MODULES, "{", "not what it should be"),
        (MODULES[:-1] + ', {"path": "2_Dense", "type": "st.Dense"}]', "{}", "Dense"),
    ],
)
def test_what_sentence_transformers_would_do_and_this_does_not_is_refused(
    small_encoder: SmallEncoder, tmp_path: Path, modules: str, pooling: str, words: str
) -> None:
    for path in small_encoder("bert").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write(tmp_path, modules, pooling)
    with pytest.raises(Unsupported, match=words):
        load(tmp_path)


def test_weights_that_lack_a_tensor_are_refused(small_encoder: SmallEncoder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in small_encoder("bert").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(Unsupported, match=r"lack encoder\.layer\.1\.output\.dense\.weight"):
        load(tmp_path)

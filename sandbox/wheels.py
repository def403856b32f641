"""The packages that an app asks for, as files: pip fetches and unpacks wheels, and runs nothing of them.

Whatever settings pip has here decide where wheels come from; the build of an image needs no network.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from llmos.syscalls.abi import errors as abi

SECONDS: Final = 900


def wheel_files(packages: Sequence[str], say: Callable[[str], None]) -> dict[str, bytes]:
    """Contents by path below a folder for packages. Raises `NotFound` for one that cannot be had as a wheel."""
    if not packages:
        return {}
    say(f"fetching {', '.join(packages)}")
    with TemporaryDirectory(prefix="llmos-wheels-") as folder:
        _install(packages, folder)
        root = Path(folder)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _install(packages: Sequence[str], folder: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--target", folder, "--", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise abi.TimedOut(f"pip did not have {', '.join(packages)} after {SECONDS} s") from None
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip failed")
        raise abi.NotFound(f"{', '.join(packages)} cannot be had as wheels: {last}", "image.packages names them")

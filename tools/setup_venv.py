"""Makes `.venv` with llmos and its tools in it. Standard library only; a second run does nothing.

torch comes first and alone, because which build is right depends on the machine:

- `LLMOS_TORCH` in the environment (arguments of `pip install`) wins;
- on a machine with an NVIDIA GPU, a CUDA torch that the base interpreter has is kept, else plain `torch`;
- elsewhere, the pinned CPU build when pip finds it where it is configured to look, else the pinned version.

A stamp in `.venv` names what it was made from; when that changes, the installation is brought up to date.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "llmos-setup.stamp"
CANDIDATES = ("torch==2.13.0+cpu", "torch==2.13.0", "torch")
HAS_TORCH = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
HAS_CUDA_TORCH = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def main() -> int:
    """Bring `.venv` up to date; the exit code says whether that worked."""
    if is_up_to_date():
        return 0
    try:
        make_venv()
        install_torch()
        say("installing llmos and its tools")
        pip("install", "--editable", ".[dev]")
    except subprocess.CalledProcessError as error:
        say(f"failed: {shlex.join(map(str, error.cmd))}")
        return 1
    STAMP.write_text(f"{fingerprint()}\n{os.environ.get('LLMOS_TORCH', '')}\n")
    say("ready")
    return 0


def is_up_to_date() -> bool:
    """Whether the stamp names what is there now; a torch once chosen by override stays when none is given."""
    if not (STAMP.is_file() and PYTHON.exists()):
        return False
    made_from, override = STAMP.read_text().splitlines()
    return made_from == fingerprint() and os.environ.get("LLMOS_TORCH", override) == override


def fingerprint() -> str:
    """What the installation depends on: settings, this script, the interpreter, the place."""
    digest = hashlib.sha256()
    for part in (
        (ROOT / "pyproject.toml").read_bytes(),
        Path(__file__).read_bytes(),
        sys.version.encode(),
        str(ROOT).encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def make_venv() -> None:
    """Create `.venv`, on top of the base interpreter's packages when those hold a torch for the GPU."""
    if PYTHON.exists() and succeeds(PYTHON, "-m", "pip", "--version"):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    shared = ["--system-site-packages"] if base_has_cuda_torch() else []
    say("making .venv" + (" over the base interpreter's CUDA torch" if shared else ""))
    try:
        run(sys.executable, "-m", "venv", *shared, VENV)
    except subprocess.CalledProcessError:
        say("hint: this Python cannot make virtual environments; Debian and Ubuntu: install python3-venv")
        raise


def install_torch() -> None:
    """Install the torch that suits the machine, unless `.venv` sees one already."""
    override = os.environ.get("LLMOS_TORCH")
    if override:
        say(f"installing torch as LLMOS_TORCH says: {override}")
        pip("install", *shlex.split(override))
    elif not succeeds(PYTHON, "-c", HAS_TORCH):
        requirement = "torch" if has_nvidia_gpu() else torch_without_cuda()
        say(f"installing {requirement}")
        pip("install", requirement)


def torch_without_cuda() -> str:
    """The first candidate that pip can find; a hint when that brings CUDA packages all the same."""
    say("looking for a torch without CUDA")
    for candidate in CANDIDATES:
        names = packages_pulled_by(candidate)
        if any(name.lower().startswith(("nvidia-", "cuda-")) for name in names):
            say("hint: pip finds only the CUDA build of torch: several GB, but it works without a GPU, too")
            say('hint: smaller: make setup LLMOS_TORCH="torch==VERSION --index-url WHERE_THE_CPU_WHEELS_ARE"')
        if names:
            return candidate
    return CANDIDATES[-1]


def packages_pulled_by(requirement: str) -> list[str]:
    """Names of what pip would install for a requirement; none when pip cannot find it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        if not succeeds(PYTHON, "-m", "pip", "install", "--dry-run", "--report", report, requirement):
            return []
        return [package["metadata"]["name"] for package in json.loads(report.read_text())["install"]]


def base_has_cuda_torch() -> bool:
    """Whether the base interpreter has a torch that sees the GPU."""
    return has_nvidia_gpu() and succeeds(sys.executable, "-c", HAS_CUDA_TORCH)


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver shows a device."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def pip(*arguments: str) -> None:
    """Run pip of `.venv`, with its progress shown."""
    run(PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> None:
    """Run a command in the repository; raises `CalledProcessError` when it fails."""
    subprocess.run(command, cwd=ROOT, check=True)


def succeeds(*command: str | Path) -> bool:
    """Whether a command ends with 0; what it prints is dropped."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def say(text: str) -> None:
    """Tell the user what happens."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

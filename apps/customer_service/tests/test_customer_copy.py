"""A copy of the app's folder, anywhere, is a program by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from .conftest import FOLDER


def test_a_copy_runs_under_its_own_name(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / FOLDER.name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    ran = subprocess.run(
        [sys.executable, "-m", FOLDER.name, "--help"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "usage: customer_service" in ran.stdout


def test_every_permission_says_why_and_none_is_asked_for_twice() -> None:
    manifest = tomllib.loads((FOLDER / "app.toml").read_text())
    asked = [(one["object"], one["action"]) for one in manifest["permissions"]]
    assert len(set(asked)) == len(asked)
    assert all(one["why"] for one in manifest["permissions"])
    assert manifest["name"] == FOLDER.name

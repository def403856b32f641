"""What the manifest asks for: the cases of `policy.yaml` hold for the rules that it becomes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from llmos.apps.recommender.tests.conftest import APP, manifest_rules


def test_the_manifest_allows_what_the_app_needs_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "recommender.csv").write_text(manifest_rules(), encoding="utf-8")
    command = [sys.executable, "-m", "llmos.kernel.security.policy", "test", str(APP / "policy.yaml")]
    done = subprocess.run(
        [*command, "--policy", str(tmp_path / "recommender.csv")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_of_the_image_is_pinned_and_none_is_torch() -> None:
    packages = tomllib.loads((APP / "app.toml").read_text(encoding="utf-8"))["image"]["packages"]
    names = [package.partition("==") for package in packages]
    assert all(version for _, _, version in names)
    assert "torch" not in {name for name, _, _ in names}

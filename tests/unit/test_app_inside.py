"""What runs first in a container: it begins the app with its arguments, and leaves the input to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmos.sandbox import inside

APP = """
import os, sys
print(sys.argv[1:], end=" ")
sys.stdout.flush()
while data := os.read(0, 100):
    os.write(1, data)
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with an app that says its arguments and its input."""
    package = tmp_path / "echo"
    package.mkdir()
    (package / "__main__.py").write_text(APP, encoding="utf-8")
    return tmp_path


def said(folder: Path, given: bytes) -> bytes:
    """Everything that it says when this is its input."""
    command = [sys.executable, str(inside.__file__), "echo"]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        command, input=given, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": path}, timeout=60
    )
    return done.stdout


def test_input_that_is_there_before_the_app_is_the_apps(app: Path) -> None:
    given = inside.begin_with(("one", "tw\u00f6 \n")) + b"early\nwords"
    assert said(app, given) == inside.READY + "['one', 'tw\u00f6 \\n'] ".encode() + b"early\nwords"


@pytest.mark.parametrize("given", [b"", b"00000", inside.begin_with(("half",))[:-3]])
def test_an_app_is_not_begun_when_the_daemon_goes_before_it_has_said_so(app: Path, given: bytes) -> None:
    assert said(app, given) == inside.READY

"""The boundary is no secret of the SDK: a program with only pyzmq and msgpack is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.echo_kernel import echo_kernel

PROGRAM = Path(__file__).parents[1] / "e2e" / "plain_client.py"


def test_a_client_of_thirty_lines_needs_only_pyzmq_and_msgpack(tmp_path: Path) -> None:
    assert "llmos" not in PROGRAM.read_text()
    with echo_kernel(tmp_path) as kernel:
        key = kernel.new_key_file("alice")
        command = [sys.executable, str(PROGRAM), kernel.endpoint, str(key), "hello"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "".join(f"{token} " for token in range(1, 17)) + "\nlength\n"
    assert kernel.most_unanswered_events <= 4

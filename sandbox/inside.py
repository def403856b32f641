"""What runs first in a container: it loads the SDK, says that it is ready, and waits to be told to run the app.

It stands alone in the image, beside the SDK, and must not import anything else of llmos. It is told by a line on the
standard input, a JSON list of arguments; what follows is the app's. No line, no app: the daemon has gone.
"""

from __future__ import annotations

import importlib
import json
import runpy
import signal
import sys
from types import FrameType

READY = b"\x1eready\n"
"""The first thing that a container says; not shown to anybody."""


def main() -> None:
    """Run the package that the command line names."""
    sdk = importlib.import_module("llmos")
    _ = sdk.connect, sdk.aconnect
    # The first process of a container gets no signal that it has not asked for.
    signal.signal(signal.SIGTERM, _end)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    line = sys.stdin.buffer.readline()
    if line:
        sys.argv = [sys.argv[1], *json.loads(line)]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()

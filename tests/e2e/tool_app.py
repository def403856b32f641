"""A program that offers tools. Usage: tool_app.py ENDPOINT KEY_FILE; says `ready` when they can be called."""

from __future__ import annotations

import sys
import threading

import llmos

endpoint, key_file = sys.argv[1:]
with llmos.connect(endpoint, key_file) as system:
    never = threading.Event()

    @system.tools.offer
    def add(a: int, b: int = 1) -> int:
        """Adds two numbers.

        Args:
            a: the first
            b: the second
        """
        return a + b

    @system.tools.offer
    def hang(text: str = "") -> str:
        """Never answers."""
        print(f"called {text}", flush=True)
        never.wait()
        return text

    @system.tools.offer
    def fail(why: str) -> None:
        """Fails."""
        raise ValueError(why)

    @system.tools.offer
    def who(caller: llmos.ToolCaller) -> dict[str, object]:
        """Says who calls."""
        return {
            "principal": caller.principal,
            "tenant": caller.tenant,
            "role": caller.role,
            "pid": caller.pid,
        }

    system.tools.register("one", "One at a time.", {"type": "object"}, handler=lambda: never.wait(), at_once=1)
    system.tools.register("quick", "Has half a second.", {"type": "object"}, handler=lambda: never.wait(), timeout=0.5)
    system.tools.register("large", "Answers with too much.", {"type": "object"}, handler=lambda: "x" * (2 << 20))
    print("ready", flush=True)
    system.tools.serve()

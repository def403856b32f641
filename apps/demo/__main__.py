"""`python -m llmos.apps.demo`: runs the story twice, undisturbed and disturbed, and compares token by token.

Exit status 0 only if every agent wrote exactly what it writes when nothing disturbs it.
"""

from __future__ import annotations

import sys

from llmos.apps.demo.agents import make_tasks
from llmos.apps.demo.daemon import Daemon, DaemonFailed
from llmos.apps.demo.report import report
from llmos.apps.demo.story import disturbed, undisturbed

ROOMY = ("engine.device_memory=1GiB", "engine.host_memory=256MiB")
TIGHT_PAGES = 40
TIGHT = (f"engine.device_pages={TIGHT_PAGES}", "engine.host_memory=512MiB")


def main() -> int:
    """Run the demo; the exit status."""
    tasks = make_tasks()
    try:
        say("1. Undisturbed: each agent alone, with room for all.")
        with Daemon(ROOMY) as daemon:
            alone = undisturbed(daemon, tasks, say)
        say(f"\n2. Disturbed: all agents at once on a device pool of {TIGHT_PAGES} pages.")
        with Daemon(TIGHT) as daemon:
            together = disturbed(daemon, tasks, say)
    except DaemonFailed as failed:
        print(f"demo: {failed}", file=sys.stderr)
        return 1
    lines, right = report(tasks, alone, together)
    say("\n" + "\n".join(lines))
    return 0 if right else 1


def say(text: str) -> None:
    """Tell the person who watches."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

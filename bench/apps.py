"""The apps on real data: how good they are, against a baseline that a page of code would be.

Each app's own `evaluation` does the measuring, through the SDK alone; here are the daemon, the data and the figures.
Data comes out of packages (`tests/datasets.py`); an app whose data cannot be had is left out, and a fact says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import apps_assistant, apps_customer_service, apps_recommender
from bench.daemon import Daemon, daemon
from bench.report import Fact, Findings
from tests.datasets import CannotBeHad


@dataclass(frozen=True, slots=True)
class App:
    """`measure` evaluates it in a daemon; raises `CannotBeHad`."""

    name: str
    measure: Callable[[Daemon, bool], Findings]


def run(quick: bool) -> Findings:
    """Measure each app in one daemon."""
    with daemon(device="cpu") as running:
        found = [_measured(app, running, quick) for app in APPS]
    return Findings(
        tuple(figure for one in found for figure in one.figures), tuple(fact for one in found for fact in one.facts)
    )


def _measured(app: App, running: Daemon, quick: bool) -> Findings:
    try:
        return app.measure(running, quick)
    except CannotBeHad as error:
        return Findings((), (Fact(f"{app.name}: not measured, {error}", 0),))


APPS = (
    App("customer_service", apps_customer_service.measure),
    App("recommender", apps_recommender.measure),
    App("assistant", apps_assistant.measure),
)

"""A policy that changes under a tool that is offered, and mailboxes that other tenants must not know of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from tests.e2e.house import GENERATION_SECONDS
from tests.e2e.site import Site, open_site


@pytest.fixture(scope="module")
def site(model: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A daemon of this module's own, because its policy and its keys change."""
    with open_site(tmp_path_factory.mktemp("keys")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_process_is_left(site: Site) -> Iterator[None]:
    """Every test ends the processes of all tenants."""
    yield
    site.clean_up()


def test_a_policy_that_takes_the_right_to_offer_a_tool_ends_the_offer_and_its_calls(site: Site) -> None:
    name, path = site.person("app")
    _, callers = site.person("developer")
    called, wait = threading.Event(), threading.Event()

    def slow() -> None:
        called.set()
        wait.wait(GENERATION_SECONDS)

    with site.connect(path) as app, site.connect(callers) as caller, ThreadPoolExecutor(2) as threads:
        process = caller.spawn()
        app.tools.register(slow)
        serving = threads.submit(app.tools.serve)
        call = threads.submit(caller.tools.call, f"{name}/slow", None, process.pid)
        assert called.wait(GENERATION_SECONDS)
        assert process.info().waiting_for == f"the tool {name}/slow"
        site.admin.policy.apply("tools.csv", f"p, principal:{name}, *, tool:/**, tool.register, deny\n")
        try:
            error = call.exception(GENERATION_SECONDS)
            assert isinstance(error, llmos.DeviceError)
            assert "went away before it answered" in error.message
            wait.set()
            refused = serving.exception(GENERATION_SECONDS)
            assert isinstance(refused, llmos.PermissionDenied)
            assert "tools.csv:1 denies it" in refused.message
            assert caller.tools.list([f"{name}/slow"]) == []
            assert process.info().waiting_for == "input"
            with pytest.raises(llmos.NotFound):
                caller.tools.call(f"{name}/slow")
            with pytest.raises(llmos.PermissionDenied, match=r"tool\.register"):
                app.tools.register(slow)
        finally:
            wait.set()
            site.admin.policy.apply("tools.csv", None)
        app.tools.register(slow)
        assert [tool.name for tool in caller.tools.list([f"{name}/slow"])] == ["slow"]


@pytest.mark.parametrize("role", ["developer", "app", "admin"])
def test_mailboxes_of_another_tenant_are_those_of_pids_that_never_were(site: Site, role: str) -> None:
    _, acme = site.person(tenant="acme")
    _, theirs = site.person(role, tenant="zeta")
    with site.connect(acme) as alice, site.connect(theirs) as eve:
        living, gone, empty = (alice.spawn() for _ in range(3))
        for process in (living, gone):
            process.send("kept")
        for process in (gone, empty):
            process.kill()
            process.wait()
        assert alice.messages.mailbox(gone.pid).waiting == 1
        told = {tuple(what_is_told(eve, pid)) for pid in (living.pid, gone.pid, empty.pid, 999_999)}
        assert len(told) == 1
        assert alice.messages.mailbox(gone.pid).waiting == 1


def what_is_told(system: llmos.System, pid: int) -> list[str]:
    """What every call about messages says of a pid."""
    messages = system.messages
    own = system.spawn()
    own.send("x")
    message = own.receive(acknowledge=False)
    calls: tuple[Callable[[], object], ...] = (
        lambda: messages.send(pid, "x"),
        lambda: messages.send(pid, "x", timeout=1),
        lambda: messages.send(own.pid, "x", sender=pid),
        lambda: messages.publish("news", "x", sender=pid),
        lambda: messages.receive(pid=pid, timeout=0),
        lambda: messages.receive(pid=pid, timeout=0, dead=True),
        lambda: messages.receive_many(3, sender=pid, timeout=0),
        lambda: messages.subscribe("news", pid=pid),
        lambda: messages.unsubscribe("news", pid=pid),
        lambda: messages.mailbox(pid),
        lambda: replace(message, scope=pid).acknowledge(),
        lambda: replace(message, scope=pid).give_back(),
    )
    said = []
    for call in calls:
        with pytest.raises(llmos.Error) as error:
            call()
        said.append(f"{type(error.value).__name__}: {error.value.message} {error.value.hint}".replace(str(pid), "N"))
    own.kill()
    own.wait()
    return said

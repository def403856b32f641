"""Long-term memory through a real daemon: both SDKs, processes, tenants, restarts and kills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import llmos
from llmos.syscalls.sdk.blocking_memory import Memory
from tests.e2e.conftest import EXACT
from tests.e2e.daemon_process import start_daemon, start_in
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SMALL = (*EXACT, "engine.device_pages=17", 'engine.host_memory="64 MiB"')


def test_what_is_put_is_found_changed_taken_back_and_forgotten(roomy: House) -> None:
    memory = roomy.system.memory
    memory.forget(all=True)
    paris = memory.put("Paris is the capital of France.", {"lang": "en", "year": 2024})
    memory.put("Paris est la capitale de la France.", {"lang": "fr", "year": 1999, "tag": "a"})
    assert paris.namespace == "admin/default"
    assert paris.author == "admin"
    found = memory.search("capital", where={"lang": "en", "year": (">=", 2000)})
    assert [(one.id, one.metadata["lang"]) for one in found] == [(paris.id, "en")]
    assert found[0].score is not None
    assert [one.metadata["lang"] for one in memory.list(where={"tag": ["a", "b"]})] == ["fr"]
    assert memory.list(where={"year": [(">", 1990), ("<", 2000)]})[0].metadata["lang"] == "fr"
    memory.put("Paris is a city in Texas.", id=paris.id, expected=1)
    assert [one.version for one in memory.history(paris.id)] == [2, 1]
    assert [one.version for one in memory.history(paris.id, limit=1)] == [2]
    assert memory.get(paris.id, version=1).text.endswith("France.")
    taken = memory.rollback(paris.id, 1)
    assert (taken.record.version, taken.record.text, taken.derived) == (3, paris.text, ())
    assert memory.forget(paris.id).versions == 3
    assert len(memory.list()) == 1
    assert memory.forget(all=True).items == 1
    with pytest.raises(llmos.NotFound):
        memory.get(paris.id)


def test_what_a_process_has_read_is_told_when_it_is_taken_back(roomy: House) -> None:
    memory, reader = roomy.system.memory, roomy.spawn()
    memory.put("The door code is 1234.", id="code", namespace="facts")
    memory.put("The door code is 6666.", id="code", namespace="facts", trust="external")
    memory.search("door code", namespace="facts", pid=reader.pid)
    child = roomy.forked(reader)
    memory.put("I told a guest the code.", id="diary", namespace="notes", pid=child.pid, trust="agent")
    reader.kill()
    reader.wait()
    derived = memory.rollback("code", 1, namespace="facts").derived
    assert {one.pid for one in derived if one.pid is not None} == {reader.pid, child.pid}
    assert [(one.namespace, one.id, one.version) for one in derived if one.id is not None] == [
        ("admin/notes", "diary", 1)
    ]
    with pytest.raises(llmos.NoSuchProcess):
        memory.get("code", namespace="facts", pid=reader.pid)
    with pytest.raises(llmos.NoSuchProcess):
        memory.put("x", pid=1 << 40)
    memory.forget(all=True, namespace="facts")
    memory.forget(all=True, namespace="notes")


def test_the_asynchronous_sdk_does_the_same(roomy: House) -> None:
    async def everything() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            memory = system.memory
            await asyncio.gather(*(memory.put(f"note {n}", {"n": n}, id=f"n{n}", namespace="async") for n in range(20)))
            assert [one.id for one in await memory.list("async", limit=3)] != []
            assert len(await memory.list("async")) == 20
            (found,) = await memory.search("note 7", where={"n": 7}, namespace="async")
            assert found.id == "n7"
            await memory.put("note seven", id="n7", namespace="async")
            assert (await memory.get("n7", "async")).version == 2
            assert len(await memory.history("n7", "async")) == 2
            assert [one.version for one in await memory.history("n7", "async", limit=1)] == [2]
            assert (await memory.rollback("n7", 1, "async")).record.version == 3
            assert (await memory.forget(namespace="async", all=True)).items == 20

    asyncio.run(everything())


def test_tenants_and_principals_do_not_see_each_others_memory(roomy: House, tmp_path: Path) -> None:
    path = tmp_path / "eve.key"
    roomy.system.keys.create("eve", "developer", tenant="elsewhere", path=path)
    try:
        roomy.system.memory.put("a secret", id="s", namespace="private")
        with llmos.connect(roomy.daemon.endpoint, path) as eve, roomy.daemon.connect("bob") as bob:
            bob.memory.put("bob's own", id="own")
            bob.memory.put("shared", id="s", namespace="@default/board")
            assert bob.memory.list("@default/board")[0].author == "bob"
            for call in (
                lambda: bob.memory.get("s", namespace="admin/private"),
                lambda: bob.memory.put("x", namespace="admin/private"),
                lambda: bob.memory.search("secret", namespace="admin/private"),
                lambda: bob.memory.forget(all=True, namespace="@elsewhere/board"),
            ):
                with pytest.raises((llmos.PermissionDenied, llmos.NotFound)):
                    call()
            errors = []
            for namespace in ("bob/default", "nobody/default", "bob/none"):
                with pytest.raises(llmos.Error) as refused:
                    eve.memory.search("own", namespace=namespace)
                errors.append(str(refused.value).replace(namespace, "N"))
            assert len(set(errors)) == 1
            assert eve.memory.search("secret own shared") == []
            assert eve.memory.list() == []
            bob.memory.forget(all=True)
            bob.memory.forget(all=True, namespace="@default/board")
    finally:
        roomy.system.keys.revoke("eve")
        roomy.system.memory.forget(all=True, namespace="private")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda memory: memory.put("x", namespace="a/b/c"), llmos.InvalidArgument),
        (lambda memory: memory.put("x", namespace="../x"), llmos.InvalidArgument),
        (lambda memory: memory.put("x", id="i" * 65), llmos.InvalidArgument),
        (lambda memory: memory.put("x" * ((1 << 18) + 1)), llmos.InvalidArgument),
        (lambda memory: memory.put("x", {"k": float("nan")}), llmos.InvalidArgument),
        (lambda memory: memory.put("x", {"k": None}), llmos.InvalidArgument),
        (lambda memory: memory.put("x", {str(n): n for n in range(65)}), llmos.InvalidArgument),
        (lambda memory: memory.put("x", trust="me"), llmos.InvalidArgument),
        (lambda memory: memory.put("x", expires=-1), llmos.InvalidArgument),
        (lambda memory: memory.put("x", expected=3), llmos.Busy),
        (lambda memory: memory.get("nothing"), llmos.NotFound),
        (lambda memory: memory.get("nothing", version=0), llmos.InvalidArgument),
        (lambda memory: memory.search(""), llmos.InvalidArgument),
        (lambda memory: memory.search("x", limit=0), llmos.InvalidArgument),
        (lambda memory: memory.search("x", mode="magic"), llmos.InvalidArgument),
        (lambda memory: memory.search("x", where={"k": ("~", 1)}), llmos.InvalidArgument),
        (lambda memory: memory.search("x", where={"k": (">", True)}), llmos.InvalidArgument),
        (lambda memory: memory.search("x", where={"k": []}), llmos.InvalidArgument),
        (lambda memory: memory.search("x", where={"k": ("=", [1, 2])}), llmos.InvalidArgument),
        (lambda memory: memory.forget(), llmos.InvalidArgument),
        (lambda memory: memory.forget("a", all=True), llmos.InvalidArgument),
        (lambda memory: memory.forget("nothing"), llmos.NotFound),
        (lambda memory: memory.history("nothing"), llmos.NotFound),
        (lambda memory: memory.rollback("nothing", 1), llmos.NotFound),
    ],
)
def test_every_wrong_input_has_its_error_and_changes_nothing(
    roomy: House, wrong: Callable[[Memory], object], error: type[Exception]
) -> None:
    before = roomy.system.memory.list()
    with pytest.raises(error):
        wrong(roomy.system.memory)
    assert roomy.system.memory.list() == before


@pytest.mark.parametrize(
    "query", ['"', "a AND", "NEAR(a b", "text:x", "*", "a^2 -b", "' or 1=1 --", "\x00", "🙂", "(" * 100]
)
def test_a_query_is_never_syntax(roomy: House, query: str) -> None:
    assert roomy.system.memory.search(query, mode="text") == []


def test_what_memory_holds_is_in_the_metrics(roomy: House) -> None:
    roomy.system.memory.put("one", id="m", namespace="metrics")
    metrics = {metric.name: metric.value for metric in roomy.system.metrics()}
    assert metrics["memory_items"] >= 1
    assert metrics["memory_bytes"] >= 1024
    assert roomy.system.memory.forget("m", namespace="metrics").items == 1
    assert {metric.name: metric.value for metric in roomy.system.metrics()}["memory_items"] == metrics[
        "memory_items"
    ] - 1


def test_nothing_acknowledged_is_lost_when_the_daemon_is_killed(model: object) -> None:
    first = start_daemon(*SMALL)
    try:
        with first.connect() as system:
            for number in range(30):
                system.memory.put(f"note number {number}", {"n": number}, id=f"n{number}")
            system.memory.put("note number three, again", id="n3")
            system.memory.forget("n4")
            first.kill()
        second = start_in(first.home, *SMALL)
        with second.connect() as system:
            assert [one.id for one in system.memory.list()] == [f"n{n}" for n in range(30) if n != 4]
            assert system.memory.get("n3").version == 2
            assert system.memory.search("number 17", limit=1)[0].id == "n17"
            assert system.memory.search("number", where={"n": 4}) == []
            assert system.memory.history("n3")[1].text == "note number 3"
        second.stop()
    finally:
        first.destroy()

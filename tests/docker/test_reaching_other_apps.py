"""An app and what is others': their files, keys and processes, and a kernel that it would like to have for itself."""

from __future__ import annotations

import time

import pytest

from tests.docker.app_house import OWN, PROBE, SOON, AppHouse, ended, first_line

pytestmark = [pytest.mark.docker]

NEIGHBOUR = """
import llmos, sys
with llmos.connect() as system:
    system.files.write_bytes("secret", b"of the neighbour")
    system.memory.put("a secret of the neighbour")
    print("kept", flush=True)
    sys.stdin.readline()
"""
TRESPASS = """
import json, llmos
def how(work):
    try:
        return repr(work())
    except llmos.Error as error:
        return type(error).__name__
with llmos.connect() as system:
    print(json.dumps({
        "its file": how(lambda: system.files.read_bytes("/home/neighbour/secret")),
        "its file by a detour": how(lambda: system.files.read_bytes("/home/probe/../neighbour/secret")),
        "its folder": how(lambda: system.files.list("/home/neighbour")),
        "over its file": how(lambda: system.files.write_bytes("/home/neighbour/secret", b"")),
        "its file away": how(lambda: system.files.unlink("/home/neighbour/secret")),
        "its file to oneself": how(lambda: system.files.rename("/home/neighbour/secret", "/home/probe/mine")),
        "its memory": how(lambda: system.memory.search("secret", namespace="neighbour/main")),
        "the administrator's files": how(lambda: system.files.list("/home/admin")),
        "processes": how(lambda: system.processes(all=True)),
        "keys": how(lambda: system.keys.list()),
        "a key for itself": how(lambda: system.keys.create("accomplice", "admin")),
        "the policy": how(lambda: system.policy.show()),
        "the audit log": how(lambda: system.audit.tail()),
        "running apps": how(lambda: system.apps.run("neighbour")),
        "what an app says": how(lambda: list(system.apps.logs("neighbour"))),
        "stopping apps": how(lambda: system.apps.stop("neighbour")),
        "removing apps": how(lambda: system.apps.remove("neighbour")),
        "an app without a sandbox": how(lambda: system.apps.run("probe", sandboxed=False)),
        "ending the daemon": how(lambda: system.shutdown()),
        "draining it": how(lambda: system.drain()),
    }))
"""
DENIED_OFTEN = """
import llmos
denied = 0
with llmos.connect() as system:
    for turn in range(500):
        try:
            system.files.read_bytes(f"/home/admin/file{turn}")
        except llmos.PermissionDenied:
            denied += 1
print(denied)
"""
TOO_LARGE = """
import json, llmos, os, pathlib, zmq
from llmos.syscalls.wire.keys import load_key
key = load_key(pathlib.Path(os.environ["LLMOS_KEY"]))
def connected():
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger, socket.curve_serverkey = 0, key.server.encode()
    socket.curve_publickey, socket.curve_secretkey = key.pair.public.encode(), key.pair.secret.encode()
    socket.connect(os.environ["LLMOS_ENDPOINT"])
    return socket
for size in (4 << 20, 16 << 20, 32 << 20):
    socket = connected()
    socket.send(bytes(size))
    socket.poll(1_000)
    socket.close()
with llmos.connect() as system:
    errors = []
    for text in ("x" * (1 << 20), "x" * (6 << 20)):
        try:
            system.memory.put(text)
        except llmos.Error as error:
            errors.append(type(error).__name__)
    print(json.dumps(errors))
"""
FOREIGN_KEY = """
import llmos, os, sys
try:
    llmos.connect(key=sys.argv[1])
except (llmos.Error, OSError) as error:
    print(type(error).__name__)
"""


def test_an_app_reaches_nothing_of_another_through_the_kernel(boxes: AppHouse) -> None:
    boxes.install("neighbour", NEIGHBOUR, OWN)
    neighbour = boxes.system.apps.run("neighbour")
    assert first_line(neighbour) == "kept"
    done = boxes.run(TRESPASS).answer(dict[str, str])
    allowed = {"PermissionDenied", "NotFound", "InvalidArgument"}
    assert {what: how for what, how in done.items() if how not in allowed} == {}
    denied = {noted.action for noted in boxes.audited("denial") if noted.principal == PROBE}
    assert {"fs.open", "fs.list", "fs.unlink", "sec.key_list", "sec.key_create", "app.run", "sys.shutdown"} <= denied
    neighbour.write(b"\n")
    assert ended(neighbour).info.status == 0
    assert boxes.system.files.read_bytes("/home/neighbour/secret") == b"of the neighbour"


def test_an_app_sees_no_key_and_no_folder_but_its_own(boxes: AppHouse) -> None:
    boxes.install("neighbour", NEIGHBOUR, OWN)
    folder = boxes.daemon.home / "apps" / "neighbour" / "run"
    assert (folder / "app.key").exists()
    for path in (folder / "app.key", "/run/llmos/../neighbour/app.key", boxes.daemon.key()):
        assert boxes.run(FOREIGN_KEY, str(path)).out in ("NotFound\n", "InvalidArgument\n", "FileNotFoundError\n"), path


def test_the_host_lets_no_other_user_near_an_apps_key(runc: AppHouse) -> None:
    folder = runc.daemon.home / "apps"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / PROBE / "run" / "app.key").stat().st_mode & 0o077 == 0


def test_calls_that_are_denied_by_the_hundred_hold_up_nobody(boxes: AppHouse) -> None:
    before = denials(boxes)
    run = boxes.start(DENIED_OFTEN)
    slowest = 0.0
    for _ in range(50):
        began = time.monotonic()
        boxes.system.whoami()
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < SOON
    assert ended(run).out == "500\n"
    assert denials(boxes) - before == 500


def test_messages_over_the_limit_cost_their_sender_only(boxes: AppHouse) -> None:
    errors = boxes.run(TOO_LARGE).answer(list[str])
    assert errors
    assert set(errors) <= {"MessageTooLong", "InvalidArgument", "LimitExceeded"}
    boxes.check_others()


def denials(house: AppHouse) -> int:
    """How often `probe` was denied something, as the audit log has it: one by one, and in sums."""
    noted = (*house.audited("denial"), *house.audited("summary"))
    return sum(one.count for one in noted if one.principal == PROBE)

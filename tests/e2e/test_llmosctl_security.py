"""`llmosctl key|policy|audit` as a security team types it, along the ten minutes of docs/policies.md."""

from __future__ import annotations

import json
import re
import select
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.apps.llmosctl.failures import ExitCode
from llmos.drivers.models.store import ResolvedModel
from llmos.syscalls.wire.keys import load_key, pair_of_api_key
from tests.e2e.test_llmosctl_e2e import Llmosctl

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
RULES = next(text for _, text in BLOCKS if text.startswith("# The support bot"))
CASES = next(text for language, text in BLOCKS if language == "yaml")


@pytest.fixture(scope="module")
def ctl(model: ResolvedModel) -> Iterator[Llmosctl]:
    """A daemon in a short home, started and ended by llmosctl."""
    home = Path(tempfile.mkdtemp(prefix="llmos-"))
    llmosctl = Llmosctl(home)
    llmosctl.output("up", "--set", "engine.device_pages=64")
    try:
        yield llmosctl
        llmosctl.output("down")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The rules and the cases of the page."""
    (tmp_path / "acme.csv").write_text(RULES)
    (tmp_path / "acme.yaml").write_text(CASES)
    return tmp_path


def as_(ctl: Llmosctl, key: Path) -> Llmosctl:
    """The same daemon with another key."""
    other = Llmosctl(ctl.home)
    other.environment["LLMOS_KEY"] = str(key)
    return other


def test_the_ten_minutes_of_the_page(ctl: Llmosctl, files: Path) -> None:
    key = ("key", "create", "--tenant", "acme")
    for name, role in (("duty", "developer"), ("olga", "operator")):
        ctl.output(*key, name, "--role", role, "--out", str(files / f"{name}.key"))
    bot = (*key, "bot", "--role", "support-bot", "--kind", "app", "--out", str(files / "bot.key"))
    assert "support-bot" in ctl(*bot).stderr

    assert "0 errors, 0 warnings, 1 note" in ctl("policy", "lint", str(files / "acme.csv")).stderr
    tested = ctl.output("policy", "test", str(files / "acme.yaml"), "--policy", str(files / "acme.csv"))
    assert tested.splitlines()[-1] == "6 passed, 0 failed"
    ctl.output("policy", "diff", str(files / "acme.csv"))
    refused = ctl("policy", "apply", str(files / "acme.csv"), stdin="n\n")
    assert refused.returncode == ExitCode.FAILED
    assert "+ p, role:operator, acme, proc:/duty/*, proc.signal, deny" in refused.stderr
    assert "acme.csv" not in ctl.output("policy", "show")
    ctl.output("policy", "apply", str(files / "acme.csv"), stdin="y\n")
    assert RULES.strip() in ctl.output("policy", "show", "acme.csv")
    ctl.output(*bot)

    asked = ctl("policy", "check", "olga", "proc.signal", "proc:/duty/7")
    assert asked.returncode == ExitCode.PERMISSION
    assert asked.stdout.startswith("denied by acme.csv:9: p, role:operator")
    explained = ctl.output("policy", "explain", "olga", "proc.signal", "proc:/duty/7")
    assert "role:viewer" in explained
    assert "roles.csv:" in explained

    duty, olga = as_(ctl, files / "duty.key"), as_(ctl, files / "olga.key")
    duty.output("run", "Say hello.", "--max-tokens", "4", "--keep")
    (pid,) = duty.pids()
    stopped = olga("stop", str(pid))
    assert stopped.returncode == ExitCode.PERMISSION
    assert "acme.csv:9 denies it; the role admin may" in stopped.stderr
    denial = stopped.stderr.rsplit(" ", 1)[1].strip()
    assert "acme.csv:9 denies it" in olga.output("why-denied", denial)
    assert "proc.spawn, allow, class<=normal" in ctl.output("policy", "learn", "duty")
    ctl.output("kill", str(pid))
    ctl.output("policy", "apply", "--remove", "acme.csv", "--yes")


def test_a_key_is_shown_once_listed_and_revoked(ctl: Llmosctl, tmp_path: Path) -> None:
    shown = ctl("key", "create", "ann", "--role", "viewer", "--expires", "30")
    (tmp_path / "ann.key").touch(mode=0o600)
    (tmp_path / "ann.key").write_text(shown.stdout)
    assert "shown once" in shown.stderr
    ann = as_(ctl, tmp_path / "ann.key")
    assert ann.json("whoami")["tenant"] == "default"
    assert ann("can", "sys:/", "sys.info").returncode == 0
    assert ann("can", "sys:/", "sys.shutdown").returncode == ExitCode.PERMISSION
    secret = load_key(tmp_path / "ann.key").pair.secret
    listed = ctl.output("key", "list", "--json")
    assert secret not in listed
    (entry,) = (one for one in json.loads(listed) if one["name"] == "ann")
    assert entry["expires"] > entry["created"]
    ctl.output("key", "revoke", "ann")
    refused = ann("whoami")
    assert refused.returncode == ExitCode.PERMISSION
    assert "error:" in refused.stderr


def test_an_api_key_is_one_word(ctl: Llmosctl) -> None:
    made = ctl.json("key", "create", "gate", "--role", "app", "--kind", "service", "--api")
    assert "secret" not in made
    assert pair_of_api_key(str(made["api_key"])).public == made["public"]


def test_the_log_is_read_followed_verified_and_exported(ctl: Llmosctl, tmp_path: Path) -> None:
    ctl.output("info")
    assert "sys.info" in ctl.output("audit", "tail", "-n", "50", "--kind", "call")
    following = ctl.begin("audit", "tail", "-f", "-n", "1", "--json")
    assert following.stdout is not None
    try:
        assert following.stdout.readline()
        ctl.output("drain", "--off")
        line = ""
        while "sys.drain" not in line:
            assert select.select([following.stdout], [], [], 10.0)[0], "nothing came"
            line = following.stdout.readline()
    finally:
        following.terminate()
        following.communicate()
    assert ctl.output("audit", "verify").startswith("log        whole")
    head = str(ctl.json("audit", "verify")["head"]) + ":" + str(ctl.json("audit", "verify")["hash"])
    copy = tmp_path / "audit"
    shutil.copytree(ctl.home / "audit", copy)
    assert ctl("audit", "verify", "--copy", str(copy)).returncode == 0
    assert head.partition(":")[0].isdecimal()
    (copy / "head.json").unlink()
    assert ctl("audit", "verify", "--copy", str(copy)).returncode == 1
    events = [json.loads(line) for line in ctl.output("audit", "export", "--format", "ocsf").splitlines()]
    assert {event["class_uid"] for event in events} >= {6003, 3001}
    assert json.loads(ctl.output("audit", "export").splitlines()[0])["n"] == 1

"""`python -m llmos.kernel.security.policy`, as people and build servers start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
principals:
  alice: {role: developer, tenant: acme}
cases:
  - {who: alice, action: ctx.read, object: proc:/alice/1, expect: allow}
  - {who: alice, action: sys.drain, object: 'sys:/', expect: deny}
"""
ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "llmos.kernel.security.policy", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "own.csv").write_text("p, principal:alice, acme, proc:/alice/*, ctx.read, deny\n")
    (tmp_path / "bad.csv").write_text("p, any, *, sys:/, sys.inf, allow\n")
    (tmp_path / "broken.csv").write_text("p, any\nq\n")
    (tmp_path / "cases.yaml").write_text(CASES)
    return tmp_path


def test_the_shipped_roles_are_clean(folder: Path) -> None:
    ended = run(folder, "lint")
    assert (ended.returncode, ended.stdout) == (0, "")


def test_lint_names_the_line_and_ends_with_one(folder: Path) -> None:
    ended = run(folder, "lint", "bad.csv", "--only")
    assert ended.returncode == 1
    assert ended.stdout.startswith("bad.csv:1: error: ")
    assert "1 error, 0 warnings" in ended.stderr
    (found,) = json.loads(run(folder, "lint", "bad.csv", "--only", "--json").stdout)
    assert (found["place"], found["severity"]) == ({"file": "bad.csv", "line": 1}, "error")


def test_cases_pass_with_the_shipped_roles_and_fail_with_a_deny(folder: Path) -> None:
    alone = run(folder, "test", "cases.yaml")
    assert (alone.returncode, alone.stdout) == (0, "2 passed, 0 failed\n")
    denied = run(folder, "test", "cases.yaml", "--policy", "policy")
    assert denied.returncode == 1
    assert denied.stdout == (
        "FAILED case 1 (line 5): alice ctx.read proc:/alice/1: denied by own.csv:1: "
        "p, principal:alice, acme, proc:/alice/*, ctx.read, deny, not allowed\n1 passed, 1 failed\n"
    )
    told = json.loads(run(folder, "test", "cases.yaml", "--policy", "policy", "--json").stdout)
    assert [one["passed"] for one in told] == [False, True]


def test_check_says_the_rule_and_explain_how_it_came_to_that(folder: Path) -> None:
    asked = ("alice", "ctx.read", "proc:/alice/1", "--role", "developer", "--tenant", "acme", "--policy", "policy")
    checked = run(folder, "check", *asked)
    assert checked.returncode == 1
    assert checked.stdout == "denied by own.csv:1: p, principal:alice, acme, proc:/alice/*, ctx.read, deny\n"
    explained = run(folder, "explain", *asked)
    assert explained.returncode == 1
    lines = explained.stdout.splitlines()
    assert lines[:2] == [checked.stdout.strip(), "in the tenant acme these hold: any, principal:alice, role:developer"]
    assert [line.partition("    [")[2] for line in lines[2:4]] == ["outweighed]", "decides]"]
    assert lines[-1] == "roles that may: none"


def test_explain_names_the_condition_that_kept_a_rule_from_allowing(folder: Path) -> None:
    asked = ("bot", "proc.spawn", "proc:/bot/*", "--role", "app", "--attributes", "class=realtime", "--json")
    ended = run(folder, "explain", *asked)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["allowed"], told["held"]) == (1, False, ["any", "principal:bot", "role:app"])
    assert [step["kept"] for step in told["considered"]] == ["not now: class<=normal"]
    assert told["roles"] == ["admin"]
    assert run(folder, "check", *asked[:5], "--attributes", "class=batch").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("lint", "broken.csv"), "error: broken.csv:2: "),
        (("lint", "missing.csv"), "error: the policy missing.csv cannot be read"),
        (("lint", "bad.csv", "bad.csv"), "error: 2 files are named bad.csv\nhint: "),
        (("test", "missing.yaml"), "error: missing.yaml cannot be read"),
        (("test", "bad.csv"), "error: this is no file of cases"),
        (("check", "al*", "sys.info", "sys:/"), "error: 'al*' is no name for a principal"),
        (("check", "al", "sys.info", "sys:/", "--attributes", "x=1"), "error: 'x=1' is no attribute"),
        (("check", "al"), "usage: "),
        (("judge",), "usage: "),
    ],
)
def test_what_cannot_be_read_or_meant_ends_with_two(folder: Path, arguments: tuple[str, ...], reason: str) -> None:
    ended = run(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert reason in ended.stderr


def test_neither_sockets_nor_models_are_loaded(folder: Path) -> None:
    code = "import sys, llmos.kernel.security.policy.__main__; print({'zmq', 'torch', 'asyncio'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"

"""`llmosctl mem` as a user types it, against a real daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos.apps.llmosctl.failures import ExitCode
from tests.e2e.house import House
from tests.e2e.test_llmosctl_e2e import Llmosctl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_an_item_is_put_found_changed_taken_back_and_forgotten(roomy: House, tmp_path: Path) -> None:
    llmosctl, there = Llmosctl(roomy.daemon.home), ("-n", "terminal")
    put = llmosctl.json("mem", "put", "Ann prefers e-mail.", "-m", "customer=ann", "-m", "year=2026", *there)
    id = str(put["id"])
    assert put["metadata"] == {"customer": "ann", "year": 2026}
    written = tmp_path / "note.txt"
    written.write_text("Ann prefers the phone.", encoding="utf-8")
    assert "version 2" in llmosctl.output("mem", "put", "--file", str(written), "--id", id, "--expected", "1", *there)
    assert llmosctl.output("mem", "put", "--id", "other", *there, stdin="From a pipe.\n").startswith("other")
    assert llmosctl.output("mem", "get", id, *there) == "Ann prefers the phone.\n"
    assert llmosctl.output("mem", "get", id, "--version", "1", *there) == "Ann prefers e-mail.\n"
    found = json.loads(llmosctl.output("mem", "search", "phone", "--mode", "text", "--json", *there))
    assert [one["id"] for one in found] == [id]
    assert json.loads(llmosctl.output("mem", "list", "-w", "year>=2000", "--json", *there)) == []
    assert len(llmosctl.output("mem", "list", *there).splitlines()) == 3
    assert [line.split()[1] for line in llmosctl.output("mem", "history", id, *there).splitlines()[1:]] == ["2", "1"]
    assert [
        one["version"] for one in json.loads(llmosctl.output("mem", "history", id, "--limit", "1", "--json", *there))
    ] == [2]
    process = roomy.spawn()
    llmosctl.output("mem", "get", id, "--pid", str(process.pid), *there)
    assert f"process {process.pid}  read version 2" in llmosctl.output("mem", "rollback", id, "1", *there)
    assert llmosctl.json("mem", "forget", "--all", *there) == {"items": 2, "versions": 4}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get", "nothing"), ExitCode.NOT_FOUND),
        (("put", "x", "-m", "a>1"), ExitCode.USAGE),
        (("put", "x", "--file", "/dev/null/x"), ExitCode.USAGE),
        (("search", "x", "--limit", "0"), ExitCode.USAGE),
        (("forget",), ExitCode.FAILED),
        (("rollback", "nothing", "1"), ExitCode.NOT_FOUND),
        (("list", "-n", "a/b/c"), ExitCode.FAILED),
    ],
)
def test_what_is_wrong_is_told_with_its_exit_code(roomy: House, arguments: tuple[str, ...], code: ExitCode) -> None:
    done = Llmosctl(roomy.daemon.home)("mem", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "error:" in done.stderr

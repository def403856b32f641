"""What a security team relies on, on a real daemon: identities, revocation, rotation, policies, audit, isolation."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import llmos
from llmos.drivers.models.store import ResolvedModel
from llmos.syscalls.wire.keys import Key, load_key, new_keypair, save_key
from tests.e2e.house import GENERATION_SECONDS
from tests.e2e.site import Site, open_site

PATIENCE = 20.0


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


def question(system: llmos.System, text: str = "Tell a long story about a ship.") -> llmos.Process:
    """A process with something to answer."""
    process = system.spawn()
    process.append([{"role": "user", "content": text}])
    return process


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask the daemon again and again: nothing tells a client that another was cut."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what


# --- identity


def test_the_daemon_knows_callers_by_their_keys_alone(site: Site) -> None:
    name, path = site.person(tenant="acme")
    with site.connect(path) as system:
        who = system.whoami()
        assert (who.name, who.role, who.tenant) == (name, "developer", "acme")
        assert system.spawn().info().principal == name
    assert load_key(path).pair.secret not in (site.daemon.home / "keys" / "principals.toml").read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_stranger_is_told_at_once(site: Site) -> None:
    path = site.folder / "stranger.key"
    save_key(path, Key("stranger", new_keypair(), load_key(site.daemon.key()).server))
    began = time.monotonic()
    with pytest.raises(llmos.PermissionDenied, match="stranger"):
        site.connect(path)
    assert time.monotonic() - began < 2.0


def test_revocation_ends_streams_cuts_connections_and_lasts(site: Site) -> None:
    name, path = site.person()
    with site.connect(path) as system:
        generation = question(system).generate(max_tokens=4000, ignore_eos=True)
        assert next(iter(generation)).token_ids
        began = time.monotonic()
        site.admin.keys.revoke(name)
        with pytest.raises(llmos.PermissionDenied, match="revoked"):
            generation.result()
        assert time.monotonic() - began < 2.0
        with pytest.raises(llmos.PermissionDenied):
            system.whoami()
    with pytest.raises(llmos.PermissionDenied):
        site.connect(path)
    with pytest.raises(llmos.AlreadyExists):
        site.admin.keys.create(name, "developer")


def test_a_key_that_expires_ends_like_a_revoked_one(site: Site) -> None:
    _, path = site.person(days=1.5 / 86_400)
    with site.connect(path) as system:
        generation = question(system).generate(max_tokens=4000, ignore_eos=True)
        with pytest.raises(llmos.PermissionDenied, match="expired"):
            generation.result()
    with pytest.raises(llmos.PermissionDenied):
        site.connect(path)


def test_an_engines_key_opens_nothing_here(site: Site) -> None:
    path = site.folder / "engine.key"
    site.admin.keys.create("some-engine", "viewer", kind="engine", path=path)
    with pytest.raises(llmos.PermissionDenied):
        site.connect(path)


def test_a_key_has_a_rate(site: Site) -> None:
    _, path = site.person(rate=5.0)
    with site.connect(path) as system:
        for _ in range(5):
            system.whoami()
        with pytest.raises(llmos.TryAgain, match="5 calls a second"):
            system.whoami()


def test_nobody_gives_a_role_that_no_rule_speaks_of(site: Site) -> None:
    with pytest.raises(llmos.InvalidArgument, match="wizard"):
        site.admin.keys.create("merlin", "wizard")


def test_the_server_key_is_rotated_with_an_overlap_in_which_clients_learn_the_next_one(site: Site) -> None:
    _, learns = site.person()
    _, sleeps = site.person()
    old = load_key(learns)
    with site.connect(learns) as system:
        rotation = site.admin.keys.rotate(2.0 / 86_400)
        assert system.whoami().next_server == rotation.next_server
        assert load_key(learns).next_server == rotation.next_server
        until(lambda: site.admin.whoami().server == rotation.next_server, "the next key has not taken over")
        assert system.whoami().server == rotation.next_server  # what was open goes on
    with site.connect(learns) as system:
        assert system.whoami().next_server is None
    changed = load_key(learns)
    assert (changed.pair, changed.server, changed.next_server) == (old.pair, rotation.next_server, None)
    with pytest.raises(llmos.PermissionDenied, match="not the one"):
        site.connect(sleeps)
    _, fresh = site.person()
    with site.connect(fresh) as system:
        assert system.whoami().server == rotation.next_server


# --- policy


def test_a_policy_is_applied_while_calls_run_and_ends_those_that_it_forbids(site: Site) -> None:
    name, path = site.person()
    with site.connect(path) as system:
        generation = question(system).generate(max_tokens=4000, ignore_eos=True)
        assert next(iter(generation)).token_ids
        change = site.admin.policy.apply("stop.csv", f"p, principal:{name}, *, proc:/**, gen.*, deny\n")
        assert change.added == (f"p, principal:{name}, *, proc:/**, gen.*, deny",)
        with pytest.raises(llmos.PermissionDenied, match=r"stop\.csv:1 denies it"):
            generation.result()
        site.admin.policy.apply("stop.csv", None)
        assert question(system).generate(max_tokens=2).result().token_ids


def test_a_broken_policy_is_refused_and_the_old_one_stays(site: Site) -> None:
    before = site.admin.policy.show().epoch
    for text in ("p, role:x\n", "nonsense\n", "p, any, *, **, **, maybe\n", "p, any, *, **, **, allow, class<=fast\n"):
        with pytest.raises(llmos.InvalidArgument, match=r"own\.csv:1"):
            site.admin.policy.apply("own.csv", text)
    with pytest.raises(llmos.InvalidArgument, match="would take"):
        site.admin.policy.apply("own.csv", "p, any, *, policy:/, **, deny\n")
    with pytest.raises(llmos.Busy):
        site.admin.policy.apply("own.csv", "", epoch=before + 1)
    assert site.admin.policy.show().epoch == before
    assert not list((site.daemon.home / "policy").glob("*.csv"))


def test_a_file_that_is_edited_is_taken_and_a_broken_one_is_not(site: Site) -> None:
    folder = site.daemon.home / "policy"
    folder.mkdir(exist_ok=True)
    epoch = site.admin.policy.show().epoch
    (folder / "own.csv").write_text("p, role:nurse, *, sys:/, sys.metrics, allow\n")
    until(lambda: site.admin.policy.show().epoch > epoch, "the edited file was not taken")
    assert site.admin.policy.check("x", "sys.metrics", "sys:/", role="nurse", tenant="system").allowed
    (folder / "own.csv").write_text("p, role:nurse\n")
    until(lambda: any("refused" in line for line in site.admin.audit.tail(50, kinds=("policy",)).lines), "not told")
    assert site.admin.policy.check("x", "sys.metrics", "sys:/", role="nurse", tenant="system").allowed
    site.admin.policy.apply("own.csv", None)


def test_a_denial_can_be_looked_up_by_whoever_was_denied_and_by_auditors(site: Site) -> None:
    _, alice = site.person()
    name, bob = site.person()
    _, auditor = site.person("auditor")
    _, outsider = site.person("auditor", tenant="beta")
    with site.connect(alice) as hers, site.connect(bob) as his:
        pid = hers.spawn().pid
        with pytest.raises(llmos.PermissionDenied) as refused:
            his.process(pid).kill()
        assert "the role admin or operator may" in refused.value.message
        denial = refused.value.hint.rpartition(" ")[2]
        for key in (bob, auditor):
            with site.connect(key) as asking:
                found = asking.audit.why_denied(denial)
                assert (found.principal, found.action, found.reason) == (name, "proc.signal", "no rule allows it")
        for key in (alice, outsider):
            with site.connect(key) as asking, pytest.raises(llmos.NotFound):
                asking.audit.why_denied(denial)


def test_recorded_calls_answer_what_a_change_would_do_and_teach_the_least_policy(site: Site) -> None:
    name, path = site.person()
    with site.connect(path) as system:
        question(system).generate(max_tokens=2).result()
        system.whoami()
    difference = site.admin.policy.diff({"less.csv": f"p, principal:{name}, *, **, gen.*, deny\n"}, days=1)
    changed = [one for one in difference.changed if one.principal == name]
    assert [(one.action, one.allowed, one.place) for one in changed] == [("gen.generate", False, "less.csv:1")]
    learnt = site.admin.policy.learn(name, days=1).text
    for line in ("proc:/$self/*, gen.generate, allow", "proc.spawn, allow, class<=normal", "sec.whoami, allow"):
        assert line in learnt
    assert "proc.signal" not in learnt


# --- audit


def test_the_log_holds_what_was_done_to_others_and_no_contents(site: Site) -> None:
    name, path = site.person()
    with site.connect(path) as system:
        process = question(system, "the secret word is xylophone")
        site.admin.process(process.pid).read()
        site.admin.process(process.pid).swap_out()
    records = [json.loads(line) for line in site.admin.audit.tail(100).lines]
    foreign = {one["action"] for one in records if one.get("owner") == name and one.get("principal") == "admin"}
    assert {"ctx.read", "proc.swap_out"} <= foreign
    assert any(one["action"] == "ctx.append" and one.get("digest") for one in records if one.get("principal") == name)
    assert "xylophone" not in "".join(path.read_text() for path in (site.daemon.home / "audit").iterdir())


def test_the_log_verifies_and_a_copy_that_was_changed_does_not(site: Site, tmp_path: Path) -> None:
    verdict = site.admin.audit.verify()
    assert verdict.ok, verdict
    copy = tmp_path / "copy"
    shutil.copytree(site.daemon.home / "audit", copy)
    assert _verify(copy, "--expect", f"{verdict.head}:{verdict.hash}") == 0
    segment = min(copy.glob("audit-*.jsonl"))
    segment.write_text(segment.read_text().replace('"admin"', '"adnin"', 1))
    assert _verify(copy) == 1


def _verify(copy: Path, *options: str) -> int:
    command = [sys.executable, "-m", "llmos.kernel.security.audit", "verify", str(copy), *options]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_a_tenants_auditor_reads_its_tenants_records_only(site: Site) -> None:
    _, acme = site.person("auditor", "acme")
    name, beta = site.person("developer", "beta")
    with site.connect(beta) as system:
        system.spawn()
    with site.connect(acme) as auditor:
        lines = list(auditor.audit.export())
        assert lines
        assert not [line for line in lines if name in line or '"beta"' in line]
        for tenant in ("beta", "system"):
            with pytest.raises(llmos.PermissionDenied):
                auditor.audit.tail(tenant=tenant)
        with pytest.raises(llmos.PermissionDenied):
            auditor.audit.verify()


# --- isolation


def test_other_tenants_names_pids_and_sizes_are_invisible(site: Site) -> None:
    _, acme = site.person(tenant="acme")
    _, theirs = site.person("admin", tenant="zeta")
    with site.connect(acme) as alice, site.connect(theirs) as eve:
        process = question(alice)
        process.generate(max_tokens=2).result()
        assert eve.processes(all=True) == []
        texts = set()
        for pid in (process.pid, 999_999):
            seen = eve.process(pid)
            for call in (seen.info, seen.read, seen.why, seen.kill, seen.fork, seen.swap_out, seen.wait):
                with pytest.raises(llmos.NoSuchProcess) as missing:
                    call()
                texts.add((missing.value.message.replace(str(pid), "N"), missing.value.hint))
        assert len(texts) == 1
        described = eve.info()
        assert (described.processes, described.home, described.os_pid) == (0, "", None)
        assert {engine.device_pages_free for engine in described.engines} == {None}
        with pytest.raises(llmos.PermissionDenied):
            eve.metrics()
        assert not [key for key in eve.keys.list() if key.tenant != "zeta"]
        with pytest.raises(llmos.NotFound):
            eve.keys.revoke(alice.whoami().name)


def test_a_prompt_of_another_tenant_is_not_faster_the_second_time(site: Site) -> None:
    """The self-test of isolation, with its control: for its own tenant's person the same prompt is faster."""
    _, mine = site.person(tenant="acme")
    _, other = site.person(tenant="beta")
    with site.connect(mine) as alice, site.connect(other) as eve:
        stranger, fresh, own = [], [], []
        for number in range(5):
            prompt = [1000 + 37 * number + place for place in range(256)]
            first = _first_token(alice, prompt)
            theirs, again = _first_token(eve, prompt), _first_token(alice, prompt)
            assert (first.cached_tokens, theirs.cached_tokens) == (0, 0)
            assert again.cached_tokens >= 224
            new = _first_token(eve, [token + 20_000 for token in prompt])
            stranger.append(theirs.first_token_seconds)
            fresh.append(new.first_token_seconds)
            own.append(again.first_token_seconds)
        assert statistics.median(own) < 0.7 * statistics.median(fresh)
        assert statistics.median(stranger) > 0.8 * statistics.median(fresh)


def _first_token(system: llmos.System, prompt: list[int]) -> llmos.Usage:
    process = system.spawn()
    process.append(prompt)
    usage = process.generate(max_tokens=1, ignore_eos=True, timeout=GENERATION_SECONDS).result().usage
    process.kill()
    process.wait()
    return usage


def test_sharing_with_ones_tenant_is_a_rule_away(site: Site) -> None:
    _, first = site.person(tenant="gamma")
    _, second = site.person(tenant="gamma")
    _, third = site.person(tenant="delta")
    prompt = list(range(5000, 5200))
    site.admin.policy.apply("share.csv", "p, any, *, share:/tenant, ctx.share, allow\n")
    cached = []
    for key in (first, second, third):
        with site.connect(key) as system:
            cached.append(_first_token(system, prompt).cached_tokens)
    site.admin.policy.apply("share.csv", None)
    assert cached[0] == 0
    assert cached[1] >= 160
    assert cached[2] == 0


# --- secrets


def test_no_secret_is_in_logs_environments_command_lines_or_dumps(site: Site) -> None:
    home = site.daemon.home
    secrets: list[str] = [
        load_key(path).pair.secret for path in (*site.folder.glob("*.key"), home / "keys" / "admin.key")
    ]
    secrets += [(home / "keys" / name).read_text().strip() for name in ("server.key", "audit.key", "audit-digest.key")]
    assert len(secrets) > 5
    shown = [site.daemon.log, *(path.read_text() for path in (home / "audit").iterdir())]
    family = [psutil.Process(site.daemon.process.pid), *site.daemon.family()]
    for process in family:
        shown += [" ".join(process.cmdline()), repr(process.environ())]
    assert not [secret for secret in secrets for text in shown if secret in text]
    for process in family:
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
        assert core[4:6] == ["0", "0"]

"""Apps through a real daemon that finds no container engine: what is refused then, and what runs without a container.

What containers keep in is tested in `tests/docker`.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmos
from llmos.syscalls.abi.apps import OutputStream, RunInfo, RunState
from llmos.syscalls.sdk.blocking_apps import AppRun
from tests.e2e.daemon_process import Daemon, start_daemon

PERMISSIONS = """
[[permissions]]
object = "mem:/$self/*"
action = "mem.*"
why = "to remember"
"""


@pytest.fixture(scope="module")
def daemon(model: object) -> Iterator[Daemon]:
    """A daemon with no engine for containers in reach, and no encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        started = start_daemon("engine.device=cpu", "engine.device_pages=64", "engine.encoder=")
    yield started
    started.destroy()


@pytest.fixture
def system(daemon: Daemon) -> Iterator[llmos.System]:
    """The administrator's connection; no app is left behind."""
    with daemon.connect() as connection:
        yield connection
        for app in connection.apps.list():
            connection.apps.stop(app.name, grace=0)
            connection.apps.remove(app.name)


def folder(place: Path, program: str, more: str = "", name: str = "demo", version: str = "1") -> Path:
    """The folder of an app with this program."""
    place.mkdir(exist_ok=True)
    (place / "app.toml").write_text(f'name = "{name}"\nversion = "{version}"\n{more}\n{PERMISSIONS}')
    (place / "__init__.py").write_text("")
    (place / "__main__.py").write_text(textwrap.dedent(program))
    return place


def begin(system: llmos.System, *arguments: str) -> AppRun:
    """A run of the app, without a container."""
    return system.apps.run("demo", *arguments, sandboxed=False)


def said(run: AppRun) -> tuple[str, RunInfo]:
    """All that a run says on its standard output, and how it ended."""
    with run.output() as output:
        text = b"".join(one.data for one in output if one.stream is OutputStream.OUT).decode()
        return text, output.result()


def test_without_an_engine_an_app_is_installed_but_does_not_run_and_is_told_how_to_get_one(
    system: llmos.System, tmp_path: Path
) -> None:
    told: list[str] = []
    done = system.apps.install(folder(tmp_path / "demo", "print(1)"), say=told.append)
    assert done.image_size == 0
    assert any("cannot run before" in line for line in told)
    with pytest.raises(llmos.NotSupported, match="no container engine answers") as refused:
        system.apps.run("demo")
    assert "docker.io" in refused.value.hint


def test_an_app_is_its_own_principal_with_the_role_of_its_manifest_and_no_more(
    system: llmos.System, tmp_path: Path
) -> None:
    program = """
        import llmos, os
        with llmos.connect() as system:
            print(system.whoami().name, system.whoami().role, system.whoami().kind)
            system.memory.put("kept")
            for attempt in (lambda: system.files.list(), lambda: system.spawn(), lambda: system.apps.list()):
                try:
                    print(attempt() or "nothing")
                except llmos.PermissionDenied:
                    print("denied")
            print("admin.key" in str(os.environ))
        """
    system.apps.install(folder(tmp_path / "demo", program))
    text, ended = said(begin(system))
    assert text == "demo app-demo app\ndenied\ndenied\ndenied\nFalse\n"
    assert (ended.status, ended.state, ended.sandbox) == (0, RunState.ENDED, "none")
    assert [record.text for record in system.memory.list("demo/default")] == ["kept"]


def test_only_an_administrator_runs_an_app_without_a_container_and_that_is_recorded(
    daemon: Daemon, system: llmos.System, tmp_path: Path
) -> None:
    system.apps.install(folder(tmp_path / "demo", "print(1)"))
    with daemon.connect("bob") as bob:
        assert [app.name for app in bob.apps.list()] == ["demo"]
        with pytest.raises(llmos.PermissionDenied, match="run_unsandboxed"):
            begin(bob)
        with pytest.raises(llmos.PermissionDenied):
            bob.apps.install(folder(tmp_path / "other", "print(1)", name="other"))
        with pytest.raises(llmos.PermissionDenied):
            bob.apps.remove("demo")
    said(begin(system))
    recorded = "\n".join(system.audit.tail(200).lines)
    assert "WITHOUT A SANDBOX" in recorded
    assert "demo 1 installed, role app-demo" in recorded


def test_input_output_arguments_and_exit_status_are_those_of_the_program(system: llmos.System, tmp_path: Path) -> None:
    program = """
        import sys
        print(sys.argv[1:])
        print("complaint", file=sys.stderr)
        for line in sys.stdin:
            print("got", line.strip())
        sys.exit(7)
        """
    system.apps.install(folder(tmp_path / "demo", program))
    run = begin(system, "--flag", "two words", "ü")
    run.write(b"hello\n")
    run.close_input()
    text, ended = said(run)
    assert text == "['--flag', 'two words', 'ü']\ngot hello\n"
    assert (ended.status, ended.reason) == (7, "exited with status 7")
    logged = list(system.apps.logs("demo"))
    assert b"complaint\n" in b"".join(one.data for one in logged if one.stream is OutputStream.ERR)
    with pytest.raises(llmos.NotFound):
        run.write(b"more")


def test_a_run_is_stopped_in_good_order_or_killed(system: llmos.System, tmp_path: Path) -> None:
    program = """
        import signal, sys, time
        if sys.argv[1] == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        signal.pause()
        time.sleep(60)
        """
    system.apps.install(folder(tmp_path / "demo", program))
    for how, status in (("polite", 143), ("deaf", 137)):
        run = begin(system, how)
        with run.output() as output:
            assert next(output).data == b"up\n"
            run.stop(grace=0.5)
            assert not list(output)
            ended = output.result()
        assert (ended.status, ended.reason) == (status, "stopped")


def test_a_run_that_fails_is_begun_again_until_it_is_stopped(system: llmos.System, tmp_path: Path) -> None:
    system.apps.install(folder(tmp_path / "demo", "print('up', flush=True); raise SystemExit(3)", "restart = 'always'"))
    run = begin(system)
    with run.output() as output:
        assert [next(output).data for _ in range(3)] == [b"up\n"] * 3
        run.stop()
        list(output)
        assert output.result().restarts >= 2
    (app,) = system.apps.list()
    assert app.runs[-1].state is RunState.ENDED


def test_another_version_keeps_what_the_app_has_kept_and_takes_its_new_rights(
    system: llmos.System, tmp_path: Path
) -> None:
    program = "import llmos\nwith llmos.connect() as s:\n    s.memory.put('one')\n    s.files.write_bytes('f', b'x')\n"
    place = folder(tmp_path / "demo", program)
    system.apps.install(place)
    before = len(system.memory.list("demo/default"))
    assert said(begin(system))[1].status == 1
    rights = '[[permissions]]\nobject = "fs:/home/$self/**"\naction = "fs.*"\n'
    folder(place, program, rights, version="2")
    asked = system.apps.check(place)
    assert (asked.installed, asked.version) == ("1", "2")
    assert [line for line in asked.added if "fs.*" in line]
    assert system.apps.install(place).version == "2"
    assert said(begin(system))[1].status == 0
    assert len(system.memory.list("demo/default")) == before + 2


def test_an_app_that_was_removed_and_installed_again_finds_what_it_has_kept(
    system: llmos.System, tmp_path: Path
) -> None:
    program = "import llmos\nwith llmos.connect() as s:\n    print(len(s.memory.list()))\n    s.memory.put('one')\n"
    place = folder(tmp_path / "again", program, name="again")
    for expected in ("0\n", "1\n"):
        system.apps.install(place)
        run = system.apps.run("again", sandboxed=False)
        assert said(run)[0] == expected
        system.apps.remove("again")
    with pytest.raises(llmos.NotFound):
        system.apps.run("again", sandboxed=False)


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        ("", llmos.InvalidArgument),
        ("unknown = 1", llmos.InvalidArgument),
        ('[[permissions]]\nobject = "policy:/"\naction = "sec.policy_apply"', llmos.InvalidArgument),
        ("[image]\npackages = ['https://somewhere/x.whl']", llmos.InvalidArgument),
    ],
)
def test_a_bad_app_is_refused_and_changes_nothing(
    system: llmos.System, tmp_path: Path, manifest: str, error: type[llmos.Error]
) -> None:
    place = folder(tmp_path / "demo", "print(1)", manifest)
    if not manifest:
        (place / "app.toml").write_text('name = "Demo!"\nversion = "1"')
    with pytest.raises(error):
        system.apps.install(place)
    assert system.apps.list() == []
    assert not [file for file in system.policy.show().files if file.name.startswith("app-")]


def test_the_name_of_somebody_else_is_not_an_apps(system: llmos.System, tmp_path: Path) -> None:
    with pytest.raises(llmos.AlreadyExists):
        system.apps.install(folder(tmp_path / "bob", "print(1)", name="bob"))


def test_other_tenants_do_not_know_of_an_app(daemon: Daemon, system: llmos.System, tmp_path: Path) -> None:
    system.apps.install(folder(tmp_path / "theirs", "print(1)", name="theirs"), tenant="acme")
    with daemon.connect("bob") as bob:
        assert bob.apps.list() == []
        with pytest.raises(llmos.NotFound) as hidden:
            bob.apps.run("theirs")
        with pytest.raises(llmos.NotFound) as missing:
            bob.apps.run("nobody")
    assert str(hidden.value).replace("theirs", "nobody") == str(missing.value)


def test_the_administrator_of_a_tenant_installs_apps_there_and_nowhere_else(
    daemon: Daemon, system: llmos.System, tmp_path: Path
) -> None:
    key = tmp_path / "ada.key"
    system.keys.create("ada", "admin", tenant="acme", path=key)
    with llmos.connect(daemon.endpoint, key) as ada:
        place = folder(tmp_path / "ours", "print(1)", name="ours")
        assert ada.apps.install(place).tenant == "acme"
        with pytest.raises(llmos.PermissionDenied):
            ada.apps.install(folder(tmp_path / "yours", "print(1)", name="yours"), tenant="default")


def test_on_the_command_line_a_new_app_is_made_installed_and_run(
    daemon: Daemon, system: llmos.System, tmp_path: Path
) -> None:
    place = tmp_path / "my-hello"
    assert "my_hello" in daemon.llmosctl("app", "new", str(place)).stdout
    (place / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(5)\n")
    assert daemon.llmosctl("app", "install", str(place), "--yes").stdout.startswith("my_hello 0.1.0 is installed")
    command = (sys.executable, "-m", "llmos.apps.llmosctl", "app", "run", "--unsandboxed", "my_hello", "--yes", "-x")
    environment = {"LLMOS_ENDPOINT": daemon.endpoint, "LLMOS_KEY": str(daemon.key())}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )
    assert (done.returncode, done.stdout) == (5, "['--yes', '-x']\n")
    assert "WITHOUT A SANDBOX" in done.stderr
    assert "WITHOUT A SANDBOX; exited with status 5" in daemon.llmosctl("app", "list").stdout
    assert daemon.llmosctl("app", "logs", "my_hello").stdout == "['--yes', '-x']\n"
    daemon.llmosctl("app", "remove", "my_hello")
    assert "my_hello" not in daemon.llmosctl("app", "list").stdout

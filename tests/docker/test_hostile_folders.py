"""What is refused before anything of it reaches an engine: archives, manifests and packages that are not what they
should be. The same is tested piece by piece without an engine; here it comes in over the wire.
"""

from __future__ import annotations

import tarfile

import pytest

import llmos
from llmos.sandbox.containers import APP
from llmos.syscalls.wire.frames import MAX_FRAME
from tests.docker.app_house import AppHouse, write_app
from tests.e2e.raw_client import raw_client
from tests.unit.app_archives import entry, packed

pytestmark = [pytest.mark.docker]

MANIFEST = b'name = "evil"\nversion = "1.0"\n'


@pytest.mark.parametrize(
    "bad",
    [
        entry("link", tarfile.SYMTYPE, "/etc/shadow"),
        entry("link", tarfile.LNKTYPE, "app.toml"),
        entry("disk", tarfile.BLKTYPE),
        entry("memory", tarfile.CHRTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("/etc/passwd", tarfile.REGTYPE),
        entry("../../etc/passwd", tarfile.REGTYPE),
        entry("a/../../b", tarfile.REGTYPE),
    ],
    ids=lambda bad: f"{bad.name} {bad.type.decode()}",
)
def test_an_archive_with_what_leads_out_is_refused(runc: AppHouse, bad: tarfile.TarInfo) -> None:
    archive = packed({"app.toml": MANIFEST, "__main__.py": b""}, [bad])
    with raw_client(runc.daemon.endpoint, runc.daemon.key()) as client:
        assert client.error("app.install", {"name": "evil", "archive": archive}) == "EINVAL"
    assert runc.engine.images(APP, "evil") == []


def test_an_archive_that_unpacks_to_gigabytes_is_refused(runc: AppHouse) -> None:
    archive = packed({"app.toml": MANIFEST, "zeros": bytes(64 << 20)})
    assert len(archive) < MAX_FRAME
    with raw_client(runc.daemon.endpoint, runc.daemon.key()) as client:
        assert client.error("app.install", {"name": "evil", "archive": archive}) == "EINVAL"
    runc.check_others()


@pytest.mark.parametrize(
    ("object", "action"),
    [
        ("key:/**", "sec.key_create"),
        ("policy:/", "sec.policy_apply"),
        ("audit:/**", "sec.audit_tail"),
        ("app:/*", "app.run"),
        ("app:/*", "app.run_unsandboxed"),
        ("sys:/", "sys.shutdown"),
        ("**", "**"),
        ("proc:/$self/*", "sec.*"),
    ],
)
def test_a_manifest_cannot_ask_for_what_is_no_apps_business(runc: AppHouse, object: str, action: str) -> None:
    permission = f'[[permissions]]\nobject = "{object}"\naction = "{action}"\n'
    with pytest.raises(llmos.InvalidArgument):
        runc.install("evil", "", permission)
    assert runc.engine.images(APP, "evil") == []
    assert "evil" not in {app.name for app in runc.system.apps.list()}


@pytest.mark.parametrize(
    "package", ["numpy", "numpy>=1", "--index-url=x==1", "./evil==1", "x @ file:///tmp/x", "../x==1", "a==1; b"]
)
def test_a_package_is_a_name_and_a_version_and_nothing_else(runc: AppHouse, package: str) -> None:
    with pytest.raises(llmos.InvalidArgument):
        runc.install("evil", "", f'[image]\npackages = ["{package}"]\n')


def test_a_package_that_nobody_has_is_said_to_be_missing(runc: AppHouse) -> None:
    with pytest.raises(llmos.NotFound, match="llmos-no-such-package"):
        runc.install("evil", "", '[image]\npackages = ["llmos-no-such-package==1.0"]\n')
    assert "evil" not in {app.name for app in runc.system.apps.list()}


@pytest.mark.parametrize("name", ["admin", "bob"])
def test_an_app_cannot_take_the_name_of_somebody(runc: AppHouse, name: str) -> None:
    with pytest.raises(llmos.AlreadyExists):
        runc.system.apps.install(write_app(runc.folder, name, ""))


def test_limits_are_bounded(runc: AppHouse) -> None:
    for limits in ('memory = "1KiB"', "processes = 1", "cpus = 0", 'scratch = "100000GiB"', "processes = 1000000"):
        with pytest.raises(llmos.InvalidArgument):
            runc.install("evil", "", f"[limits]\n{limits}\n")

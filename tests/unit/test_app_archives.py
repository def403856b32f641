"""What comes in as an app: its archive, its manifest, and the role that is made of that."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest

from llmos.kernel.gate.apps import archive as archives
from llmos.kernel.gate.apps.archive import unpack
from llmos.kernel.gate.apps.manifest import Manifest, parse_manifest
from llmos.kernel.gate.apps.role import asked, rules
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES
from llmos.kernel.security.policy.document import Source, parse, read_sources
from llmos.kernel.security.policy.lint import Severity, lint
from llmos.syscalls.abi.apps import MAX_ARCHIVE, Restart
from llmos.syscalls.abi.errors import InvalidArgument, MessageTooLong, NotFound
from llmos.syscalls.sdk.app_folders import pack
from tests.unit.app_archives import MANIFEST, entry, packed


def manifest(text: str = "") -> Manifest:
    """The usual one, and more."""
    return parse_manifest(MANIFEST + text.encode())


def permission(object: str, action: str, condition: str = "") -> Manifest:
    """One that asks for one thing."""
    return parse_manifest(
        f'name = "demo"\nversion = "1"\n[[permissions]]\nobject = "{object}"\naction = "{action}"\n'
        f'condition = "{condition}"\n'.encode()
    )


# --- archives


@pytest.mark.parametrize("pressed", [True, False])
def test_an_archive_gives_its_files(pressed: bool) -> None:
    files = {"app.toml": MANIFEST, "demo/deep/er.py": b"x = 1\n"}
    assert unpack(packed(files, pressed=pressed)) == files


@pytest.mark.parametrize(
    "bad",
    [
        entry("passwd", tarfile.SYMTYPE, "/etc/passwd"),
        entry("app.toml.2", tarfile.LNKTYPE, "app.toml"),
        entry("null", tarfile.CHRTYPE),
        entry("disk", tarfile.BLKTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("../out", tarfile.REGTYPE),
        entry("/etc/cron.d/job", tarfile.REGTYPE),
        entry("a/../../b", tarfile.REGTYPE),
        entry("x" * 300, tarfile.REGTYPE),
        entry("a\nb", tarfile.REGTYPE),
        entry("a\x1b[2Jb", tarfile.REGTYPE),
    ],
    ids=lambda bad: repr(bad.name[:12]),
)
def test_an_archive_with_what_is_no_plain_file_is_refused_whole(bad: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidArgument):
        unpack(packed({"app.toml": MANIFEST}, [bad]))


def test_an_archive_is_bounded_in_files_and_bytes() -> None:
    many = {f"f{number}": b"" for number in range(archives.MOST_FILES)}
    with pytest.raises(InvalidArgument, match="files"):
        unpack(packed({"app.toml": MANIFEST, **many}))
    with pytest.raises(InvalidArgument, match="bytes"):
        unpack(packed({"app.toml": MANIFEST, "zeros": bytes(archives.MOST_BYTES)}))


@pytest.mark.parametrize("bad", [b"", b"\0" * 10_000, b"not a tar", packed({"app.toml": MANIFEST})[:60]])
def test_what_is_no_archive_is_said_to_be_none(bad: bytes) -> None:
    with pytest.raises((InvalidArgument, NotFound)):
        unpack(bad)


def test_an_app_without_a_manifest_is_none() -> None:
    with pytest.raises(NotFound, match=r"app\.toml"):
        unpack(packed({"main.py": b""}))


# --- folders


def test_a_folder_is_packed_without_what_stays_at_home_and_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_bytes(MANIFEST)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.py").write_text("x")
    for left in (".git", "__pycache__", "tests"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "y").write_text("y")
    first = pack(tmp_path)
    assert first.name == "demo"
    assert set(unpack(first.archive)) == {"app.toml", "deep/x.py"}
    assert pack(tmp_path) == first


def test_a_folder_that_is_no_app_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"app\.toml"):
        pack(tmp_path)
    (tmp_path / "app.toml").write_text("name = [")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        pack(tmp_path)
    (tmp_path / "app.toml").write_text("version = '1'")
    with pytest.raises(InvalidArgument, match="names no app"):
        pack(tmp_path)


def test_a_folder_with_a_link_or_too_much_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_bytes(MANIFEST)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgument, match="link"):
        pack(tmp_path)
    (tmp_path / "link").unlink()
    chance = random.Random(1)
    (tmp_path / "noise").write_bytes(chance.randbytes(MAX_ARCHIVE + 1))
    with pytest.raises(MessageTooLong, match="the limit is"):
        pack(tmp_path)


# --- manifests


def test_a_manifest_has_defaults_that_are_small() -> None:
    made = manifest()
    assert (made.name, made.version, made.restart, made.role) == ("demo", "1.0", Restart.NO, "app-demo")
    assert made.confinement.memory == 256 << 20
    assert made.confinement.scratch == 64 << 20


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[limits]\nmemory = '1MiB'", "memory"),
        ("[limits]\nmemory = '8GB'", "memory"),
        ("[limits]\nmemory = '999999999GiB'", "memory"),
        ("[limits]\ncpus = 0", "cpus"),
        ("[limits]\nprocesses = 1", "processes"),
        ("[limits]\nscratch = '1KiB'", "scratch"),
        ("[limits]\nfoo = 1", "foo"),
        ("[network]\nhosts = ['example.org:443']\nfoo = 1", "foo"),
        ("[network]\nhosts = ['example.org']", "hosts"),
        ("[network]\nhosts = ['*:443']", "hosts"),
        ("[network]\nhosts = ['example.org:99999']", "hosts"),
        ("[image]\npackages = ['requests']", "packages"),
        ("[image]\npackages = ['--index-url=x==1']", "packages"),
        ("[image]\npackages = ['a==1; os_name']", "packages"),
        ("[[permissions]]\nobject = 'x'", "action"),
        ("[[permissions]]\nobject = 'x, y'\naction = 'z'", "object"),
        ('[[permissions]]\nobject = "x\\ny"\naction = "z"', "object"),
        ("[health]\nsilence = -1", "silence"),
    ],
)
def test_a_bad_manifest_is_refused_and_says_what_is_bad(text: str, what: str) -> None:
    with pytest.raises(InvalidArgument, match=what):
        manifest(text)


@pytest.mark.parametrize("name", ["", "Demo", "1demo", "de-mo", "a" * 32, "../x", "démo"])
def test_a_name_that_no_package_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        parse_manifest(f'name = "{name}"\nversion = "1"'.encode())


@pytest.mark.parametrize("content", [b"\xff", b"name =", b"[[[", b"name = 'x'\nname = 'y'"])
def test_what_is_no_toml_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"app\.toml"):
        parse_manifest(content)


# --- roles


def test_rules_are_of_the_apps_own_role_and_tenant() -> None:
    text = rules(manifest(), "acme")
    (rule,) = parse([Source("app-demo.csv", text)]).rules
    assert (rule.who, rule.tenant, rule.object, rule.action) == ("role:app-demo", "acme", "proc:/$self/*", "proc.*")


def test_processes_are_of_the_class_normal_unless_more_is_asked_for_in_so_many_words() -> None:
    assert "class<=normal" in rules(permission("proc:/$self/*", "proc.*"), "default")
    assert "class<=normal context<=100" in rules(permission("proc:/$self/*", "proc.spawn", "context<=100"), "default")
    urgent = permission("proc:/$self/*", "proc.spawn", "class<=interactive")
    assert "class<=normal" not in rules(urgent, "default")
    assert not asked(urgent)[0].usual
    assert "class" not in rules(permission("mem:/$self/*", "mem.*"), "default")


@pytest.mark.parametrize(
    ("object", "action"),
    [
        ("key:/default/*", "sec.key_create"),
        ("**", "**"),
        ("policy:/", "sec.policy_apply"),
        ("audit:/default", "sec.audit_read"),
        ("sys:/", "sys.shutdown"),
        ("sys:/", "*"),
        ("app:/*", "app.run"),
        ("app:/demo", "app.run_unsandboxed"),
    ],
)
def test_no_manifest_can_ask_for_what_is_no_apps_business(object: str, action: str) -> None:
    with pytest.raises(InvalidArgument, match="which no app may"):
        rules(permission(object, action), "default")


@pytest.mark.parametrize(("object", "action"), [("nothing:/x", "proc.spawn"), ("proc:/$self/*", "proc.fly")])
def test_a_permission_that_allows_nothing_is_an_error(object: str, action: str) -> None:
    with pytest.raises(InvalidArgument, match="nothing is allowed"):
        rules(permission(object, action), "default")


def test_what_the_shipped_role_has_too_is_usual_and_anything_else_is_shown() -> None:
    for object, action, usual in (
        ("mem:/$self/*", "mem.*", True),
        ("mem:/$self/notes", "mem.search", True),
        ("mem:/@$tenant/*", "mem.put", False),
        ("fs:/home/$self/**", "fs.read", True),
        ("fs:/home/**", "fs.read", False),
        ("proc:/$self/*", "proc.*", True),
        ("proc:/*/*", "proc.*", False),
    ):
        (one,) = asked(permission(object, action))
        assert one.usual is usual, (object, action)


def test_the_role_of_an_app_is_one_that_the_linter_finds_no_fault_with() -> None:
    document = parse([*read_sources(SHIPPED_ROLES), Source("app-demo.csv", rules(manifest(), "default"))])
    found = [one for one in lint(document) if one.severity is Severity.ERROR]
    assert not found

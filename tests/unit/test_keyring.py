"""Keys and principals: made once, found by key while they are valid, never lost by half."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from llmos.kernel.core.principal import SYSTEM, Principal
from llmos.kernel.security.identity.keyring import Keyring
from llmos.syscalls.abi.errors import AlreadyExists, Busy, DeviceError, InvalidArgument, NotFound
from llmos.syscalls.abi.words import KeyKind
from llmos.syscalls.wire.keys import api_key, load_key, new_keypair, pair_of_api_key

ADMIN = Principal("admin", "admin", SYSTEM)
ALICE = Principal("alice", "developer", "acme")


def holder(keyring: Keyring, public: str) -> Principal | None:
    identity = keyring.find(public)
    return identity.principal if identity is not None else None


def test_the_first_start_makes_an_admin_key_and_the_next_keeps_it(tmp_path: Path) -> None:
    first = Keyring.open(tmp_path / "keys")
    key = load_key(tmp_path / "keys" / "admin.key")
    assert key.server == first.server.pair.public
    assert holder(first, key.pair.public) == ADMIN
    again = Keyring.open(tmp_path / "keys")
    assert again.server.pair == first.server.pair
    assert holder(again, key.pair.public) == ADMIN
    for name in ("server.key", "admin.key", "principals.toml"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert (tmp_path / "keys" / "server.pub").read_text().strip() == first.server.pair.public


def test_a_lost_admin_key_is_replaced_and_the_old_one_stops_working(tmp_path: Path) -> None:
    Keyring.open(tmp_path)
    old = load_key(tmp_path / "admin.key")
    (tmp_path / "admin.key").unlink()
    keyring = Keyring.open(tmp_path)
    assert keyring.find(old.pair.public) is None
    assert holder(keyring, load_key(tmp_path / "admin.key").pair.public) == ADMIN


def test_a_principal_is_found_by_its_key_alone(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    key = load_key(keyring.create("alice", "developer", tenant="acme"))
    assert holder(keyring, key.pair.public) == ALICE
    assert keyring.find(key.pair.secret) is None
    assert keyring.find("alice") is None


def test_a_name_and_a_key_are_given_once_also_after_a_revocation(tmp_path: Path) -> None:
    keyring, pair = Keyring.open(tmp_path), new_keypair()
    keyring.enrol(ALICE, pair.public)
    keyring.revoke("alice")
    with pytest.raises(AlreadyExists):
        keyring.create("alice", "admin", tmp_path / "other.key")
    with pytest.raises(AlreadyExists):
        keyring.enrol(ALICE, new_keypair().public)
    with pytest.raises(AlreadyExists):
        keyring.enrol(Principal("bob", "developer"), pair.public)


@pytest.mark.parametrize(
    ("principal", "public"),
    [
        (Principal("../alice", "developer"), new_keypair().public),
        (Principal("alice", "a/b"), new_keypair().public),
        (Principal("alice", "developer", "*"), new_keypair().public),
        (Principal("kernel", "developer"), new_keypair().public),
        (Principal("alice", "developer"), "short"),
        (Principal("alice", "developer"), "\\" * 40),
    ],
)
def test_what_cannot_be_a_name_or_a_key_is_refused(tmp_path: Path, principal: Principal, public: str) -> None:
    with pytest.raises(InvalidArgument):
        Keyring.open(tmp_path).enrol(principal, public)


def test_a_revoked_key_opens_nothing_now_and_after_a_restart(tmp_path: Path) -> None:
    keyring, pair = Keyring.open(tmp_path), new_keypair()
    keyring.enrol(ALICE, pair.public)
    assert holder(keyring, pair.public) == ALICE
    keyring.revoke("alice")
    for ring in (keyring, Keyring.open(tmp_path)):
        assert ring.find(pair.public) is None
        assert ring.known(pair.public) is None
        named = ring.named("alice")
        assert named is not None
        assert named.revoked is not None
    with pytest.raises(NotFound):
        keyring.revoke("nobody")


def test_a_key_expires_when_its_time_has_come(tmp_path: Path) -> None:
    now = [1000.0]
    keyring, pair = Keyring.open(tmp_path, lambda: now[0]), new_keypair()
    keyring.enrol(ALICE, pair.public, expires=1010.0)
    assert keyring.known(pair.public) is not None
    now[0] = 1010.0
    assert keyring.known(pair.public) is None
    assert keyring.find(pair.public) is None


def test_everything_about_a_key_is_kept(tmp_path: Path) -> None:
    keyring, pair = Keyring.open(tmp_path, lambda: 5.25), new_keypair()
    bot = Principal("bot", "app", "acme", KeyKind.APP)
    made = keyring.enrol(bot, pair.public, expires=10.5, rate=100.0)
    assert Keyring.open(tmp_path, lambda: 5.5).find(pair.public) == made


def test_a_running_keyring_learns_new_keys_and_survives_a_damaged_registry(tmp_path: Path) -> None:
    serving, other = Keyring.open(tmp_path), Keyring.open(tmp_path)
    alice = load_key(other.create("alice", "developer", tenant="acme"))
    assert holder(serving, alice.pair.public) == ALICE
    (tmp_path / "principals.toml").write_text("[[principal]\n")
    assert serving.find("x" * 40) is None
    assert holder(serving, alice.pair.public) == ALICE
    with pytest.raises(InvalidArgument):
        Keyring.open(tmp_path)


def test_a_damaged_server_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("short\n")
    with pytest.raises(InvalidArgument):
        Keyring.open(tmp_path)


def test_a_rotation_announces_the_next_server_key_and_survives_restarts_on_both_sides(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    old, rotation = keyring.server.pair, keyring.server.rotate(99.0)
    with pytest.raises(Busy):
        keyring.server.rotate(100.0)
    assert keyring.server.pair == old
    again = Keyring.open(tmp_path)
    assert again.server.pair == old
    assert again.server.rotation == rotation
    again.server.switch()
    last = Keyring.open(tmp_path)
    assert last.server.pair == rotation.pair
    assert last.server.rotation is None
    assert (tmp_path / "server.pub").read_text().strip() == rotation.pair.public


def test_a_switch_that_a_crash_cut_short_is_over(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    rotation = keyring.server.rotate(99.0)
    (tmp_path / "server.key").write_text((tmp_path / "server-next.key").read_text())
    again = Keyring.open(tmp_path)
    assert again.server.pair == rotation.pair
    assert again.server.rotation is None


def test_what_the_disk_refuses_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    keyring, pair = Keyring.open(tmp_path), new_keypair()
    # A folder in the place of the file: it cannot be replaced.
    registry = tmp_path / "principals.toml"
    registry.rename(tmp_path / "aside")
    registry.mkdir()
    with pytest.raises(DeviceError, match=r"principals\.toml cannot be written"):
        keyring.enrol(ALICE, pair.public)
    assert keyring.find(pair.public) is None
    registry.rmdir()
    (tmp_path / "aside").rename(registry)
    keyring.enrol(ALICE, pair.public)
    assert holder(keyring, pair.public) == ALICE


def test_a_switch_that_the_disk_refuses_can_be_tried_again(tmp_path: Path) -> None:
    server = Keyring.open(tmp_path).server
    old, following = server.pair, server.rotate(0.0).pair
    published = tmp_path / "server.pub"
    published.unlink()
    published.mkdir()
    with pytest.raises(DeviceError):
        server.switch()
    assert server.pair == old
    assert server.rotation is not None
    published.rmdir()
    server.switch()
    assert server.pair == following
    assert Keyring.open(tmp_path).server.pair == following
    assert published.read_text().strip() == following.public


def test_secrets_are_in_no_text_of_the_keys(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    rotation = keyring.server.rotate(99.0)
    shown = repr((keyring.server.pair, rotation, keyring.identities(), load_key(tmp_path / "admin.key")))
    for secret in (keyring.server.pair.secret, rotation.pair.secret, load_key(tmp_path / "admin.key").pair.secret):
        assert secret not in shown
        assert secret not in (tmp_path / "principals.toml").read_text()


def test_an_api_key_is_the_key_in_one_word(tmp_path: Path) -> None:
    pair = new_keypair()
    assert pair_of_api_key(api_key(pair)) == pair
    for word in ("", "llmos-", "llmos-äöü", "sk-something", "llmos-" + "A" * 12):
        with pytest.raises(InvalidArgument):
            pair_of_api_key(word)

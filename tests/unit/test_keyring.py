"""Keys and principals: made once, found by key, never lost by half."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from llmos.kernel.gate.keyring import Keyring
from llmos.kernel.gate.principal import Principal, Rank
from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument
from llmos.syscalls.wire.keys import load_key


def test_the_first_start_makes_an_admin_key_and_the_next_keeps_it(tmp_path: Path) -> None:
    first = Keyring.open(tmp_path / "keys")
    key = load_key(tmp_path / "keys" / "admin.key")
    assert key.server == first.pair.public
    assert first.find(key.pair.public) == Principal("admin", Rank.ADMIN)
    again = Keyring.open(tmp_path / "keys")
    assert again.pair == first.pair
    assert again.find(key.pair.public) == Principal("admin", Rank.ADMIN)
    for name in ("server.key", "admin.key", "principals.toml"):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600
    assert (tmp_path / "keys" / "server.pub").read_text().strip() == first.pair.public


def test_a_lost_admin_key_is_replaced_and_the_old_one_stops_working(tmp_path: Path) -> None:
    Keyring.open(tmp_path)
    old = load_key(tmp_path / "admin.key")
    (tmp_path / "admin.key").unlink()
    keyring = Keyring.open(tmp_path)
    assert keyring.find(old.pair.public) is None
    assert keyring.find(load_key(tmp_path / "admin.key").pair.public) == Principal("admin", Rank.ADMIN)


def test_a_principal_is_found_by_its_key_alone(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    key = load_key(keyring.create("alice", Rank.USER))
    assert keyring.find(key.pair.public) == Principal("alice", Rank.USER)
    assert keyring.find(key.pair.secret) is None
    assert keyring.find("alice") is None


def test_a_name_is_given_once(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path)
    keyring.create("alice", Rank.USER)
    with pytest.raises(AlreadyExists):
        keyring.create("alice", Rank.ADMIN, tmp_path / "other.key")
    with pytest.raises(InvalidArgument):
        keyring.create("../alice", Rank.USER)


def test_a_running_keyring_learns_new_keys_and_survives_a_damaged_registry(tmp_path: Path) -> None:
    serving, other = Keyring.open(tmp_path), Keyring.open(tmp_path)
    alice = load_key(other.create("alice", Rank.USER))
    assert serving.find(alice.pair.public) == Principal("alice", Rank.USER)
    (tmp_path / "principals.toml").write_text("[[principal]\n")
    assert serving.find("x" * 40) is None
    assert serving.find(alice.pair.public) == Principal("alice", Rank.USER)
    with pytest.raises(InvalidArgument):
        Keyring.open(tmp_path)


def test_a_damaged_server_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("short\n")
    with pytest.raises(InvalidArgument):
        Keyring.open(tmp_path)

"""Key files and the places where clients look."""

from __future__ import annotations

from pathlib import Path
from stat import S_IMODE

import pytest

from llmos.syscalls.abi.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from llmos.syscalls.wire.home import default_endpoint, default_key, home_directory, socket_endpoint
from llmos.syscalls.wire.keys import Key, load_key, new_keypair, save_key


@pytest.fixture
def key() -> Key:
    return Key("alice", new_keypair(), new_keypair().public)


def test_a_key_file_gives_back_what_was_saved_and_is_private(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "alice.key"
    save_key(path, key)
    assert load_key(path) == key
    assert S_IMODE(path.stat().st_mode) == 0o600


def test_every_new_key_can_be_saved_and_loaded(tmp_path: Path) -> None:
    for number in range(100):
        key = Key("a", new_keypair(), new_keypair().public)
        save_key(tmp_path / str(number), key)
        assert load_key(tmp_path / str(number)) == key


def test_a_secret_is_not_in_the_repr(key: Key) -> None:
    assert key.pair.secret not in repr(key)


def test_a_key_file_is_never_overwritten(tmp_path: Path, key: Key) -> None:
    save_key(tmp_path / "k", key)
    with pytest.raises(AlreadyExists):
        save_key(tmp_path / "k", key)


def test_a_key_needs_a_plain_name(tmp_path: Path, key: Key) -> None:
    with pytest.raises(InvalidArgument):
        save_key(tmp_path / "k", Key('a"\nsecret = "', key.pair, key.server))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_can_touch_is_refused(tmp_path: Path, key: Key, mode: int) -> None:
    path = tmp_path / "k"
    save_key(path, key)
    path.chmod(mode)
    with pytest.raises(PermissionDenied) as caught:
        load_key(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        load_key(tmp_path / "nowhere")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_key(tmp_path)


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        ('name = "alice"', 'name = "alice'),
        ('name = "alice"', "name = 3"),
        ('name = "alice"', 'name = ""'),
        ('name = "alice"', 'name = "alice"\ncolor = "red"'),
        ('name = "alice"', "\xff"),
        ('name = "alice"\n', ""),
        ('server = "', 'server = "short'),
    ],
)
def test_a_damaged_key_file_says_what_is_wrong(tmp_path: Path, key: Key, find: str, replace: str) -> None:
    path = tmp_path / "k"
    save_key(path, key)
    path.write_bytes(path.read_text().replace(find, replace).encode("latin-1"))
    with pytest.raises(InvalidArgument, match="damaged") as caught:
        load_key(path)
    assert key.pair.secret not in caught.value.message


def test_a_public_key_that_is_not_the_secrets_own_is_damage(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "k"
    save_key(path, key)
    path.write_text(path.read_text().replace(key.pair.public, new_keypair().public))
    with pytest.raises(InvalidArgument, match="does not belong"):
        load_key(path)


def test_clients_look_where_the_environment_says() -> None:
    assert home_directory({"LLMOS_HOME": "/srv/llmos"}) == Path("/srv/llmos")
    assert home_directory({"XDG_DATA_HOME": "/data"}) == Path("/data/llmos")
    assert home_directory({"XDG_DATA_HOME": "relative"}) == Path.home() / ".local/share/llmos"
    there = {"LLMOS_HOME": "/srv/llmos"}
    assert default_endpoint(environment=there) == "ipc:///srv/llmos/run/kernel.sock"
    assert default_key(environment=there) == Path("/srv/llmos/keys/admin.key")
    named = there | {"LLMOS_ENDPOINT": "tcp://host:5", "LLMOS_KEY": "/k"}
    assert default_endpoint(environment=named) == "tcp://host:5"
    assert default_key(environment=named) == Path("/k")
    assert default_endpoint(Path("/other"), named) == "ipc:///other/run/kernel.sock"
    assert default_key(Path("/other"), named) == Path("/other/keys/admin.key")


def test_a_home_whose_socket_path_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="107"):
        socket_endpoint(Path("/" + "x" * 100))

"""The way out of a container: what is let through and what is not, over real sockets."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from llmos.sandbox.proxy import CONNECTIONS, Proxies

Told = list[tuple[str, str, bool]]


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        """Until the other side has sent all."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    """A service on this machine; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def told() -> Told:
    """What the kernel heard."""
    return []


@pytest.fixture
def path() -> Iterator[Path]:
    """Where the proxy is; a short path, because those of sockets are."""
    with TemporaryDirectory(prefix="llmos-") as folder:
        yield Path(folder) / "p"


@pytest.fixture
def proxies(told: Told) -> Iterator[Proxies]:
    """Proxies that are ended."""
    made = Proxies(lambda app, host, allowed: told.append((app, host, allowed)))
    yield made
    made.end()


def ask(path: Path, head: str) -> tuple[socket.socket, bytes]:
    """A connection, and the first line of what was answered."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    try:
        client.connect(str(path))
        client.sendall(head.encode())
        return client, client.recv(4096).split(b"\r\n")[0]
    except OSError:
        client.close()
        raise


def connect(path: Path, host: str) -> tuple[socket.socket, bytes]:
    """The same, as clients of HTTP ask."""
    return ask(path, f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n")


def test_an_app_reaches_the_host_that_it_named_and_that_is_told(
    proxies: Proxies, path: Path, echo: int, told: Told
) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, [f"127.0.0.1:{echo}"])
    client, status = connect(path, f"127.0.0.1:{echo}")
    with client:
        assert b"200" in status
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"hello"
        assert client.recv(100) == b""
    assert told == [("demo", f"127.0.0.1:{echo}", True)]


@pytest.mark.parametrize("host", ["127.0.0.1:1", "example.org:443", "127.0.0.1", "", "[::1]:22"])
def test_what_was_not_named_is_refused_and_told(proxies: Proxies, path: Path, told: Told, host: str) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, ["127.0.0.1:2"])
    client, status = connect(path, host)
    with client:
        assert b"403" in status or (host == "" and b"405" in status)
    assert told == ([("demo", host, False)] if host else told)


def test_a_name_that_leads_to_this_machine_is_refused_though_it_was_named(
    proxies: Proxies, path: Path, echo: int, told: Told
) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, [f"localhost:{echo}"])
    client, status = connect(path, f"localhost:{echo}")
    with client:
        assert b"403" in status
    assert not [one for one in told if one[2]]


@pytest.mark.parametrize(
    "head",
    [
        "GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
        "CONNECT\r\n\r\n",
        "CONNECT a b c d\r\n\r\n",
        "\r\n\r\n",
        "CONNECT ä:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_anything_but_connect_is_refused(proxies: Proxies, path: Path, head: str) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, ["127.0.0.1:2"])
    client, status = ask(path, head)
    with client:
        assert status.split(b" ")[1] in (b"405", b"400")


def test_a_head_that_never_ends_is_cut_off(proxies: Proxies, path: Path) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, ["127.0.0.1:2"])
    client, status = ask(path, "CONNECT " + "x" * 20_000)
    with client:
        assert status == b""


def test_a_host_that_does_not_answer_is_a_bad_gateway(proxies: Proxies, path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    proxies.open("demo", path, path.parent.stat().st_uid, [f"127.0.0.1:{port}"])
    client, status = connect(path, f"127.0.0.1:{port}")
    with client:
        assert b"502" in status


def test_connections_of_an_app_are_bounded(proxies: Proxies, path: Path, echo: int) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, [f"127.0.0.1:{echo}"])
    open_ones = [connect(path, f"127.0.0.1:{echo}") for _ in range(CONNECTIONS)]
    assert all(b"200" in status for _, status in open_ones)
    client, status = connect(path, f"127.0.0.1:{echo}")
    assert b"429" in status
    for one, _ in [*open_ones, (client, b"")]:
        one.close()


def test_a_way_that_is_closed_leads_nowhere(proxies: Proxies, path: Path) -> None:
    proxies.open("demo", path, path.parent.stat().st_uid, ["127.0.0.1:2"])
    proxies.close(path)
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        connect(path, "127.0.0.1:2")

"""The way out of a container: hosts that a manifest names, through a proxy that common clients find, and no others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.docker.app_house import AppHouse

CLIENT = """
import os, sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

proxy = urlsplit(os.environ["https_proxy"])
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    connection = HTTPConnection(proxy.hostname, proxy.port, timeout=20)
    connection.set_tunnel(host, int(port))
    try:
        connection.request("GET", "/")
        print(connection.getresponse().read().decode())
    except OSError as error:
        print(error)
"""


class Hello(BaseHTTPRequestHandler):
    """Answers everything."""

    def do_GET(self) -> None:
        """One line."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from outside")

    def log_message(self, format: str, *values: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def outside() -> Iterator[int]:
    """A service on this machine; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_an_app_reaches_the_host_that_it_names_and_no_other_and_both_are_recorded(
    boxes: AppHouse, outside: int
) -> None:
    named, other = f"127.0.0.1:{outside}", "127.0.0.1:1"
    boxes.install("caller", CLIENT, f'[network]\nhosts = ["{named}"]\n')
    said = boxes.run(named, other, app="caller")
    first, second = said.out.splitlines()
    assert first == "hello from outside"
    assert "403" in second
    recorded = {one.detail: one.outcome for one in boxes.audited("daemon")}
    assert recorded[f"caller reaches {named}"] == ""  # as it should be
    assert recorded[f"caller may not reach {other!r}"] == "denied"


def test_an_app_that_names_no_host_has_no_proxy(boxes: AppHouse) -> None:
    assert boxes.run("import os; print(os.path.exists('/run/llmos/proxy.sock'), 'https_proxy' in os.environ)").out == (
        "False False\n"
    )

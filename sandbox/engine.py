"""A Docker engine: one connection, what it is, and its failures in the words of the abi.

It does not know images or containers. Rule: no engine is an error that says how to get one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from llmos.kernel.ports.sandbox import EngineFacts
from llmos.sandbox.confinement import GVISOR
from llmos.syscalls.abi import errors as abi

HOW_TO_GET_ONE = "install Docker (on Debian: apt install docker.io) and start it; DOCKER_HOST names one elsewhere"
SECONDS = 120
"""After so long an engine that says nothing counts as broken."""

_POOL = 64


class Engine:
    """Reached when it is first needed; `wanted` is the runtime: `auto`, `runc` or `runsc`."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._client: docker.APIClient | None = None

    @property
    def client(self) -> docker.APIClient:
        """The connection. Raises `NotSupported`."""
        if self._client is None:
            try:
                self._client = docker.APIClient(version="auto", timeout=SECONDS, num_pools=_POOL, **kwargs_from_env())
            except (DockerException, requests.RequestException, OSError) as error:
                raise _unreachable(error) from None
        return self._client

    def facts(self) -> EngineFacts:
        """What answers, and which runtime it is to use. Raises `NotSupported`."""
        with said_plainly("the engine"):
            version, info = self.client.version(), self.client.info()
        return EngineFacts("Docker", str(version["Version"]), self._runtime(info["Runtimes"]))

    def _runtime(self, there: dict[str, object]) -> str:
        if self._wanted == "auto":
            return GVISOR if GVISOR in there else "runc"
        if self._wanted not in there:
            raise abi.NotSupported(
                f"the container engine has no runtime {self._wanted}", f"it has {', '.join(sorted(there))}"
            )
        return self._wanted

    def close(self) -> None:
        """Let go of it."""
        if self._client is not None:
            self._client.close()


@contextmanager
def said_plainly(what: str) -> Iterator[None]:
    """Turn the library's failures into the abi's."""
    try:
        yield
    except (ImageNotFound, NotFound) as error:
        raise abi.NotFound(f"{what}: {error.explanation or error}") from None
    except APIError as error:
        raise abi.DeviceError(f"{what}: the container engine refused: {error.explanation or error}") from None
    except requests.ConnectionError as error:
        raise _unreachable(error) from None
    except (DockerException, requests.RequestException) as error:
        raise abi.DeviceError(f"{what}: the container engine failed: {error}") from None


def _unreachable(error: Exception) -> abi.NotSupported:
    return abi.NotSupported(f"no container engine answers, and apps run in containers ({error})", HOW_TO_GET_ONE)

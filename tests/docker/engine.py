"""The container engine of the tests: which one answers, what it runs containers with, and what images are built on.

It does not know llmos. `.ci/engine` starts one, and makes a base image, where there is none.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from dataclasses import dataclass

import docker
import requests
from docker.errors import DockerException, NotFound
from docker.utils import kwargs_from_env

BASE_VARIABLE = "LLMOS_TEST_BASE"
"""Names the image to build on; without it the first of these that the engine has."""

BASES = "llmos-base"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class MissingEngineError(Exception):
    """Nothing to run containers with; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class TestEngine:
    """An engine that answers."""

    __test__ = False

    client: docker.APIClient
    base: str
    runtimes: frozenset[str]

    def containers(self, label: str, value: str) -> list[str]:
        """The ids of all containers with a label, whatever their state, the newest first."""
        found = self.client.containers(all=True, filters={"label": f"{label}={value}"})
        return [str(one["Id"]) for one in found]

    def images(self, label: str, value: str) -> list[str]:
        """The ids of all images with a label."""
        return [str(one["Id"]) for one in self.client.images(filters={"label": f"{label}={value}"})]

    def runs(self, container: str) -> bool:
        """Whether its program runs, and does not wait."""
        try:
            state = self.client.inspect_container(container)["State"]
        except NotFound:
            return False
        return bool(state["Running"] and not state["Paused"])

    def waits(self, container: str) -> bool:
        """Whether it is frozen."""
        return bool(self.client.inspect_container(container)["State"]["Paused"])

    def process(self, container: str) -> int:
        """The process id of a container's program on the host; with gVisor that of its kernel."""
        return int(self.client.inspect_container(container)["State"]["Pid"])


def find_engine() -> TestEngine:
    """The engine that `DOCKER_HOST` names or that answers at the usual place. Raises `MissingEngineError`."""
    with warnings.catch_warnings():
        # Where nothing answers the library leaves its socket to the garbage collector, which would complain of that.
        warnings.simplefilter("ignore", ResourceWarning)
        found = _answering()
        gc.collect()
    if isinstance(found, str):
        raise MissingEngineError(f"no container engine answers: {found}")
    return TestEngine(found, _base(found), frozenset(found.info()["Runtimes"]))


def _answering() -> docker.APIClient | str:
    """A client of the engine, or why there is none."""
    try:
        return docker.APIClient(version="auto", timeout=60, **kwargs_from_env())
    except (DockerException, requests.RequestException, OSError) as error:
        return str(error)


def _base(client: docker.APIClient) -> str:
    named = os.environ.get(BASE_VARIABLE)
    if named:
        return named
    tags: list[str] = [tag for image in client.images() for tag in image["RepoTags"] or ()]
    wanted = f"python:{PYTHON}-slim"
    found = sorted(tag for tag in tags if tag == wanted or tag.startswith(f"{BASES}:"))
    if not found:
        raise MissingEngineError(
            f"the engine has no image to build on: {BASE_VARIABLE} names one, .ci/engine makes one"
        )
    return str(found[0])

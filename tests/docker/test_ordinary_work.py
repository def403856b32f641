"""What programs do with Python's standard library, numpy, scipy and the SDK works inside a container."""

from __future__ import annotations

import pytest

import llmos
from tests.docker.app_house import OWN, AppHouse, program

pytestmark = [pytest.mark.docker]

PACKAGES = ("numpy==2.4.6", "scipy==1.17.1")


def test_the_standard_library_and_the_sdk_work(boxes: AppHouse) -> None:
    assert boxes.run(program("ordinary_work")).answer(dict[str, str]) == {}


def test_numpy_and_scipy_work(runc: AppHouse) -> None:
    limits = '[limits]\nmemory = "512MiB"\n'
    packages = f"[image]\npackages = [{', '.join(map(repr, PACKAGES))}]\n".replace("'", '"')
    try:
        runc.install("reckoner", program("ordinary_work"), OWN + limits + packages)
    except llmos.NotFound as error:
        pytest.skip(f"{', '.join(PACKAGES)} cannot be had here: {error}")
    ran = runc.run("numpy", "scipy", app="reckoner")
    assert ran.answer(dict[str, str]) == {}

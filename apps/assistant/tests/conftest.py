"""A daemon with the app's key, whose role is what `app.toml` asks for and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmos.apps.assistant.tests.app_site import AppSite, app_site
from tests.e2e.conftest import model

__all__ = ["model"]


@pytest.fixture(scope="session")
def site(model: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppSite]:
    """For all tests of the app, each with sessions of its own."""
    with app_site(tmp_path_factory.mktemp("assistant")) as made:
        yield made

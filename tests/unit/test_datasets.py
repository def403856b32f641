"""Packages of data: what cannot be had skips a test or says why, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests import datasets


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llmos" / "datasets"


def test_a_package_that_nobody_has_skips_the_test_with_the_reason(cache: Path) -> None:
    missing = dataclasses.replace(datasets.CHATTERBOT_CORPUS, version="0.0.0.dev0")
    with pytest.raises(pytest.skip.Exception, match=r"chatterbot-corpus 0\.0\.0\.dev0 cannot be had here"):
        datasets.fetch(missing)
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_file_other_than_the_pinned_one_is_refused(cache: Path) -> None:
    datasets.fetch(datasets.CHATTERBOT_CORPUS)
    other = dataclasses.replace(datasets.CHATTERBOT_CORPUS, sha256="0" * 64)
    with pytest.raises(datasets.CannotBeHad, match="not the file that was pinned"):
        datasets.obtain(other)


def test_what_was_had_once_is_had_without_asking_again(cache: Path) -> None:
    folder = datasets.fetch(datasets.CHATTERBOT_CORPUS)
    assert (folder / "chatterbot_corpus" / "data" / "english" / "trivia.yml").is_file()
    kept = folder.stat().st_ino
    assert datasets.fetch(datasets.CHATTERBOT_CORPUS) == folder
    assert folder.stat().st_ino == kept

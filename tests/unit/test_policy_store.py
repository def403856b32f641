"""The files of the policy: what is written here is known, what others write meanwhile is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.kernel.security.policy.store import FileChange, PolicyStore
from llmos.syscalls.abi.errors import DeviceError

RULE = "p, role:developer, *, sys:/, sys.info, allow\n"


def touched(store: PolicyStore) -> bool:
    return store.touched


def test_ones_own_change_is_no_edit_and_another_file_that_was_edited_is(tmp_path: Path) -> None:
    store = PolicyStore(tmp_path)
    store.load()
    store.write(FileChange("own.csv", RULE))
    assert touched(store) is False
    (tmp_path / "other.csv").write_text(RULE)
    store.write(FileChange("own.csv", None))
    assert touched(store) is True
    store.load()
    assert touched(store) is False


def test_what_the_disk_refuses_is_an_error_and_leaves_the_folder_to_be_read_again(tmp_path: Path) -> None:
    store = PolicyStore(tmp_path)
    store.load()
    (tmp_path / "own.csv").mkdir()
    with pytest.raises(DeviceError, match=r"own\.csv cannot be written"):
        store.write(FileChange("own.csv", RULE))
    assert touched(store) is True

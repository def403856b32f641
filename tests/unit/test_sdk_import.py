"""What `import llmos` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llmos


def test_every_exported_name_is_there() -> None:
    for name in llmos.__all__:
        assert getattr(llmos, name).__name__ == name
    assert set(llmos.__all__) <= set(dir(llmos))


def test_there_is_an_exception_for_every_error_number() -> None:
    from llmos.syscalls.abi.errors import BY_NUMBER, Errno

    assert set(BY_NUMBER) == set(Errno)
    for kind in BY_NUMBER.values():
        assert getattr(llmos, kind.__name__) is kind


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        getattr(llmos, "conect")  # noqa: B009


def test_importing_llmos_loads_nothing_heavy_and_connecting_no_torch() -> None:
    program = (
        "import sys, llmos\n"
        "assert not {'zmq', 'msgspec', 'asyncio', 'torch'} & set(sys.modules)\n"
        "llmos.connect, llmos.Error\n"
        "assert not {'torch', 'transformers', 'numpy', 'asyncio'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

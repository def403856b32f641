"""The page of the boundary says what the table says."""

from __future__ import annotations

from pathlib import Path

from llmos.syscalls.abi.reference import reference
from llmos.syscalls.abi.table import CALLS

PAGE = Path(__file__).parents[2] / "docs" / "abi.md"


def test_the_page_of_the_boundary_is_up_to_date() -> None:
    written = PAGE.read_text()
    made = reference()
    assert written[written.index("### Calls") :] == made, "paste the output of python -m llmos.syscalls.abi.reference"


def test_the_reference_has_every_call_and_record() -> None:
    made = reference()
    for call in CALLS:
        assert f"`{call.name}`" in made
        assert f"#### {call.reply.__name__}\n" in made

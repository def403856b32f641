"""The gate misses no frame: what arrives while answers leave is seen without another frame's help."""

from __future__ import annotations

import asyncio
from pathlib import Path

import llmos
from tests.unit.gate_house import gate_house

CALLERS, ROUNDS, PATIENCE = 4, 400, 60


def test_calls_that_arrive_while_answers_leave_are_not_left_lying(tmp_path: Path) -> None:
    async def main() -> int:
        async with llmos.aconnect(house.endpoint, house.folder / "keys" / "admin.key") as system:

            async def call_again_and_again() -> int:
                return len([await system.info() for _ in range(ROUNDS)])

            async with asyncio.timeout(PATIENCE):
                return sum(await asyncio.gather(*(call_again_and_again() for _ in range(CALLERS))))

    with gate_house(tmp_path) as house:
        assert asyncio.run(main()) == CALLERS * ROUNDS

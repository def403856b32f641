"""Classification by what the language model thinks likely."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

import llmos
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TEXTS = ("The striker scored in the last minute of the match.", "The bank raised its interest rates again.")
LABELS = ("football", "finance")


def test_each_text_gets_the_label_that_it_makes_likelier(roomy: House) -> None:
    found = roomy.system.classify(TEXTS, LABELS, method="score")
    assert [one.label for one in found] == list(LABELS)
    assert all(math.isclose(sum(one.scores), 1.0) for one in found)
    assert found.model == roomy.engine.model


def test_the_asynchronous_client_does_the_same(roomy: House) -> None:
    async def labels() -> list[str]:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            return [one.label for one in await system.classify(TEXTS, LABELS, method="score")]

    assert asyncio.run(labels()) == list(LABELS)


def test_a_terminal_does_the_same(roomy: House) -> None:
    shown = roomy.daemon.llmosctl("classify", TEXTS[0], "--labels", ",".join(LABELS), "--score", "--json").stdout
    assert json.loads(shown)[0]["label"] == "football"


@pytest.mark.parametrize(
    ("texts", "labels", "template"),
    [
        ([], LABELS, None),
        ("one text", LABELS, None),
        (TEXTS, ("one",), None),
        (TEXTS, ("one", "one"), None),
        (TEXTS, ("one", ""), None),
        (TEXTS, LABELS, "no place"),
        (TEXTS, LABELS, "{} and {}"),
    ],
)
def test_what_cannot_be_classified_is_refused_and_leaves_no_process(
    roomy: House, texts: list[str], labels: tuple[str, ...], template: str | None
) -> None:
    with pytest.raises(llmos.InvalidArgument):
        roomy.system.classify(texts, labels, template=template, method="score")
    assert roomy.system.processes(all=True) == []

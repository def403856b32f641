"""What the model sees, and where each part of it comes from, through the SDK and from a terminal."""

from __future__ import annotations

import json

import pytest

import llmos
from tests.e2e.house import House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_every_part_of_a_context_says_where_it_comes_from(roomy: House) -> None:
    process = roomy.own(roomy.system.spawn(system="You answer briefly."))
    process.append([{"role": "user", "content": "Where is Paris?"}])
    process.generate(max_tokens=3, ignore_eos=True).result()
    item = roomy.system.memory.put(" Paris lies on the Seine.", namespace="notes")
    process.append(item.text, origin={"kind": "memory", "name": "notes", "id": item.id})
    seen = process.read()
    assert [(span.start, span.end) for span in seen.spans] == _joined([span.end for span in seen.spans])
    assert seen.spans[-1].end == len(seen.token_ids)
    assert "".join(span.text for span in seen.spans) == seen.text
    kinds = [(span.origin.kind.value, span.origin.by) for span in seen.spans]
    assert kinds == [("user", "admin"), ("model", ""), ("memory", "admin")]
    origin = seen.spans[-1].origin
    assert (origin.name, origin.id, origin.version) == ("admin/notes", item.id, 1)
    assert seen.spans[-1].text == item.text


def test_what_is_appended_from_memory_counts_as_read_when_it_is_taken_back(roomy: House) -> None:
    memory, process = roomy.system.memory, roomy.spawn()
    first = memory.put("The door code is 1234.", namespace="doors")
    second = memory.put("The door code is 6666.", namespace="doors", id=first.id)
    process.append(second.text, origin={"kind": "memory", "name": "doors", "id": first.id})
    derived = memory.rollback(first.id, 1, namespace="doors").derived
    assert [(one.pid, one.version) for one in derived] == [(process.pid, 2)]


def test_only_an_item_that_one_may_read_is_an_origin(roomy: House) -> None:
    process = roomy.spawn()
    for origin in ({"id": "no such item"}, {"id": "x", "name": "nobody-there/notes"}):
        with pytest.raises(llmos.NotFound):
            process.append("x", origin={"kind": "memory", **origin})
    with pytest.raises(llmos.InvalidArgument, match="has the id"):
        process.append("x", origin={"kind": "memory"})
    assert process.read().token_ids == ()


def test_nobody_says_that_the_model_or_somebody_else_wrote_what_they_append(roomy: House) -> None:
    process = roomy.spawn()
    for kind in ("model", "user", "app"):
        with pytest.raises(llmos.InvalidArgument, match=f"comes from the {kind}"):
            process.append("x", origin={"kind": kind})
    process.append("x", origin={"kind": "tool", "name": "bob/weather", "by": "somebody else"})
    assert process.read().spans[0].origin.by == "admin"


def test_a_terminal_shows_what_the_model_sees_and_acts_on_nothing_in_it(roomy: House) -> None:
    process = roomy.spawn()
    process.append("one\n\x1b[31mtwo")
    shown = roomy.daemon.llmosctl("show", "--context", str(process.pid)).stdout
    tokens = len(process.read().token_ids)
    assert shown.splitlines() == [f"0-{tokens} user by admin", "| one", "| \\x1b[31mtwo"]
    data = json.loads(roomy.daemon.llmosctl("show", "--context", "--json", str(process.pid)).stdout)
    assert data["spans"][0]["origin"]["kind"] == "user"


def _joined(ends: list[int]) -> list[tuple[int, int]]:
    return list(zip([0, *ends], ends, strict=False))

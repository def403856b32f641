"""With exact weights, greedy output is that of transformers, token for token."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import llmos
from tests.e2e.daemon_process import USER
from tests.e2e.greedy_reference import Continuation, Reference, ties
from tests.e2e.house import House, greedy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Record = Callable[[str, object], None]


def report(record_property: Record, count: int, compared: int) -> None:
    """Tell how many ties there were."""
    record_property("ties", count)
    print(f"{compared} continuations are those of transformers; {count} ties were decided the other way")


def test_all_at_once_every_prompt_continues_as_transformers_says(
    roomy: House, reference: Reference, record_property: Record
) -> None:
    batch = [(wanted, roomy.begin(wanted)[1]) for wanted in reference.varied]
    assert len(batch) >= 20
    got = [(wanted, generation.result()) for wanted, generation in batch]
    assert all(len(done.token_ids) == len(wanted.tokens) for wanted, done in got)
    report(record_property, sum(ties(wanted, done.token_ids) for wanted, done in got), len(got))


def test_alone_every_prompt_continues_as_transformers_says(
    roomy: House, reference: Reference, record_property: Record
) -> None:
    count = 0
    # As somebody else, whose prompts share no page with those of the administrator.
    with roomy.daemon.connect(USER) as system:
        for wanted in reference.varied:
            process = roomy.own(system.spawn())
            _append(process, wanted)
            assert process.read().token_ids == wanted.prompt
            done = greedy(process, len(wanted.tokens)).result()
            assert done.usage.prompt_tokens == len(wanted.prompt)
            assert len(done.token_ids) == len(wanted.tokens)
            count += ties(wanted, done.token_ids)
            process.kill()
    report(record_property, count, len(reference.varied))


def test_a_prompt_that_is_cached_continues_the_same(roomy: House, reference: Reference) -> None:
    wanted = next(one for one in reference.varied if len(one.prompt) == 1000)
    first = roomy.begin(wanted)[1].result()
    again = roomy.begin(wanted)[1].result()
    assert again.usage.cached_tokens >= 900
    assert again.token_ids == first.token_ids
    assert ties(wanted, again.token_ids) <= 1


def test_a_context_that_was_rewound_continues_the_same(roomy: House, reference: Reference) -> None:
    wanted = reference.equal[0]
    process, generation = roomy.begin(wanted, 40)
    first = generation.result()
    process.append([1, 2, 3])
    assert process.truncate(len(wanted.prompt) + 7) == len(wanted.prompt) + 7
    assert first.token_ids[7:] == greedy(process, 33).result().token_ids
    assert process.rewind(40) == len(wanted.prompt)
    assert first.token_ids == greedy(process, 40).result().token_ids
    ties(wanted, first.token_ids)


def _append(process: llmos.Process, wanted: Continuation) -> None:
    if wanted.question:
        process.append([{"role": "user", "content": wanted.question}])
    else:
        process.append(wanted.prompt)

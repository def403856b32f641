"""Sampling through daemon, engine and SDK: seeds reproduce, text is whole, ends are where they belong."""

from __future__ import annotations

import math

import pytest

import llmos
from tests.e2e.greedy_reference import Reference, ties
from tests.e2e.house import House, greedy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STORY = "Once upon a time there was a lighthouse keeper who"
FOREIGN = "日本語: こんにちは、世界。 한국어: 안녕하세요 세계. Русский: Привет, мир! Ελληνικά: Γειά σου Κόσμε. 😀😃😄"


def draw(process: llmos.Process, seed: int | None, count: int = 20) -> llmos.Generation:
    """Tokens by chance."""
    return process.generate(
        max_tokens=count, temperature=1.1, top_k=200, top_p=0.95, min_p=0.01, seed=seed, ignore_eos=True
    )


def telling(house: House, text: str = STORY) -> llmos.Process:
    """A process with a text."""
    process = house.spawn()
    process.append(text)
    return process


def test_a_seed_draws_the_same_alone_in_a_batch_and_after_being_moved(tight: House, reference: Reference) -> None:
    alone = draw(telling(tight), 7).result().token_ids
    others = [tight.begin(wanted, 24)[1] for wanted in reference.equal[:4]]
    batch = [draw(telling(tight), seed) for seed in (7, 8, 7)]
    drawn = [generation.result().token_ids for generation in batch]
    assert drawn[0] == drawn[2] == alone
    assert drawn[1] != alone
    moved = telling(tight)
    generation = draw(moved, 7)
    next(generation)
    moved.stop()
    moved.swap_out()
    moved.cont()
    next(generation)
    moved.swap_out()
    assert generation.result().token_ids == alone
    for other in others:
        other.result()


def test_without_a_seed_two_draws_differ(roomy: House) -> None:
    first, second = draw(telling(roomy), None), draw(telling(roomy), None)
    assert first.result().token_ids != second.result().token_ids


def test_pieces_of_text_make_the_whole_text(roomy: House) -> None:
    generation = draw(telling(roomy), 3, 40)
    chunks = list(generation)
    done = generation.result()
    assert "".join(chunk.text for chunk in chunks) == done.text
    assert [token for chunk in chunks for token in chunk.token_ids] == list(done.token_ids)
    assert done.finish_reason is llmos.FinishReason.LENGTH
    assert done.usage.generated_tokens == len(done.token_ids) == 40


@pytest.mark.parametrize("width", [1, 3, 9])
def test_a_stop_string_is_found_wherever_tokens_end(roomy: House, width: int) -> None:
    plain = greedy(telling(roomy), 24).result()
    middle = len(plain.text) // 2
    stop = plain.text[middle : middle + width]
    at = plain.text.index(stop)
    generation = telling(roomy).generate(max_tokens=24, ignore_eos=True, stop=[stop, "a string that does not come"])
    shown = "".join(chunk.text for chunk in generation)
    done = generation.result()
    assert done.finish_reason is llmos.FinishReason.STOP
    assert done.text == shown == plain.text[:at]
    assert done.token_ids == plain.token_ids[: len(done.token_ids)]


def test_a_stopped_context_is_as_long_as_its_tokens(roomy: House) -> None:
    process = telling(roomy)
    prompt = process.read().token_ids
    plain = greedy(telling(roomy), 24).result()
    stop = plain.text[len(plain.text) // 2 :][:5]
    done = process.generate(max_tokens=24, ignore_eos=True, stop=stop).result()
    has = process.read().token_ids
    assert has[: len(prompt) + len(done.token_ids)] == prompt + done.token_ids
    again = greedy(process, 4).result()
    assert process.read().token_ids == has + again.token_ids


def test_logprobs_are_those_of_the_tokens_and_in_order(roomy: House, reference: Reference) -> None:
    wanted = reference.varied[-1]
    process = roomy.context(wanted.prompt)
    generation = process.generate(max_tokens=len(wanted.tokens), ignore_eos=True, logprobs=3)
    chunks = list(generation)
    done = generation.result()
    assert [one for chunk in chunks for one in chunk.logprobs] == list(done.logprobs)
    assert tuple(one.token_id for one in done.logprobs) == done.token_ids
    for one, margin in zip(done.logprobs, wanted.margins, strict=True):
        best, second, third = one.top
        assert best == (one.token_id, one.logprob)
        assert 0 >= best[1] >= second[1] >= third[1]
        assert sum(math.exp(value) for _, value in one.top) <= 1.0001
        assert best[1] - second[1] == pytest.approx(margin, abs=1e-3)
    assert ties(wanted, done.token_ids) <= 1


def test_an_answer_ends_at_its_end_token_unless_that_is_ignored(roomy: House) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    process = roomy.spawn()
    process.append(question)
    done = process.generate(max_tokens=60).result()
    assert done.finish_reason is llmos.FinishReason.STOP
    assert len(done.token_ids) < 60
    assert "<|im_end|>" not in done.text
    longer = roomy.spawn()
    longer.append(question)
    more = longer.generate(max_tokens=60, ignore_eos=True).result()
    assert more.finish_reason is llmos.FinishReason.LENGTH
    assert len(more.token_ids) == 60
    assert more.token_ids[: len(done.token_ids)] == done.token_ids


def test_foreign_letters_are_never_shown_in_halves(roomy: House) -> None:
    for seed in (1, 2):
        generation = draw(telling(roomy, FOREIGN), seed, 48)
        texts = [chunk.text for chunk in generation]
        done = generation.result()
        assert "".join(texts) == done.text
        # Only broken bytes that the model itself chose may show, and then in the whole text too.
        assert sum(text.count("\ufffd") for text in texts) == done.text.count("\ufffd")
    copied = telling(roomy, f"{FOREIGN}\n{FOREIGN}\n日本語: こんに")
    generation = greedy(copied, 32)
    texts = [chunk.text for chunk in generation]
    assert "\ufffd" not in "".join(texts[:-1])
    assert any(not text.isascii() for text in texts)


def test_one_token_is_one_token(roomy: House) -> None:
    done = greedy(telling(roomy), 1).result()
    assert len(done.token_ids) == 1
    assert done.finish_reason is llmos.FinishReason.LENGTH


@pytest.mark.parametrize(
    "bad", [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"logprobs": 21}, {"stop": [""]}]
)
def test_sampling_that_means_nothing_is_refused_by_name(roomy: House, bad: dict[str, object]) -> None:
    process = telling(roomy)
    with pytest.raises(llmos.InvalidArgument, match=next(iter(bad))):
        process.generate(**bad)  # type: ignore[arg-type]  # the wrong types are the point

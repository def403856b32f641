"""The demo's verdict: equal, equal up to a tie, or wrong."""

from __future__ import annotations

from llmos import FinishReason, Generated, TokenLogprob, Usage
from llmos.apps.demo.report import compare

NO_USAGE = Usage(prompt_tokens=1, cached_tokens=0, generated_tokens=3, first_token_seconds=0.1, seconds=0.2)


def written(tokens: tuple[int, ...], margin: float = 1.0) -> Generated:
    logprobs = tuple(TokenLogprob(token, -1.0, ((token, -1.0), (0, -1.0 - margin))) for token in tokens)
    return Generated("", tokens, FinishReason.LENGTH, NO_USAGE, logprobs)


def test_equal_tokens_are_right() -> None:
    assert compare(written((1, 2, 3)), written((1, 2, 3)), 0).right


def test_a_forked_run_is_compared_with_what_came_after_the_fork() -> None:
    assert compare(written((1, 2, 3)), written((2, 3)), 1).right
    assert not compare(written((1, 2, 3)), written((1, 2)), 1).right


def test_another_token_is_wrong_unless_it_was_a_tie() -> None:
    assert not compare(written((1, 2, 3)), written((1, 9, 3)), 0).right
    tie = compare(written((1, 2, 3), margin=1e-5), written((1, 9, 3)), 0)
    assert tie.right
    assert "tie at token 1" in tie.words


def test_a_missing_token_is_wrong() -> None:
    assert not compare(written((1, 2, 3)), written((1, 2)), 0).right

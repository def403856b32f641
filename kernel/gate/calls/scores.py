"""The score call: texts to tokens beside the loop, then what the core found to a reply.

However the call ends, nothing of the scoring is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmos.kernel.core import effects as fx
from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.contexts import later
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.text import TextCodec
from llmos.syscalls.abi.errors import InvalidArgument, TimedOut
from llmos.syscalls.abi.messages import ContinuationScore, Score, Scores
from llmos.syscalls.abi.words import MAX_SCORED_TOKENS, Pid

Continuations = tuple[tuple[str, tuple[int, ...]], ...]
"""Of each, its text and its tokens."""

MAX_COPIED_TOKENS = 1 << 22
"""Context tokens that the processes of one scoring may have together."""


def score(by: Authorized, shell: Shell, request: Score, next_pid: Callable[[], Pid], channel: Channel) -> None:
    """Score exactly one of texts and tokens. Raises abi errors."""
    if (request.texts is None) == (request.tokens is None):
        raise InvalidArgument("score takes exactly one of texts and tokens")
    process = shell.kernel.table.living(Pid(request.pid))
    codec = shell.models[process.model].text
    size = sum(map(len, request.texts or request.tokens or ()))
    scoring = _Scoring(by, shell, request, channel)
    later(shell, size, lambda: _encode(codec, request), lambda given: scoring.begin(given, next_pid), channel)


def _encode(codec: TextCodec, request: Score) -> Continuations:
    if request.tokens is not None:
        given = tuple((codec.decode(tokens), tokens) for tokens in request.tokens)
    else:
        given = tuple((text, codec.encode(text, first=False)) for text in request.texts or ())
    for number, (_, tokens) in enumerate(given):
        if not tokens:
            raise InvalidArgument(f"continuation {number} has no tokens", "continuations of one token or more")
    total = sum(len(tokens) for _, tokens in given)
    if total > MAX_SCORED_TOKENS:
        raise InvalidArgument(f"the continuations have {total} tokens; the limit is {MAX_SCORED_TOKENS}", "score fewer")
    return given


class _Scoring:
    """One call, from its tokens to its answer."""

    def __init__(self, by: Authorized, shell: Shell, request: Score, channel: Channel) -> None:
        self._by = by
        self._shell = shell
        self._pid = Pid(request.pid)
        self._timeout = request.timeout
        self._channel = channel
        self._given: Continuations = ()
        self._call: Pid | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, given: Continuations, next_pid: Callable[[], Pid]) -> None:
        """Score from now on. Raises abi errors, and then nothing is left behind."""
        process = self._shell.kernel.table.living(self._pid)
        copied = len(process.tokens) * (len(given) + 1)
        if copied > MAX_COPIED_TOKENS:
            raise InvalidArgument(
                f"{len(given)} continuations of {len(process.tokens)} tokens are too many at once", "score fewer"
            )
        pids = tuple(next_pid() for _ in range(len(given) + 1))
        event = ev.Score(self._pid, pids, tuple(tokens for _, tokens in given))
        self._given, self._call = given, event.call
        self._shell.when_scored(self._by, event, self._ended)
        if self._channel.over:
            return
        if self._timeout is not None:
            self._timer = self._shell.loop.call_later(self._timeout, self._timed_out)
        self._channel.on_end(self._given_up)

    def _ended(self, end: fx.ScoringDone | fx.ScoringFailed) -> None:
        self._call = None
        self._stop_timer()
        if self._channel.over:
            return
        match end:
            case fx.ScoringFailed(_, error):
                self._channel.fail(error)
            case fx.ScoringDone(_, scores):
                self._channel.reply(Scores(tuple(map(_reply, self._given, scores))))

    def _timed_out(self) -> None:
        self._channel.fail(
            TimedOut(f"scoring for process {self._pid} took longer than {self._timeout} s", f"llmosctl why {self._pid}")
        )
        self._cancel()

    def _given_up(self, ending: Ending) -> None:
        self._stop_timer()
        # The answer is the ending's own, which the channel gives when this returns.
        self._shell.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._shell.perform(self._by, ev.EndScoring(self._pid, call))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _reply(given: tuple[str, tuple[int, ...]], scores: fx.Scores) -> ContinuationScore:
    text, tokens = given
    return ContinuationScore(text, tokens, scores.logprobs, sum(scores.logprobs), all(scores.likeliest))

"""The generate call: from the request to the stream of chunks and the reply, with the reader's credit.

A reader without credit gets nothing and loses nothing; when it is far behind, its process stops being planned until it
has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmos.kernel.core import events as ev
from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.grammars import Grammars, grammar_of
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.generation import GenerationInProgress
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.engine import Grammar, SamplingParameters
from llmos.syscalls.abi.errors import Error, TimedOut
from llmos.syscalls.abi.messages import Generate, Sampling
from llmos.syscalls.abi.words import Pid

FAR_BEHIND = 256
"""Tokens that may wait for the reader before its process has to wait too."""


def generate(
    by: Authorized,
    shell: Shell,
    grammars: Grammars,
    request: Generate,
    new_seed: Callable[[], int],
    channel: Channel,
) -> None:
    """Begin a generation and serve its stream, after its grammar was checked. Raises abi errors."""
    process = shell.kernel.table.living(Pid(request.pid))
    grammar = grammar_of(request.sampling)
    sampling = parameters(request.sampling, grammar, new_seed)

    def begin() -> None:
        stream = shell.models[process.model].text.stream(request.sampling.stop)
        serving = _Serving(by, shell, request, channel)
        serving.begin(GenerationInProgress(stream, request.sampling.logprobs > 0, serving.serve), sampling)

    if grammar is None:
        begin()
    else:
        grammars.check(by, process.model, grammar, begin, channel)


def parameters(sampling: Sampling, grammar: Grammar | None, new_seed: Callable[[], int]) -> SamplingParameters:
    """What the engine needs to choose tokens."""
    return SamplingParameters(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        seed=sampling.seed if sampling.seed is not None else new_seed(),
        top_logprobs=sampling.logprobs if sampling.logprobs > 0 else None,
        grammar=grammar,
    )


class _Serving:
    """One generation between the core and its reader."""

    def __init__(self, by: Authorized, shell: Shell, request: Generate, channel: Channel) -> None:
        self._by = by
        self._shell = shell
        self._request = request
        self._channel = channel
        self._pid = Pid(request.pid)
        self._watcher: GenerationInProgress | None = None
        self._throttled = False
        self._ending: Ending | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, watcher: GenerationInProgress, sampling: SamplingParameters) -> None:
        wanted = self._request.sampling
        self._watcher = watcher
        event = ev.Generate(self._pid, sampling, wanted.max_tokens, wanted.ignore_eos)
        self._shell.generate(self._by, event, watcher)
        if self._channel.over:
            return
        if self._request.timeout is not None:
            self._timer = self._shell.loop.call_later(self._request.timeout, self._timed_out)
        self._channel.on_credit(self.serve)
        self._channel.on_end(self._ended)

    def serve(self) -> None:
        """Send what the reader takes; answer when all of it was sent."""
        watcher = self._watcher
        if watcher is None or self._channel.over:
            return
        if self._request.window and self._ending is None:
            while watcher.has_chunk and self._channel.ready:
                self._channel.event(watcher.take_chunk())
            if watcher.ended is None:
                self._throttle(watcher.untold > FAR_BEHIND)
            if watcher.has_chunk:
                return
        self._answer(watcher)

    def _answer(self, watcher: GenerationInProgress) -> None:
        ended = watcher.ended
        if ended is None:
            return
        self._stop_timer()
        if isinstance(ended, Error):
            self._channel.fail(ended)
        elif self._ending is not Ending.TIMED_OUT:
            self._channel.reply(ended)

    def _throttle(self, on: bool) -> None:
        if on != self._throttled:
            self._throttled = on
            self._shell.loop.call_soon(self._shell.perform, self._by, ev.Throttle(self._pid, on))

    def _timed_out(self) -> None:
        self._ending = Ending.TIMED_OUT
        self._cancel()
        if not self._channel.over:
            self._channel.fail(
                TimedOut(
                    f"the generation of process {self._pid} took longer than {self._request.timeout} s",
                    "what was generated is in its context",
                )
            )

    def _ended(self, ending: Ending) -> None:
        self._ending = ending
        self._stop_timer()
        self._cancel()
        if self._watcher is not None and not self._channel.over:
            self._answer(self._watcher)

    def _cancel(self) -> None:
        """End the generation, unless it ended by itself or its process is gone."""
        watcher = self._watcher
        if watcher is not None and watcher.ended is None:
            self._shell.perform(self._by, ev.EndGeneration(self._pid, stopped=False))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""What happens: eight agents, a question that cannot wait, a fork, and the sudden death of the engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llmos
from llmos.apps.demo.agents import NEW_TOKENS, QUESTION, Task
from llmos.apps.demo.daemon import Daemon

Say = Callable[[str], None]

WARM_UP = 10
"""Tokens of the first agent after which the question comes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process wrote, and what it cost."""

    generated: llmos.Generated
    process: llmos.ProcessInfo


@dataclass(frozen=True, slots=True)
class Alone:
    """The undisturbed run: every agent's words, and the question's answer on an idle machine."""

    agents: tuple[Answer, ...]
    question: Answer


@dataclass(frozen=True, slots=True)
class Together:
    """The disturbed run. `offset` is how much the forked agent had written when it was forked."""

    agents: tuple[Answer, ...]
    question: Answer
    child: Answer
    forked: int
    offset: int
    context_pages: int
    device_pages: int
    restarts: int
    metrics: tuple[llmos.Metric, ...]


def undisturbed(daemon: Daemon, tasks: Sequence[Task], say: Say) -> Alone:
    """One after the other, nothing else on the machine."""
    with llmos.connect(daemon.endpoint, str(daemon.key)) as system:
        _ask(system, "Say hello.")
        question = _ask(system, QUESTION)
        say(f"   question: {question.generated.text.strip()}  ({_first(question)} to the first token)")
        agents = []
        for task in tasks:
            process = _agent(system, task)
            agents.append(_finish(process, process.generate(**_sampling())))
            say(f"   {task.name}: {agents[-1].generated.usage.prompt_tokens} tokens read, {NEW_TOKENS} written")
    return Alone(tuple(agents), question)


def disturbed(daemon: Daemon, tasks: Sequence[Task], say: Say) -> Together:
    """All at once, with everything that can happen to them."""
    with llmos.connect(daemon.endpoint, str(daemon.key)) as system:
        _ask(system, "Say hello.")
        processes = [_agent(system, task) for task in tasks]
        streams = [process.generate(**_sampling()) for process in processes]
        forked = 0
        _read_until(streams[forked], WARM_UP)
        _show(daemon, say, "eight agents, more than there are pages for")

        question = _ask(system, QUESTION)
        say(f"\n   an urgent question: {QUESTION}")
        say(f"   its answer: {question.generated.text.strip()}  ({_first(question)} to the first token)")

        child = processes[forked].fork()
        offset = len(child.read().token_ids) - _prompt_tokens(processes[forked])
        child_stream = child.generate(**_sampling(NEW_TOKENS - offset))
        _show(daemon, say, f"process {processes[forked].pid} was forked: {child.pid}")

        _read_until(streams[3], 3)
        engine = system.info().engines[0]
        say(f"\n   kill -9 {engine.os_pid}: the engine is gone")
        _kill(engine)
        _show(daemon, say, "right after: whoever ran is ready again, host pages are still there")

        agents = tuple(_finish(process, stream) for process, stream in zip(processes, streams, strict=True))
        engine = system.info().engines[0]
        return Together(
            agents=agents,
            question=question,
            child=_finish(child, child_stream),
            forked=forked,
            offset=offset,
            context_pages=sum(-(-answer.process.context_tokens // engine.page_tokens) for answer in agents),
            device_pages=engine.device_pages,
            restarts=engine.restarts,
            metrics=system.metrics(),
        )


def _sampling(max_tokens: int = NEW_TOKENS) -> llmos.SamplingOptions:
    return {"max_tokens": max_tokens, "ignore_eos": True, "logprobs": 2}


def _agent(system: llmos.System, task: Task) -> llmos.Process:
    process = system.spawn(name=task.name, priority="batch")
    process.append([{"role": "user", "content": task.prompt}])
    return process


def _ask(system: llmos.System, question: str) -> Answer:
    process = system.spawn(name="question", priority="interactive")
    process.append([{"role": "user", "content": question}])
    return _finish(process, process.generate(max_tokens=24))


def _finish(process: llmos.Process, stream: llmos.Generation) -> Answer:
    answer = Answer(stream.result(), process.info())
    process.kill()
    process.wait()
    return answer


def _read_until(stream: llmos.Generation, tokens: int) -> None:
    seen = 0
    for chunk in stream:
        seen += len(chunk.token_ids)
        if seen >= tokens:
            return


def _prompt_tokens(process: llmos.Process) -> int:
    info = process.info()
    return info.context_tokens - info.generated_tokens


def _kill(engine: llmos.EngineInfo) -> None:
    if engine.os_pid is None:
        raise RuntimeError("there is no engine to kill")
    os.kill(engine.os_pid, signal.SIGKILL)


def _show(daemon: Daemon, say: Say, title: str) -> None:
    say(f"\n   {title}:")
    for line in daemon.control("ps").splitlines():
        say(f"   {line}")


def _first(answer: Answer) -> str:
    return f"{answer.generated.usage.first_token_seconds * 1000:.0f} ms"

"""The SDK for asyncio programs: `aconnect`, `AsyncSystem`, `AsyncProcess`.

The same methods as the blocking classes, to be awaited; `generate` alone is not awaited: it begins at once,
and what it returns is read. A call whose task is cancelled is cancelled too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Unpack, overload

from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi import security as s
from llmos.syscalls.abi.errors import NoSuchProcess
from llmos.syscalls.abi.words import Limits, Origin, ProcessInfo
from llmos.syscalls.sdk import label_scores, requests, security_requests
from llmos.syscalls.sdk.agent import ToolRun, Wanted
from llmos.syscalls.sdk.asynchronous_agent import run_tools
from llmos.syscalls.sdk.asynchronous_apps import AsyncApps
from llmos.syscalls.sdk.asynchronous_call import perform
from llmos.syscalls.sdk.asynchronous_files import AsyncFiles
from llmos.syscalls.sdk.asynchronous_generation import AsyncGeneration
from llmos.syscalls.sdk.asynchronous_mail import AsyncMessage, AsyncMessages
from llmos.syscalls.sdk.asynchronous_memory import AsyncMemory
from llmos.syscalls.sdk.asynchronous_security import AsyncAudit, AsyncKeys, AsyncPolicy
from llmos.syscalls.sdk.asynchronous_tools import AsyncTools
from llmos.syscalls.sdk.connection import Connection, open_connection
from llmos.syscalls.sdk.mail_requests import LEASE
from llmos.syscalls.sdk.requests import Content, Continuations, SamplingOptions, Schema
from llmos.syscalls.sdk.vectors import Classifications, Vectors


def aconnect(endpoint: str | None = None, key: str | Path | None = None) -> Connecting:
    """Connect as `connect` does: `async with aconnect() as system` or `system = await aconnect()`."""
    return Connecting(endpoint, key)


class Connecting:
    """A connection to be: awaited it gives an `AsyncSystem`, in `async with` it closes that at the end."""

    def __init__(self, endpoint: str | None, key: str | Path | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._system: AsyncSystem | None = None

    def __await__(self) -> Generator[object, None, AsyncSystem]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncSystem:
        self._system = await self._open()
        return self._system

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._system is not None:
            await self._system.close()

    async def _open(self) -> AsyncSystem:
        return AsyncSystem(await asyncio.to_thread(open_connection, self._endpoint, self._key))


class AsyncSystem:
    """A daemon, over one connection. Close it, or use it in an `async with` statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.keys = AsyncKeys(connection)
        self.policy = AsyncPolicy(connection)
        self.audit = AsyncAudit(connection)
        self.messages = AsyncMessages(connection)
        self.tools = AsyncTools(connection)
        self.apps = AsyncApps(connection)
        self.files = AsyncFiles(connection)
        self.memory = AsyncMemory(connection)

    async def __aenter__(self) -> AsyncSystem:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; calls that are open in other tasks fail. Processes live on."""
        await asyncio.to_thread(self._connection.close)

    async def spawn(
        self,
        model: str | None = None,
        name: str | None = None,
        priority: str = "normal",
        weight: int = 100,
        deadline: float | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        system: str | None = None,
    ) -> AsyncProcess:
        """Make a process. `deadline` in seconds from now, for `realtime`; `system` is the system message."""
        invocation = requests.spawn(model, name, priority, weight, deadline, limits, system)
        return AsyncProcess(self._connection, await perform(self._connection, invocation))

    def process(self, pid: int) -> AsyncProcess:
        """The process with this pid, without asking whether there is one."""
        return AsyncProcess(self._connection, pid)

    async def processes(self, all: bool = False) -> list[ProcessInfo]:
        """The process table by rising pid; with `all` also those that have exited and are not reaped."""
        return await perform(self._connection, requests.processes(all))

    async def score(
        self,
        context: Content,
        continuations: Continuations,
        model: str | None = None,
        timeout: float | None = None,
    ) -> list[m.ContinuationScore]:
        """How likely each continuation is after a context: text, chat messages or token ids. Leaves no process."""
        process = await self.spawn(model=model, name="score")
        try:
            await process.append(context)
            return await process.score(continuations, timeout)
        finally:
            await process.end()

    async def embed(self, texts: Sequence[str], model: str | None = None, priority: str = "normal") -> Vectors:
        """One vector of length 1 for each of 1 to 1024 texts. `.truncated` of the result has those that were cut."""
        return await perform(self._connection, requests.embed(texts, model, priority))

    async def classify(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        model: str | None = None,
        template: str | None = None,
        priority: str = "normal",
        method: Literal["vectors", "score"] = "vectors",
    ) -> Classifications:
        """Which of 2 to 64 labels fits each text: `.label`, and `.scores` that sum to 1. `template` has `{}` once.

        By vectors of the encoder, where the template makes a sentence of a label; or by how likely a decoder thinks the
        labels after each text, where the template makes a prompt of the text (slower, `model` is a decoder).
        """
        if method == "score":
            return await self._classify_by_score(texts, labels, model, template, priority)
        return await perform(self._connection, requests.classify(texts, labels, model, template, priority))

    async def _classify_by_score(
        self, texts: Sequence[str], labels: Sequence[str], model: str | None, template: str | None, priority: str
    ) -> Classifications:
        prompts, wanted = label_scores.prompts(texts, labels, template), label_scores.continuations(labels)
        process = await self.spawn(model=model, name="classify", priority=priority)
        try:
            scores = []
            for prompt in prompts:
                await process.truncate(0)
                await process.append(prompt)
                scores.append(await process.score(wanted))
            return label_scores.classifications((await process.info()).model, labels, scores)
        finally:
            await process.end()

    async def info(self) -> m.SystemInfo:
        """The daemon and its engines."""
        return await perform(self._connection, requests.system_info())

    async def metrics(self) -> tuple[m.Metric, ...]:
        """All counters and gauges, by name."""
        return await perform(self._connection, requests.metrics())

    async def whoami(self) -> s.WhoAmI:
        """The caller as the kernel knows it: `.name`, `.role`, `.tenant`, `.kind`."""
        return await perform(self._connection, security_requests.whoami())

    async def can(self, object: str, action: str) -> s.Answer:
        """Whether one may do something: `.allowed` and the rule. Nothing is done."""
        return await perform(self._connection, security_requests.can(object, action))

    async def drain(self, off: bool = False, timeout: float | None = None) -> None:
        """Refuse new processes, generations and encodings, and wait until none is under way; `off` takes it back."""
        await perform(self._connection, requests.drain(off, timeout))

    async def shutdown(self) -> None:
        """End the daemon."""
        await perform(self._connection, requests.shutdown())


class AsyncProcess:
    """One process, by its pid."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def __repr__(self) -> str:
        return f"<llmos.AsyncProcess {self.pid}>"

    async def append(self, content: Content, origin: Origin | Mapping[str, object] | None = None) -> int:
        """Append text, messages (`{"role": ..., "content": ...}`) or token ids; gives how many tokens.

        `origin` says that it comes from memory, a tool or another process, for those who read the context later.
        """
        return await perform(self._connection, requests.append(self.pid, content, origin))

    def generate(
        self,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
        logprobs: int = 0,
        schema: Schema | None = None,
        regex: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGeneration:
        """Begin to generate at once. Temperature 0 is greedy; `timeout` in seconds ends in `TimedOut`.

        With a JSON `schema` or a `regex` the text is as it says once `finish_reason` is `stop`.
        """
        options = SamplingOptions(
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            stop=stop,
            ignore_eos=ignore_eos,
            logprobs=logprobs,
            schema=schema,
            regex=regex,
            timeout=timeout,
        )
        return AsyncGeneration(self._connection, requests.generate(self.pid, options, requests.WINDOW))

    async def chat(self, question: str, **sampling: Unpack[SamplingOptions]) -> str:
        """Append the question as the user's turn, generate the answer and return its text."""
        # Checked before anything is appended: a chat that cannot be had leaves nothing behind.
        answer = requests.generate(self.pid, sampling, 0)
        await perform(self._connection, requests.question(self.pid, question))
        return (await perform(self._connection, answer)).text

    async def cancel(self) -> None:
        """End the generation that is under way, whoever began it; what was generated stays. None is no error."""
        await perform(self._connection, requests.cancel(self.pid))

    async def score(self, continuations: Continuations, timeout: float | None = None) -> list[m.ContinuationScore]:
        """How likely each continuation of the context is: `.text .token_ids .logprobs .logprob .greedy`, in order.

        The context stays as it is. Texts are encoded by themselves, not together with the end of the context.
        """
        return await perform(self._connection, requests.score(self.pid, continuations, timeout))

    async def run_tools(
        self,
        question: str | None = None,
        tools: Sequence[Wanted] | None = None,
        max_rounds: int = 8,
        max_calls: int = 32,
        constrain: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> ToolRun:
        """Ask, and let the model call tools until it has answered: `.text .rounds .calls .complete`.

        `tools` are names of tools, or functions of this program; without it all tools that one may call. Without a
        question the context is answered as it is, which has told the model its tools before. `max_rounds` answers and
        `max_calls` calls end it. `constrain` lets the model write nothing but well-formed calls and answers. While a
        tool works the process is `waiting`, and its limit `tool_calls` counts each call.
        """
        return await run_tools(self._connection, self.pid, question, tools, max_rounds, max_calls, constrain, sampling)

    async def read(self) -> m.Context:
        """The context: `.token_ids`, `.text` with special tokens, and `.spans`: the `.origin` of each part."""
        return await perform(self._connection, requests.read(self.pid))

    async def truncate(self, length: int) -> int:
        """Keep the first `length` tokens; gives the length of the context."""
        return await perform(self._connection, requests.truncate(self.pid, length))

    async def rewind(self, count: int) -> int:
        """Drop the last `count` tokens; gives the length of the context."""
        return await perform(self._connection, requests.rewind(self.pid, count))

    async def advise(self, will_need: bool) -> None:
        """Say whether the pages will be needed soon."""
        await perform(self._connection, requests.advise(self.pid, will_need))

    @overload
    async def fork(self) -> AsyncProcess: ...
    @overload
    async def fork(self, count: int) -> list[AsyncProcess]: ...
    async def fork(self, count: int | None = None) -> AsyncProcess | list[AsyncProcess]:
        """Make a child that shares the context, copy on write; with a count, a list of children."""
        pids = await perform(self._connection, requests.fork(self.pid, 1 if count is None else count))
        children = [AsyncProcess(self._connection, pid) for pid in pids]
        return children[0] if count is None else children

    async def signal(self, name: str) -> None:
        """Send `stop`, `cont`, `term`, `kill` or `usr1`."""
        await perform(self._connection, requests.signal(self.pid, name))

    async def stop(self) -> None:
        """Take it off the processor until `cont`."""
        await self.signal("stop")

    async def cont(self) -> None:
        """Let it run again."""
        await self.signal("cont")

    async def term(self) -> None:
        """Ask it to end."""
        await self.signal("term")

    async def kill(self) -> None:
        """End it."""
        await self.signal("kill")

    async def wait(self, timeout: float | None = None) -> m.ExitStatus:
        """Wait until it has exited, and reap it: `.code`, `.reason`. Raises `TimedOut` after `timeout`."""
        return await perform(self._connection, requests.wait(self.pid, timeout))

    async def end(self) -> None:
        """End and reap it; one that has gone already is no error."""
        with suppress(NoSuchProcess):
            await self.kill()
        with suppress(NoSuchProcess):
            await self.wait()

    async def renice(self, priority: str | None = None, weight: int | None = None) -> ProcessInfo:
        """Change priority class or weight."""
        return await perform(self._connection, requests.renice(self.pid, priority, weight))

    async def limit(self, **limits: float | None) -> ProcessInfo:
        """Change limits by name; None takes one away."""
        return await perform(self._connection, requests.limit(self.pid, limits))

    async def swap_out(self, tier: str = "host") -> int:
        """Move its pages off the device; gives how many."""
        return await perform(self._connection, requests.swap_out(self.pid, tier))

    async def swap_in(self) -> int:
        """Bring its pages back to the device; gives how many."""
        return await perform(self._connection, requests.swap_in(self.pid))

    async def info(self) -> ProcessInfo:
        """Its line of the process table."""
        return await perform(self._connection, requests.info(self.pid))

    async def send(
        self,
        body: object,
        id: str | None = None,
        tag: str | None = None,
        sender: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Put a message into its mailbox, as `messages.send` does; gives the message's number."""
        return await AsyncMessages(self._connection).send(self.pid, body, id, tag, sender, timeout)

    async def receive(
        self,
        timeout: float | None = None,
        sender: int | None = None,
        tag: str | None = None,
        topic: str | None = None,
        lease: float = LEASE,
        acknowledge: bool = True,
    ) -> AsyncMessage:
        """Wait for a message in its mailbox, as `messages.receive` does; meanwhile it is `waiting`."""
        messages = AsyncMessages(self._connection)
        return await messages.receive(timeout, self.pid, sender, tag, topic, lease, acknowledge)

    async def why(self) -> m.Why:
        """What it waits for and by which rule, and the latest of its history."""
        return await perform(self._connection, requests.why(self.pid))

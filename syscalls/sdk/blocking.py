"""The SDK for programs that block: `connect`, `System`, `Process`.

Thin: `requests` says what each method means on the wire, `connection` carries it. Every method may be used
from many threads; each raises `llmos.Error`, one subclass per error number. A call that is interrupted is
cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from llmos.syscalls.sdk.blocking_agent import run_tools
from llmos.syscalls.sdk.blocking_apps import Apps
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.blocking_files import Files
from llmos.syscalls.sdk.blocking_generation import Generation
from llmos.syscalls.sdk.blocking_mail import Message, Messages
from llmos.syscalls.sdk.blocking_memory import Memory
from llmos.syscalls.sdk.blocking_security import Audit, Keys, Policy
from llmos.syscalls.sdk.blocking_tools import Tools
from llmos.syscalls.sdk.connection import Connection, open_connection
from llmos.syscalls.sdk.mail_requests import LEASE
from llmos.syscalls.sdk.requests import Content, Continuations, SamplingOptions, Schema
from llmos.syscalls.sdk.vectors import Classifications, Vectors


def connect(endpoint: str | None = None, key: str | Path | None = None) -> System:
    """Connect to the daemon; `key` is the path of a key file.

    Without arguments: `LLMOS_ENDPOINT` and `LLMOS_KEY`, else socket and admin key in the home directory.
    Raises `TryAgain` when no daemon answers within a second, `PermissionDenied` when it refuses the key.
    """
    return System(open_connection(endpoint, key))


class System:
    """A daemon, over one connection. Close it, or use it in a `with` statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.keys = Keys(connection)
        self.policy = Policy(connection)
        self.audit = Audit(connection)
        self.messages = Messages(connection)
        self.tools = Tools(connection)
        self.apps = Apps(connection)
        self.files = Files(connection)
        self.memory = Memory(connection)

    def __enter__(self) -> System:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls that are open in other threads fail. Processes live on."""
        self._connection.close()

    def spawn(
        self,
        model: str | None = None,
        name: str | None = None,
        priority: str = "normal",
        weight: int = 100,
        deadline: float | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        system: str | None = None,
    ) -> Process:
        """Make a process. `deadline` in seconds from now, for `realtime`; `system` is the system message."""
        invocation = requests.spawn(model, name, priority, weight, deadline, limits, system)
        return Process(self._connection, perform(self._connection, invocation))

    def process(self, pid: int) -> Process:
        """The process with this pid, without asking whether there is one."""
        return Process(self._connection, pid)

    def processes(self, all: bool = False) -> list[ProcessInfo]:
        """The process table by rising pid; with `all` also those that have exited and are not reaped."""
        return perform(self._connection, requests.processes(all))

    def score(
        self,
        context: Content,
        continuations: Continuations,
        model: str | None = None,
        timeout: float | None = None,
    ) -> list[m.ContinuationScore]:
        """How likely each continuation is after a context: text, chat messages or token ids. Leaves no process."""
        process = self.spawn(model=model, name="score")
        try:
            process.append(context)
            return process.score(continuations, timeout)
        finally:
            process.end()

    def embed(self, texts: Sequence[str], model: str | None = None, priority: str = "normal") -> Vectors:
        """One vector of length 1 for each of 1 to 1024 texts. `.truncated` of the result has those that were cut."""
        return perform(self._connection, requests.embed(texts, model, priority))

    def classify(
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
            return self._classify_by_score(texts, labels, model, template, priority)
        return perform(self._connection, requests.classify(texts, labels, model, template, priority))

    def _classify_by_score(
        self, texts: Sequence[str], labels: Sequence[str], model: str | None, template: str | None, priority: str
    ) -> Classifications:
        prompts, wanted = label_scores.prompts(texts, labels, template), label_scores.continuations(labels)
        process = self.spawn(model=model, name="classify", priority=priority)
        try:
            scores = []
            for prompt in prompts:
                process.truncate(0)
                process.append(prompt)
                scores.append(process.score(wanted))
            return label_scores.classifications(process.info().model, labels, scores)
        finally:
            process.end()

    def info(self) -> m.SystemInfo:
        """The daemon and its engines."""
        return perform(self._connection, requests.system_info())

    def metrics(self) -> tuple[m.Metric, ...]:
        """All counters and gauges, by name."""
        return perform(self._connection, requests.metrics())

    def whoami(self) -> s.WhoAmI:
        """The caller as the kernel knows it: `.name`, `.role`, `.tenant`, `.kind`."""
        return perform(self._connection, security_requests.whoami())

    def can(self, object: str, action: str) -> s.Answer:
        """Whether one may do something: `.allowed` and the rule. Nothing is done."""
        return perform(self._connection, security_requests.can(object, action))

    def drain(self, off: bool = False, timeout: float | None = None) -> None:
        """Refuse new processes, generations and encodings, and wait until none is under way; `off` takes it back."""
        perform(self._connection, requests.drain(off, timeout))

    def shutdown(self) -> None:
        """End the daemon."""
        perform(self._connection, requests.shutdown())


class Process:
    """One process, by its pid."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def __repr__(self) -> str:
        return f"<llmos.Process {self.pid}>"

    def append(self, content: Content, origin: Origin | Mapping[str, object] | None = None) -> int:
        """Append text, messages (`{"role": ..., "content": ...}`) or token ids; gives how many tokens.

        `origin` says that it comes from memory, a tool or another process, for those who read the context later.
        """
        return perform(self._connection, requests.append(self.pid, content, origin))

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
    ) -> Generation:
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
        return Generation(self._connection, requests.generate(self.pid, options, requests.WINDOW))

    def chat(self, question: str, **sampling: Unpack[SamplingOptions]) -> str:
        """Append the question as the user's turn, generate the answer and return its text."""
        # Checked before anything is appended: a chat that cannot be had leaves nothing behind.
        answer = requests.generate(self.pid, sampling, 0)
        perform(self._connection, requests.question(self.pid, question))
        return perform(self._connection, answer).text

    def cancel(self) -> None:
        """End the generation that is under way, whoever began it; what was generated stays. None is no error."""
        perform(self._connection, requests.cancel(self.pid))

    def score(self, continuations: Continuations, timeout: float | None = None) -> list[m.ContinuationScore]:
        """How likely each continuation of the context is: `.text .token_ids .logprobs .logprob .greedy`, in order.

        The context stays as it is. Texts are encoded by themselves, not together with the end of the context.
        """
        return perform(self._connection, requests.score(self.pid, continuations, timeout))

    def run_tools(
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
        return run_tools(self._connection, self.pid, question, tools, max_rounds, max_calls, constrain, sampling)

    def read(self) -> m.Context:
        """The context: `.token_ids`, `.text` with special tokens, and `.spans`: the `.origin` of each part."""
        return perform(self._connection, requests.read(self.pid))

    def truncate(self, length: int) -> int:
        """Keep the first `length` tokens; gives the length of the context."""
        return perform(self._connection, requests.truncate(self.pid, length))

    def rewind(self, count: int) -> int:
        """Drop the last `count` tokens; gives the length of the context."""
        return perform(self._connection, requests.rewind(self.pid, count))

    def advise(self, will_need: bool) -> None:
        """Say whether the pages will be needed soon."""
        perform(self._connection, requests.advise(self.pid, will_need))

    @overload
    def fork(self) -> Process: ...
    @overload
    def fork(self, count: int) -> list[Process]: ...
    def fork(self, count: int | None = None) -> Process | list[Process]:
        """Make a child that shares the context, copy on write; with a count, a list of children."""
        pids = perform(self._connection, requests.fork(self.pid, 1 if count is None else count))
        children = [Process(self._connection, pid) for pid in pids]
        return children[0] if count is None else children

    def signal(self, name: str) -> None:
        """Send `stop`, `cont`, `term`, `kill` or `usr1`."""
        perform(self._connection, requests.signal(self.pid, name))

    def stop(self) -> None:
        """Take it off the processor until `cont`."""
        self.signal("stop")

    def cont(self) -> None:
        """Let it run again."""
        self.signal("cont")

    def term(self) -> None:
        """Ask it to end."""
        self.signal("term")

    def kill(self) -> None:
        """End it."""
        self.signal("kill")

    def wait(self, timeout: float | None = None) -> m.ExitStatus:
        """Wait until it has exited, and reap it: `.code`, `.reason`. Raises `TimedOut` after `timeout`."""
        return perform(self._connection, requests.wait(self.pid, timeout))

    def end(self) -> None:
        """End and reap it; one that has gone already is no error."""
        with suppress(NoSuchProcess):
            self.kill()
        with suppress(NoSuchProcess):
            self.wait()

    def renice(self, priority: str | None = None, weight: int | None = None) -> ProcessInfo:
        """Change priority class or weight."""
        return perform(self._connection, requests.renice(self.pid, priority, weight))

    def limit(self, **limits: float | None) -> ProcessInfo:
        """Change limits by name; None takes one away."""
        return perform(self._connection, requests.limit(self.pid, limits))

    def swap_out(self, tier: str = "host") -> int:
        """Move its pages off the device; gives how many."""
        return perform(self._connection, requests.swap_out(self.pid, tier))

    def swap_in(self) -> int:
        """Bring its pages back to the device; gives how many."""
        return perform(self._connection, requests.swap_in(self.pid))

    def info(self) -> ProcessInfo:
        """Its line of the process table."""
        return perform(self._connection, requests.info(self.pid))

    def send(
        self,
        body: object,
        id: str | None = None,
        tag: str | None = None,
        sender: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Put a message into its mailbox, as `messages.send` does; gives the message's number."""
        return Messages(self._connection).send(self.pid, body, id, tag, sender, timeout)

    def receive(
        self,
        timeout: float | None = None,
        sender: int | None = None,
        tag: str | None = None,
        topic: str | None = None,
        lease: float = LEASE,
        acknowledge: bool = True,
    ) -> Message:
        """Wait for a message in its mailbox, as `messages.receive` does; meanwhile it is `waiting`."""
        messages = Messages(self._connection)
        return messages.receive(timeout, self.pid, sender, tag, topic, lease, acknowledge)

    def why(self) -> m.Why:
        """What it waits for and by which rule, and the latest of its history."""
        return perform(self._connection, requests.why(self.pid))

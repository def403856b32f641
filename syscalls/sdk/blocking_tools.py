"""The SDK's namespace `tools`, for programs that block: call the tools of others, offer one's own, serve them.

Rules: a handler runs in a thread of its own; its answer is sent once, unless nobody wants it any more. An offer that
ends because the daemon went away is made again. Offers end when `serve` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeVar, assert_never

from llmos.syscalls.abi.errors import Error, NotFound
from llmos.syscalls.abi.tools import ToolCalled, ToolInfo
from llmos.syscalls.sdk import tool_requests as requests
from llmos.syscalls.sdk.blocking_call import perform
from llmos.syscalls.sdk.connection import Connection
from llmos.syscalls.sdk.protocol import Event, Failed, Happened, Replied, Window
from llmos.syscalls.sdk.tool_definitions import Definition, Function, Json, define, result_text
from llmos.syscalls.sdk.tool_serving import WINDOW, Patience, caller_of, can_come_back, new_window, told
from llmos.syscalls.wire.codec import decode_record

HANDLERS = 64
"""Calls that are handled at a time."""

Given = TypeVar("Given", bound=Function)


@dataclass(slots=True, eq=False)
class ToolOffer:
    """A tool that is offered. `withdraw` takes it back."""

    definition: Definition
    _connection: Connection
    _registration: _Registration | None = None
    patience: Patience = field(default_factory=Patience)
    withdrawn: bool = False

    @property
    def name(self) -> str:
        """What it was offered as."""
        return self.definition.name

    def withdraw(self) -> None:
        """The tool is gone; calls that are under way fail."""
        self.withdrawn = True
        if self._registration is not None:
            self._connection.abandon(self._registration.id)

    def begin(self, mail: SimpleQueue[_Mail], first: SimpleQueue[Event] | None = None) -> _Registration:
        """Ask the daemon to offer it; its events go to `mail`, the first one to `first` if there is that.

        Raises why the connection has ended.
        """
        registration = _Registration(self, mail, first)
        request = requests.register_tool(self.definition, WINDOW)
        registration.id = self._connection.start("tool.register", request, registration)
        self._registration = registration
        return registration


@dataclass(slots=True, eq=False)
class _Registration:
    """One time that an offer was made: its inbox, and what is under way of it."""

    offer: ToolOffer
    mail: SimpleQueue[_Mail]
    first: SimpleQueue[Event] | None
    id: int = 0
    window: Window = field(default_factory=new_window)
    running: dict[int, Future[str]] = field(default_factory=dict)
    """Handlers whose answers are wanted; who takes one out of it decides about its answer."""

    def put(self, event: Event) -> None:
        """Take one event, in the IO thread."""
        first, self.first = self.first, None
        if first is not None:
            first.put(event)
        else:
            self.mail.put(_Arrived(self, event))


@dataclass(frozen=True, slots=True)
class _Arrived:
    registration: _Registration
    event: Event


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Mail = _Arrived | _Stop


class Tools:
    """Tools: those of others to call, and one's own to offer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mail: SimpleQueue[_Mail] = SimpleQueue()
        self._offers: list[ToolOffer] = []

    def list(self, names: Sequence[str] = ()) -> list[ToolInfo]:
        """The tools that one may call, or those of them with these names."""
        return perform(self._connection, requests.list_tools(names))

    def call(
        self,
        name: str,
        arguments: Mapping[str, object] | None = None,
        pid: int | None = None,
        timeout: float | None = None,
    ) -> Json:
        """Call a tool and wait for its result, a JSON value. `pid`: for that process, which waits meanwhile.

        Raises `ToolFailed` with the tool's own words when something went wrong inside it, `InvalidArgument` when the
        arguments do not fit its schema, `TimedOut`, `TryAgain` when it has as many calls open as it takes.
        """
        return perform(self._connection, requests.call_tool(name, arguments, pid, timeout))

    def register(
        self,
        tool: Function | str,
        description: str | None = None,
        schema: Mapping[str, object] | str | None = None,
        handler: Function | None = None,
        name: str | None = None,
        timeout: float = 60.0,
        at_once: int = 16,
    ) -> ToolOffer:
        """Offer a function, or a name with a handler; it can be called from now on, and is answered by `serve`.

        Description and schema come from docstring and type hints unless they are given. A parameter named `caller` gets
        the `ToolCaller`. `timeout` in seconds is the longest a call may take, `at_once` how many may be open. Raises
        `AlreadyExists` when the name is taken, `InvalidArgument` for what cannot be described.
        """
        definition = define(tool, description, schema, handler, name, timeout, at_once)
        offer = ToolOffer(definition, self._connection)
        first: SimpleQueue[Event] = SimpleQueue()
        offer.begin(self._mail, first)
        event = first.get()
        if isinstance(event, Failed):
            raise event.error
        self._offers = [*(other for other in self._offers if not other.withdrawn), offer]
        return offer

    def offer(self, function: Given) -> Given:
        """Decorator: offer this function; the function stays as it is."""
        self.register(function)
        return function

    def serve(self) -> None:
        """Answer calls of everything that was registered, until `stop`; more can be registered meanwhile.

        Raises why an offer may not be made any more, or why the connection has ended.
        """
        with ThreadPoolExecutor(HANDLERS, "llmos tool") as threads:
            try:
                _Serving(self._connection, self._mail, threads).run()
            finally:
                for offer in self._offers:
                    offer.withdraw()
                self._offers.clear()
                threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End `serve`, from any thread."""
        self._mail.put(_Stop())


@dataclass(slots=True, eq=False)
class _Serving:
    """One run of `serve`."""

    connection: Connection
    mail: SimpleQueue[_Mail]
    threads: ThreadPoolExecutor
    again: list[tuple[float, ToolOffer]] = field(default_factory=list)
    """Offers to be made again, and when."""

    def run(self) -> None:
        while True:
            self._offer_again()
            try:
                mail = self.mail.get(timeout=self._pause())
            except Empty:
                continue
            match mail:
                case _Stop():
                    return
                case _Arrived(registration, event):
                    self._take(registration, event)
                case _:
                    assert_never(mail)

    def _pause(self) -> float | None:
        return max(0.0, min(when for when, _ in self.again) - time.monotonic()) if self.again else None

    def _offer_again(self) -> None:
        now = time.monotonic()
        due = [offer for when, offer in self.again if when <= now]
        self.again = [(when, offer) for when, offer in self.again if when > now]
        for offer in due:
            if not offer.withdrawn:
                offer.begin(self.mail)

    def _take(self, registration: _Registration, event: Event) -> None:
        match event:
            case Happened(raw):
                self._called(registration, decode_record(ToolCalled, raw))
                if credit := registration.window.consume():
                    self.connection.credit(registration.id, credit)
            case Failed(error):
                self._lost(registration, error)
            case Replied():
                pass
            case _:
                assert_never(event)

    def _called(self, registration: _Registration, called: ToolCalled) -> None:
        if called.offered:
            registration.offer.patience.taken()
        elif called.cancelled:
            if (future := registration.running.pop(called.id, None)) is not None:
                future.cancel()
        else:
            definition = registration.offer.definition
            future = self.threads.submit(_handle, definition, called)
            registration.running[called.id] = future
            future.add_done_callback(lambda future: self._answer(registration, called.id, future))

    def _answer(self, registration: _Registration, id: int, future: Future[str]) -> None:
        """In the handler's thread. Whatever a handler raises is its caller's to hear."""
        if registration.running.pop(id, None) is None or future.cancelled():
            return
        error = future.exception()
        result = None if error is not None else future.result()
        name = registration.offer.name
        try:
            perform(self.connection, requests.answer_tool(name, id, result, None if error is None else told(error)))
        except NotFound:
            pass  # its caller has left meanwhile
        except Error as refused:
            with suppress(Error):
                perform(self.connection, requests.answer_tool(name, id, None, refused.message))

    def _lost(self, registration: _Registration, error: Error) -> None:
        running, registration.running = registration.running, {}
        for future in running.values():
            future.cancel()
        offer = registration.offer
        if offer.withdrawn:
            return
        if not can_come_back(error):
            raise error
        self.again.append((time.monotonic() + offer.patience.next(), offer))


def _handle(definition: Definition, called: ToolCalled) -> str:
    function: Callable[..., object] = definition.function
    return result_text(function(**definition.keywords(called.arguments, caller_of(called))))

"""Lines in, answers out: what the user types is done here, one line at a time.

Rules: answers and lists go to stdout, what is about them to stderr. Lines are read byte by byte, so that those behind
the one that is being answered are left to whoever goes on after a crash.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import assert_never

import msgspec

import llmos

from . import commands as c
from .log import session_names
from .records import How
from .rules import Arithmetic, Clock, rule_for
from .session import Session, went_away

MOST_CHARACTERS = 8000
"""Of a line."""


class Interrupted(BaseException):
    """A signal asks to end."""


@dataclass(slots=True)
class Terminal:
    """Standard input and output. `install` makes signals end what runs, but not what is guarded."""

    _guarded: bool = False
    _asked: int = 0

    def install(self) -> None:
        """From now on SIGTERM and SIGINT raise `Interrupted` in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take_signal)

    @property
    def status(self) -> int:
        """The exit status after a signal: 0 for one that asks politely."""
        return 130 if self._asked == signal.SIGINT else 0

    def lines(self) -> Iterator[str]:
        """Lines that are not empty, until the input ends."""
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
            while line := source.readline():
                text = line.decode("utf-8", "replace").strip()
                if len(text) > MOST_CHARACTERS:
                    self.tell(f"a line has {MOST_CHARACTERS} characters at most, this one {len(text)}")
                elif text:
                    yield text

    def show(self, text: str) -> None:
        """To stdout, at once."""
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def tell(self, text: str) -> None:
        """A line to stderr."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A signal that comes meanwhile ends it afterwards."""
        self._guarded = True
        try:
            yield
        finally:
            self._guarded = False
        if self._asked:
            raise Interrupted

    def _take_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked = number
        if not self._guarded:
            raise Interrupted


@dataclass(slots=True, eq=False)
class Conversation:
    """A session and its user."""

    session: Session
    terminal: Terminal
    tools: bool = False
    under_way: str = ""
    """The line that is being done."""
    before: int = 0
    """Exchanges before it."""

    def take(self, line: str) -> bool:
        """Do what a line says; whether there is to be another one. Raises errors of a daemon that is gone."""
        self.under_way, self.before = line, len(self.session.transcript.exchanges)
        more = self._told(lambda: self._perform_somewhere(c.parse(line)))
        self.under_way = ""
        return more

    def go_on(self, former: Conversation | None) -> None:
        """Take up what was under way; in a daemon that has come back also a question that had not been noted yet."""
        self._told(self._go_on_pending)
        line = former.under_way if former is not None else ""
        if former is None or not line or len(self.session.transcript.exchanges) > former.before:
            return
        if isinstance(c.parse(line), c.Question):
            self.take(line)
        else:
            self.terminal.tell(f"this may not have been done: {line}")

    def _told(self, work: Callable[[], bool]) -> bool:
        """Do something; an error of it is told. Raises those of a daemon that is gone."""
        try:
            return work()
        except llmos.Error as error:
            if went_away(error):
                raise
            self.terminal.tell(f"error: {error.message}")
            if error.hint:
                self.terminal.tell(f"hint: {error.hint}")
            return True

    def _go_on_pending(self) -> bool:
        self.session.go_on()
        return True

    def _perform_somewhere(self, command: c.Command) -> bool:
        """In a new process, when somebody has ended the one that there was."""
        try:
            return self._perform(command)
        except llmos.NoSuchProcess:
            self.session.restore()
            return self._perform(command)

    def _perform(self, command: c.Command) -> bool:
        match command:
            case c.Question(text):
                self._ask(text)
            case c.Simple(name):
                return self._simple(name)
            case c.OnText(name, text):
                self._on_text(name, text)
            case c.Write(name, text):
                self._say(self.session.tools.write_file(name, text))
            case c.Tools(on):
                self._set_tools(on)
            case c.CallTool(name, arguments):
                self._call(name, dict(arguments))
            case c.Alternatives(count, question):
                self._alternatives(count, question)
            case c.Unclear(why):
                self.terminal.tell(why)
            case _:
                assert_never(command)
        return True

    def _ask(self, text: str) -> None:
        tools = self.session.tools
        match rule_for(text):
            case Arithmetic(expression):
                try:
                    answer = tools.calculate(expression)
                except llmos.InvalidArgument:
                    self.session.ask(text)
                else:
                    self.session.answer_by_rule(text, answer, "calculate")
            case Clock():
                self.session.answer_by_rule(text, tools.time_now(), "time_now")
            case None:
                self.session.ask(text, How.TOOLS if self.tools else How.ALONE)

    def _simple(self, name: str) -> bool:
        match name:
            case "/files":
                self._say("\n".join(self.session.tools.list_files()))
            case "/sessions":
                self._say("\n".join(session_names(self.session.system)))
            case "/undo":
                done = self.session.undo()
                self.terminal.tell("the last exchange is taken back" if done else "there is nothing to take back")
            case "/transcript":
                self._say("\n".join(self._shown()))
            case "/help":
                self._say(c.HELP)
        return name != "/quit"

    def _on_text(self, name: str, text: str) -> None:
        tools = self.session.tools
        match name:
            case "/read":
                content = tools.read_file(text)
                self.session.put_note(f"the file {text}", content, llmos.Origin(llmos.OriginKind.TOOL, name="files"))
                self._say(f"{len(content)} characters of {text} are before the model")
            case "/save":
                last = self.session.last
                self._say(tools.write_file(text, last.text if last is not None else ""))
            case "/remember":
                self._say(f"remembered as {tools.remember(text)}")
            case "/recall":
                self._recall(text)
            case "/forget":
                self._say(f"{self.session.system.memory.forget(text).items} forgotten")

    def _recall(self, words: str) -> None:
        found = self.session.tools.found(words)
        if not found:
            self.terminal.tell("nothing was found")
        for record in found:
            origin = llmos.Origin(llmos.OriginKind.MEMORY, name=record.namespace, id=record.id, version=record.version)
            self.session.put_note("a note from memory", record.text, origin)
            self._say(f"{record.id} {record.text}")

    def _set_tools(self, on: bool | None) -> None:
        if on is not None:
            self.tools = on
            self.terminal.tell("the model may call tools" if on else "the model has no tools")
            return
        own = [f"{one.__name__}: {(one.__doc__ or '').splitlines()[0]}" for one in self.session.tools.functions]
        others = [f"{one.owner}/{one.name}: {one.description}" for one in self.session.system.tools.list()]
        self._say("\n".join((*own, *others)))

    def _call(self, name: str, arguments: dict[str, str]) -> None:
        """A tool that the user calls; what it gives is shown, and goes before the model as data."""
        own = {one.__name__: one for one in self.session.tools.functions}
        if name in own:
            try:
                result = own[name](**arguments)
            except TypeError:
                raise llmos.InvalidArgument(f"{name} takes other arguments", "/tools lists them") from None
        else:
            result = self.session.system.tools.call(name, arguments, pid=self.session.process.pid)
        text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
        self._say(text)
        self.session.put_note(f"what the tool {name} gave", text, llmos.Origin(llmos.OriginKind.TOOL, name=name))

    def _alternatives(self, count: int, question: str) -> None:
        last = self.session.last
        if not question and last is None:
            self.terminal.tell("there is no question yet")
            return
        if not question and last is not None:
            question = last.asked.text
            while self.session.last is last:  # notes behind the question go with it
                self.session.undo()
        self.session.ask(question, How.ALTERNATIVES, count)

    def _shown(self) -> Iterator[str]:
        for exchange in self.session.transcript.exchanges:
            note = exchange.asked.how is How.NOTE
            yield f"({exchange.asked.text})" if note else f"> {exchange.asked.text}\n{exchange.text}"

    def _say(self, text: str) -> None:
        if text:
            self.terminal.show(f"{text}\n")

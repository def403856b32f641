"""What a line of the user's means.

Pure. Rules: only a line that begins with `/` is a command, and only the user's own lines are read here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .alternatives import MOST

HELP = """\
/files                     list your files
/read NAME                 put a file before the model
/write NAME TEXT           write a file
/save NAME                 write the last answer into a file
/remember TEXT             remember it, in all sessions
/recall WORDS              show what was remembered, and put it before the model
/forget ID                 forget one thing
/tools [on|off]            let the model call tools; without a word: list them
/tool NAME [KEY=VALUE]...  call a tool yourself
/alternatives N [QUESTION] answer N times and keep the best; without a question the last one again
/undo                      take the last exchange back
/transcript                show this session
/sessions                  list sessions
/help                      show this
/quit                      end; the session stays"""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be answered."""

    text: str


@dataclass(frozen=True, slots=True)
class Simple:
    """`/files /undo /transcript /sessions /help /quit`."""

    name: str


@dataclass(frozen=True, slots=True)
class OnText:
    """`/read /save /remember /recall /forget`, with all that follows."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Write:
    """`/write`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Tools:
    """`/tools`; None asks for the list."""

    on: bool | None


@dataclass(frozen=True, slots=True)
class CallTool:
    """`/tool`."""

    name: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """`/alternatives`; without a question the last one again."""

    count: int
    question: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """It is no command; `why` is for the user."""

    why: str


Command = Question | Simple | OnText | Write | Tools | CallTool | Alternatives | Unclear

_SIMPLE = ("/files", "/undo", "/transcript", "/sessions", "/help", "/quit")
_ON_TEXT = ("/read", "/save", "/remember", "/recall", "/forget")


def parse(line: str) -> Command:
    """The command in a line that is not empty."""
    if not line.startswith("/"):
        return Question(line)
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    match name:
        case _ if name in _SIMPLE:
            return Simple(name) if not rest else Unclear(f"{name} takes nothing")
        case _ if name in _ON_TEXT:
            return OnText(name, rest) if rest else Unclear(f"{name} needs something after it")
        case "/write":
            target, _, text = rest.partition(" ")
            return Write(target, text) if text else Unclear("/write NAME TEXT")
        case "/tools":
            return Tools({"on": True, "off": False}.get(rest)) if rest in ("", "on", "off") else Unclear("on or off")
        case "/tool":
            return _tool(rest)
        case "/alternatives":
            return _alternatives(rest)
        case _:
            return Unclear(f"there is no {name}; /help says what there is")


def _tool(rest: str) -> Command:
    name, *pairs = rest.split() or [""]
    arguments = tuple((key, value) for key, sign, value in (pair.partition("=") for pair in pairs) if key and sign)
    if not name or len(arguments) < len(pairs):
        return Unclear("/tool NAME KEY=VALUE ...")
    return CallTool(name, arguments)


def _alternatives(rest: str) -> Command:
    count, _, question = rest.partition(" ")
    if not count.isascii() or not count.isdigit() or not 2 <= int(count[:4]) <= MOST:
        return Unclear(f"/alternatives takes a number from 2 to {MOST}, and a question if it is a new one")
    return Alternatives(int(count), question.strip())

"""The policy files: read, checked and turned into a Casbin enforcer.

It does not know principals, calls or caches. Rules: a file is used whole or refused; a refusal names the
file and the line. Casbin itself skips lines that it cannot place and takes any word for an effect, so lines
are checked here before it sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import casbin
from simpleeval import InvalidExpression

from llmos.syscalls.abi.errors import InvalidArgument

DEFAULT_MODEL = Path(__file__).parent / "policy" / "model.conf"
DEFAULT_POLICY = Path(__file__).parent / "policy" / "policy.csv"

_SUBJECT = "principal:"
_EFFECTS = ("allow", "deny")
_WILDCARD = re.compile(r"\*\*|\*")


class Rules(Protocol):
    """A loaded policy."""

    def enforce(self, subject: str, role: str, object: str, action: str) -> bool:
        """Whether the policy allows it. One thread only."""
        ...


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    kind: str
    fields: tuple[str, ...]


def load_rules(model: Path = DEFAULT_MODEL, policy: Path = DEFAULT_POLICY) -> Rules:
    """Read both files. Raises `InvalidArgument` that names the file, the line and what is expected there."""
    loaded = _load_model(model)
    widths = {kind: len(loaded[kind[0]][kind].tokens) for kind in ("p", "g")}
    for line in _lines(policy):
        _check(policy, line, widths)
        loaded.add_policy(line.kind, line.kind, list(line.fields))
    return _enforcer(loaded, model)


def matches(name: str, pattern: str, subject: str) -> bool:
    """Whether a name fits a pattern in which `$self` is the caller; `*` stays in one segment, `**` does not."""
    own = subject.removeprefix(_SUBJECT)
    return _compiled(pattern.replace("$self", own)).fullmatch(name) is not None


def subject_of(name: str) -> str:
    """A principal as policies name it."""
    return _SUBJECT + name


def role_of(name: str) -> str:
    """A role as policies name it."""
    return f"role:{name}"


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = _WILDCARD.split(pattern)
    signs = [".*" if sign == "**" else "[^/]*" for sign in _WILDCARD.findall(pattern)]
    return re.compile("".join(re.escape(piece) + sign for piece, sign in zip(pieces, [*signs, ""], strict=True)))


def _load_model(path: Path) -> casbin.Model:
    text = _read(path)
    loaded = casbin.Model()
    try:
        loaded.load_model_from_text(text)
    except RuntimeError as error:
        raise _refused(path, str(error)) from None
    for section, key in (("r", "r"), ("p", "p"), ("g", "g"), ("e", "e"), ("m", "m")):
        if section not in loaded.keys() or key not in loaded[section]:  # noqa: SIM118 (its `in` never ends)
            raise _refused(path, f"it has no definition of `{key}`")
    if len(loaded["r"]["r"].tokens) != 4:
        raise _refused(path, "a request is `r = sub, role, obj, act`")
    return loaded


def _enforcer(loaded: casbin.Model, path: Path) -> Rules:
    try:
        enforcer = casbin.Enforcer(loaded)
        enforcer.add_function("matches", matches)
        enforcer.build_role_links()
        enforcer.enforce(*_sample(enforcer.get_policy()))
    except (InvalidExpression, RuntimeError, ValueError, TypeError, AttributeError, SyntaxError, LookupError) as error:
        # What an evaluator raises when a matcher or an effect makes no sense to it.
        raise _refused(path, f"it cannot be evaluated: {error}") from None
    rules: Rules = enforcer
    return rules


def _sample(rules: list[list[str]]) -> tuple[str, str, str, str]:
    """A request on which the whole matcher is evaluated: one that fits the first rule, as far as rules look like
    ours.
    """
    subject, object, action = (*(rules[0][:3] if rules else ()), "", "", "")[:3]
    return subject, subject, object, action


def _lines(path: Path) -> tuple[_Line, ...]:
    lines = []
    for number, text in enumerate(_read(path).splitlines(), 1):
        words = tuple(word.strip() for word in text.partition("#")[0].split(","))
        if words != ("",):
            lines.append(_Line(number, words[0], words[1:]))
    return tuple(lines)


def _check(path: Path, line: _Line, widths: dict[str, int]) -> None:
    if line.kind not in widths:
        raise _refused(path, f"a rule begins with p or g, not {line.kind!r}", line.number)
    expected = widths[line.kind]
    if len(line.fields) != expected or not all(line.fields):
        raise _refused(path, f"{line.kind} takes {expected} fields, here are {len(line.fields)}", line.number)
    if line.kind == "p" and line.fields[-1] not in _EFFECTS:
        raise _refused(path, f"the effect is allow or deny, not {line.fields[-1]!r}", line.number)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"it cannot be read: {error}") from None


def _refused(path: Path, reason: str, line: int | None = None) -> InvalidArgument:
    where = str(path) if line is None else f"{path}:{line}"
    return InvalidArgument(f"{where}: {reason}", "security.policy and security.model name the files")

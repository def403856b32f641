"""The policy files, read: rules and grants, each with its place, or all that is wrong with them.

A file is CSV with comments after `#`. A rule is `p, WHO, TENANT, OBJECT, ACTION, allow|deny[, CONDITION]`, WHO being
`role:NAME`, `principal:NAME` or `any`. A grant is `g, principal:NAME, role:NAME, TENANT`: the principal has also this
role there; or `g, role:NAME, role:NAME[, TENANT]`: whoever has the first has also the second. TENANT is a name or `*`.

It does not know Casbin, calls or who there is. Rules: all files together are one document, which is used whole or
refused; a refusal names every file and line that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from llmos.kernel.security.policy.conditions import BadCondition, Term, parse_condition
from llmos.syscalls.abi.errors import InvalidArgument

ANY = "any"
EVERYWHERE = "*"
MOST_BYTES = 16 << 20
MOST_LINES = 200_000

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_ROLE = re.compile(rf"role:{_NAME}")
_WHO = re.compile(rf"any|(role|principal):{_NAME}")
_TENANT = re.compile(rf"\*|{_NAME}")
_PATTERN = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,512}")
"""Printable, without spaces and commas."""

_SHOWN = 20


class Effect(StrEnum):
    """What a rule does when it fits; one deny outweighs every allow."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and content."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One `p` line."""

    place: Place
    who: str
    tenant: str
    object: str
    action: str
    effect: Effect
    condition: str = ""
    terms: tuple[Term, ...] = ()

    def fields(self) -> list[str]:
        """As Casbin takes it, and as the file has it."""
        return [self.who, self.tenant, self.object, self.action, self.effect.value, self.condition]

    def __str__(self) -> str:
        return ", ".join(["p", *(field for field in self.fields() if field)])


@dataclass(frozen=True, slots=True)
class Grant:
    """One `g` line."""

    place: Place
    member: str
    role: str
    tenant: str

    def __str__(self) -> str:
        return f"g, {self.member}, {self.role}, {self.tenant}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in one place."""

    place: Place
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Document:
    """A whole policy."""

    rules: tuple[Rule, ...]
    grants: tuple[Grant, ...]
    sources: tuple[Source, ...]

    def roles(self) -> tuple[str, ...]:
        """Names of the roles that it speaks of, in their order."""
        named = [rule.who for rule in self.rules]
        named += [who for grant in self.grants for who in (grant.member, grant.role)]
        return tuple(dict.fromkeys(who.removeprefix("role:") for who in named if who.startswith("role:")))


class BrokenPolicy(InvalidArgument):
    """The files are no policy; `problems` has all that is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        shown = [str(problem) for problem in problems[:_SHOWN]]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        super().__init__("; ".join([*shown, *more]), "llmosctl policy lint says more; the old policy stays in force")
        self.problems = tuple(problems)


def parse(sources: Sequence[Source]) -> Document:
    """Read the files as one document. Raises `BrokenPolicy`."""
    reader = _Reader()
    if sum(len(source.text) for source in sources) > MOST_BYTES:
        raise BrokenPolicy([Problem(Place(sources[0].name, 1), f"the files have more than {MOST_BYTES} characters")])
    for source in sources:
        reader.read(source)
    problems = reader.problems + list(_circles(reader.grants))
    if problems:
        raise BrokenPolicy(problems)
    return Document(tuple(reader.rules), tuple(reader.grants), tuple(sources))


def read_sources(path: Path) -> tuple[Source, ...]:
    """A file, or all `.csv` files of a folder by name. Raises `InvalidArgument`."""
    try:
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        return tuple(Source(file.name, file.read_text(encoding="utf-8")) for file in files)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidArgument(f"the policy {path} cannot be read: {reason}", "security.policy names it") from None


class _Reader:
    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.grants: list[Grant] = []
        self.problems: list[Problem] = []

    def read(self, source: Source) -> None:
        lines = source.text.splitlines()
        if len(lines) > MOST_LINES:
            self.problems.append(Problem(Place(source.name, MOST_LINES), f"more than {MOST_LINES} lines"))
            return
        for number, text in enumerate(lines, 1):
            words = [word.strip() for word in text.partition("#")[0].split(",")]
            if words != [""]:
                self._line(Place(source.name, number), words)

    def _line(self, place: Place, words: list[str]) -> None:
        kind, *fields = words
        problem = ""
        match kind:
            case "p":
                problem = self._rule(place, fields)
            case "g":
                problem = self._grant(place, fields)
            case _:
                problem = f"a line begins with p or g, not {kind[:40]!r}"
        if problem:
            self.problems.append(Problem(place, problem))

    def _rule(self, place: Place, fields: list[str]) -> str:
        if len(fields) not in (5, 6):
            wanted = "p, WHO, TENANT, OBJECT, ACTION, allow|deny[, CONDITION]"
            return f"a rule is {wanted}: 5 or 6 fields after p, here are {len(fields)}"
        who, tenant, object, action, effect = fields[:5]
        condition = fields[5] if len(fields) == 6 else ""
        if reason := _first_wrong(who, tenant, object, action):
            return reason
        if effect not in tuple(Effect):
            return f"the effect is allow or deny, not {effect[:40]!r}"
        try:
            terms = parse_condition(condition)
        except BadCondition as error:
            return str(error)
        self.rules.append(Rule(place, who, tenant, object, action, Effect(effect), condition, terms))
        return ""

    def _grant(self, place: Place, fields: list[str]) -> str:
        if len(fields) == 2 and fields[0].startswith("role:"):
            fields = [*fields, EVERYWHERE]
        if len(fields) != 3:
            return "a grant is g, principal:NAME, role:NAME, TENANT or g, role:NAME, role:NAME[, TENANT]"
        member, role, tenant = fields
        if member == ANY or not _WHO.fullmatch(member):
            return f"a grant is for principal:NAME or role:NAME, not {member[:40]!r}"
        if not _ROLE.fullmatch(role):
            return f"a grant gives role:NAME, not {role[:40]!r}"
        if not _TENANT.fullmatch(tenant):
            return f"a tenant is a name or *, not {tenant[:40]!r}"
        self.grants.append(Grant(place, member, role, tenant))
        return ""


def _first_wrong(who: str, tenant: str, object: str, action: str) -> str:
    if not _WHO.fullmatch(who):
        return f"who is role:NAME, principal:NAME or any, not {who[:40]!r}"
    if not _TENANT.fullmatch(tenant):
        return f"a tenant is a name or *, not {tenant[:40]!r}"
    for what, pattern in (("object", object), ("action", action)):
        if not _PATTERN.fullmatch(pattern):
            return f"an {what} is a pattern of printable characters without spaces, not {pattern[:40]!r}"
    return ""


def _circles(grants: Sequence[Grant]) -> Iterator[Problem]:
    """The lines of a circle of roles that have each other, if there is one: no hierarchy."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for grant in grants:
        order.add(grant.member, grant.role)
    try:
        order.prepare()
    except CycleError as error:
        circle = set(error.args[1])
        for grant in grants:
            if grant.member in circle and grant.role in circle:
                yield Problem(grant.place, f"{grant.member} and {grant.role} have each other")

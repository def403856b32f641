"""Tests of a policy: a YAML file of questions and the answers that they must get.

    principals:                     # optional: people whom cases name, and owners of objects
      bob: {role: developer, tenant: acme}
    cases:
      - {who: alice, role: developer, tenant: acme, action: proc.signal, object: proc:/bob/12, expect: deny}

`who` may also be `{name: alice, role: developer, tenant: acme, kind: user}`. A case may also have `object_tenant`,
`attributes` (`class=batch context=4096`), `at` (`2026-11-24 09:30`) and `by` (`own.csv:3`, the rule that must decide).
It knows no daemon. Rules: what cannot be is an error that names the case and its line; anchors and aliases are refused,
so that no small file becomes a large one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Literal

import msgspec

from llmos.kernel.core.principal import DEFAULT_TENANT, SYSTEM, Principal, check_name
from llmos.kernel.security.names import TENANT_SIGN
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.conditions import Circumstances, at
from llmos.kernel.security.policy.decisions import Decision, Policy, Question
from llmos.kernel.security.policy.strict_yaml import BadYaml, read_yaml
from llmos.kernel.security.policy.vocabulary import ACTIONS
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.words import KeyKind, Record

MOST_CHARACTERS = 1 << 20

_HINT = "cases: a list of {who, role, action, object, expect: allow|deny}"


class _Person(Record, frozen=True):
    role: str | None = None
    tenant: str | None = None
    kind: KeyKind | None = None


class _Named(_Person, frozen=True, kw_only=True):
    name: str


class _File(Record, frozen=True):
    cases: tuple[dict[str, object], ...]
    principals: dict[str, _Person] = msgspec.field(default_factory=dict)


class _Case(Record, frozen=True):
    who: str | _Named
    action: str
    object: str
    expect: Literal["allow", "deny"]
    role: str | None = None
    tenant: str | None = None
    kind: KeyKind | None = None
    object_tenant: str | None = None
    attributes: str = ""
    at: str = ""
    by: str = ""

    @property
    def name(self) -> str:
        """Of whoever asks."""
        return self.who if isinstance(self.who, str) else self.who.name

    def person(self) -> _Person:
        """What the case itself says about whoever asks."""
        named = _Person() if isinstance(self.who, str) else self.who
        return _Person(self.role or named.role, self.tenant or named.tenant, self.kind or named.kind)


@dataclass(frozen=True, slots=True)
class Case:
    """A question and the answer that it must get; `by` is the place of the rule that must decide, '' for any."""

    number: int
    line: int
    question: Question
    allowed: bool
    by: str = ""

    def __str__(self) -> str:
        asked = self.question
        return f"case {self.number} (line {self.line}): {asked.principal.name} {asked.action} {asked.object}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case got, and why."""

    case: Case
    passed: bool
    decision: Decision
    explanation: str


def load_cases(text: str) -> tuple[Case, ...]:
    """Read a file of cases. Raises `InvalidArgument`."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidArgument(f"the cases have more than {MOST_CHARACTERS} characters", "make two files of them")
    try:
        read = read_yaml(text)
        file = msgspec.convert(read.value, _File)
    except (BadYaml, msgspec.ValidationError) as error:
        raise InvalidArgument(f"this is no file of cases: {error}", _HINT) from None
    lines = read.lines("cases")
    written = [
        _written(number, line, case) for number, (line, case) in enumerate(zip(lines, file.cases, strict=True), 1)
    ]
    tenants = _tenants(written, file.principals)
    return tuple(
        _case(number, line, case, file.principals.get(case.name, _Person()), tenants)
        for number, (line, case) in enumerate(zip(lines, written, strict=True), 1)
    )


def run_cases(policy: Policy, cases: Iterable[Case]) -> tuple[Outcome, ...]:
    """Ask every question."""
    return tuple(_run(policy, case) for case in cases)


def tenant_of(object: str, who: Principal, tenants: Mapping[str, str]) -> str:
    """The tenant of an object, from its name and the tenants of people that are known."""
    kind, _, rest = object.partition(":/")
    first = rest.partition("/")[0]
    match kind:
        case "proc" | "mem" | "topic" | "tool":
            return _tenant_of_owner(first, who, tenants)
        case "fs":
            return _tenant_of_owner(rest.removeprefix("home/").partition("/")[0], who, tenants)
        case "key" | "audit":
            return first
        case "share" | "model" | "app":
            return who.tenant
        case _:
            return SYSTEM


def _tenant_of_owner(owner: str, who: Principal, tenants: Mapping[str, str]) -> str:
    return owner.removeprefix(TENANT_SIGN) if owner.startswith(TENANT_SIGN) else tenants.get(owner, who.tenant)


def _written(number: int, line: int, case: Mapping[str, object]) -> _Case:
    try:
        return msgspec.convert(case, _Case)
    except msgspec.ValidationError as error:
        raise _wrong(number, line, str(error)) from None


def _tenants(cases: Sequence[_Case], people: Mapping[str, _Person]) -> dict[str, str]:
    """Where those who are named belong; the section `principals` says it for all cases."""
    known = {case.name: case.person().tenant or DEFAULT_TENANT for case in reversed(cases)}
    return known | {name: person.tenant or DEFAULT_TENANT for name, person in people.items()}


def _case(number: int, line: int, case: _Case, known: _Person, tenants: Mapping[str, str]) -> Case:
    try:
        _check_action(case.action)
        who = _principal(case, known)
        tenant = check_name(case.object_tenant or tenant_of(case.object, who, tenants), "tenant")
        minute, weekday = at(datetime.fromisoformat(case.at)) if case.at else (0, 0)
        circumstances = Circumstances(parse_attributes(case.attributes), who.kind, minute, weekday)
    except InvalidArgument as error:
        raise _wrong(number, line, error.message, error.hint) from None
    except ValueError:
        raise _wrong(number, line, f"{case.at[:40]!r} is no time", "at: 2026-11-24 09:30") from None
    question = Question(who, tenant, case.object, case.action, circumstances)
    return Case(number, line, question, case.expect == "allow", case.by)


def _check_action(action: str) -> None:
    """A mistyped action is denied whatever the policy says: a case about one would test nothing."""
    if action not in ACTIONS:
        close = get_close_matches(action, ACTIONS, n=1)
        raise InvalidArgument(f"there is no action {action[:64]!r}", f"did you mean {close[0]}?" if close else _HINT)


def _principal(case: _Case, known: _Person) -> Principal:
    said = case.person()
    role = said.role or known.role
    if role is None:
        raise InvalidArgument(
            f"nothing says which role {case.name[:80]!r} has", "role: NAME, here or under principals:"
        )
    return Principal(
        check_name(case.name),
        check_name(role, "role"),
        check_name(said.tenant or known.tenant or DEFAULT_TENANT, "tenant"),
        said.kind or known.kind or KeyKind.USER,
    )


def _wrong(number: int, line: int, reason: str, hint: str = _HINT) -> InvalidArgument:
    return InvalidArgument(f"case {number} (line {line}): {reason}", hint)


def _run(policy: Policy, case: Case) -> Outcome:
    decision = policy.decide(case.question)
    rule = decision.rule
    place = "" if rule is None else str(rule.place)
    passed = decision.allowed is case.allowed and case.by in ("", place)
    said = "allowed" if decision.allowed else "denied"
    why = f"by {place}: {rule}" if rule is not None else "because no rule allows it"
    wanted = "" if passed else f", not {_expectation(case)}"
    return Outcome(case, passed, decision, f"{said} {why}{wanted}")


def _expectation(case: Case) -> str:
    return ("allowed" if case.allowed else "denied") + (f" by {case.by}" if case.by else "")

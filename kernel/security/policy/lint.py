"""What is surely wrong, or surely useless, in a policy that can be read.

It does not know who has a key, beyond the roles it is told. Rules: no false alarm, so that it may stop a merge; one
finding says why a rule has no effect; what depends on keys or on the future is a note, and so is what a later file does
to an earlier one, because overruling the shipped roles is what files of one's own are for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmos.kernel.security.policy.contradictions import contradiction, subject
from llmos.kernel.security.policy.covering import CoverIndex, Entry, same_reach
from llmos.kernel.security.policy.document import EVERYWHERE, Document, Effect, Grant, Place, Rule
from llmos.kernel.security.policy.fruitless import fitting_actions, fruitless, unheard
from llmos.kernel.security.policy.grants import Grants
from llmos.kernel.security.policy.meeting import MeetIndex
from llmos.kernel.security.policy.patterns import covers
from llmos.kernel.security.policy.vocabulary import ACTIONS, AMBIENT

SHIPPED = ("admin", "viewer", "operator", "developer", "app", "auditor")
"""The roles that llmos comes with."""

_ADMIN = "role:admin"


class Severity(StrEnum):
    """Errors are rules that cannot mean what was meant; notes may well be meant so."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Code(StrEnum):
    """What is wrong."""

    NEVER_MATCHES = "NEVER_MATCHES"
    IMPOSSIBLE_BOUNDS = "IMPOSSIBLE_BOUNDS"
    BOUNDS_NOTHING = "BOUNDS_NOTHING"
    DUPLICATE = "DUPLICATE"
    SHADOWED = "SHADOWED"
    CONTRADICTED = "CONTRADICTED"
    UNNEEDED = "UNNEEDED"
    UNKNOWN_ROLE = "UNKNOWN_ROLE"
    TOO_WIDE = "TOO_WIDE"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a place; `other` is the line that makes it so, if one does."""

    place: Place
    severity: Severity
    code: Code
    message: str
    other: Place | None = None

    def __str__(self) -> str:
        other = f" ({self.other})" if self.other is not None else ""
        return f"{self.place}: {self.severity.value}: {self.message}{other} [{self.code.value}]"


def lint(
    document: Document, actions: Collection[str] = ACTIONS, roles_of_keys: Collection[str] = ()
) -> tuple[Finding, ...]:
    """All findings, in the order of the files. `roles_of_keys` are roles that keys give."""
    known = tuple(actions)
    judged = [(rule, fruitless(rule, known), fitting_actions(rule, known)) for rule in document.rules]
    entries = [Entry(number, rule, bits) for number, (rule, reason, bits) in enumerate(judged) if not reason]
    found = [Finding(rule.place, Severity.ERROR, Code.NEVER_MATCHES, reason) for rule, reason, _ in judged if reason]
    found += _impossible_bounds(entries)
    found += _bounding_nothing(document.rules, known)
    found += _superfluous(entries, Grants(document.grants))
    found += _unneeded(entries)
    found += _too_wide(entries)
    found += _superfluous_grants(document.grants)
    found += _unknown_roles(document, {*SHIPPED, *roles_of_keys})
    found += _empty_roles(document)
    files = {source.name: number for number, source in enumerate(document.sources)}
    return tuple(sorted(found, key=lambda one: (files.get(one.place.file, len(files)), one.place.line, one.code)))


def _impossible_bounds(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Rules that still allow the calls which do not carry what the terms ask about."""
    for entry in entries:
        if terms := contradiction(entry.rule.terms):
            bounds = " and ".join(term.text for term in terms)
            message = f"nothing meets {bounds}, so that it allows only calls that name no {subject(terms[0])}"
            yield Finding(entry.rule.place, Severity.ERROR, Code.IMPOSSIBLE_BOUNDS, message)


def _bounding_nothing(rules: Sequence[Rule], actions: tuple[str, ...]) -> Iterator[Finding]:
    for rule in rules:
        if rule.effect is Effect.ALLOW and (term := unheard(rule, actions)) is not None:
            message = f"no call with {rule.action} carries what {term.text} asks about, so it bounds nothing"
            yield Finding(rule.place, Severity.WARNING, Code.BOUNDS_NOTHING, message)


def _superfluous(entries: Sequence[Entry], grants: Grants) -> Iterator[Finding]:
    index = CoverIndex(entries, grants)
    for entry in entries:
        denying = _denying(index, entry) if entry.rule.effect is Effect.ALLOW else None
        covering = next(filter(lambda other: _outlives(other, entry), index.covering(entry, entry.rule.effect)), None)
        if covering is not None and _alike(covering.rule, entry.rule):
            yield _because(entry, Code.DUPLICATE, "the same rule is there already", covering)
        elif denying is not None:
            yield _because(entry, Code.CONTRADICTED, f"never allows, because of {denying.rule}", denying)
        elif covering is not None:
            yield _because(entry, Code.SHADOWED, f"changes nothing beside {covering.rule}", covering)


def _denying(index: CoverIndex, entry: Entry) -> Entry | None:
    """A deny that holds whenever the allow does: about what a call may not carry, it holds less often."""
    return next(
        (
            other
            for other in index.covering(entry, Effect.DENY)
            if all(subject(term) in AMBIENT for term in other.rule.terms)
        ),
        None,
    )


def _outlives(other: Entry, entry: Entry) -> bool:
    """Of two rules that make each other superfluous the first is the one to keep."""
    return other.number < entry.number or not same_reach(other, entry)


def _alike(one: Rule, other: Rule) -> bool:
    same_who = (one.who, one.tenant) == (other.who, other.tenant)
    return same_who and (one.object, one.action, one.terms) == (other.object, other.action, other.terms)


def _because(entry: Entry, code: Code, message: str, other: Entry) -> Finding:
    """A later file is there to say more than an earlier one, so that what it outdoes may well stay."""
    place, by = entry.rule.place, other.rule.place
    meant = other.number > entry.number and place.file != by.file
    return Finding(place, Severity.NOTE if meant else Severity.WARNING, code, message, by)


def _unneeded(entries: Sequence[Entry]) -> Iterator[Finding]:
    allowing = MeetIndex(entry for entry in entries if entry.rule.effect is Effect.ALLOW)
    for entry in entries:
        if entry.rule.effect is Effect.DENY and not allowing.meets(entry):
            yield Finding(entry.rule.place, Severity.NOTE, Code.UNNEEDED, "denies what nothing allows")


def _too_wide(entries: Sequence[Entry]) -> Iterator[Finding]:
    for entry in entries:
        rule = entry.rule
        if rule.effect is Effect.ALLOW and rule.who != _ADMIN and _is_all(rule):
            message = f"{rule.who} may do everything; name the actions, or grant {_ADMIN}"
            yield Finding(rule.place, Severity.WARNING, Code.TOO_WIDE, message)


def _is_all(rule: Rule) -> bool:
    # No action has a slash, so that one asterisk is as wide as two.
    return covers(rule.object, "**") and covers(rule.action, "*")


def _superfluous_grants(grants: Sequence[Grant]) -> Iterator[Finding]:
    places: dict[tuple[str, str, str], Place] = {}
    for grant in grants:
        places.setdefault((grant.member, grant.role, grant.tenant), grant.place)
    for grant in grants:
        same = places[grant.member, grant.role, grant.tenant]
        wider = places.get((grant.member, grant.role, EVERYWHERE))
        if same is not grant.place:
            message = "the same grant is there already"
            yield Finding(grant.place, Severity.WARNING, Code.DUPLICATE, message, same)
        elif wider is not None and grant.tenant != EVERYWHERE:
            message = f"{grant.member} has {grant.role} in every tenant"
            yield Finding(grant.place, Severity.WARNING, Code.SHADOWED, message, wider)


def _unknown_roles(document: Document, known: Collection[str]) -> Iterator[Finding]:
    """Roles that rules and grants speak of, and that at most keys can give."""
    given = {grant.role for grant in document.grants} | {f"role:{name}" for name in known}
    spoken: dict[str, Place] = {}
    for rule in document.rules:
        spoken.setdefault(rule.who, rule.place)
    for grant in document.grants:
        spoken.setdefault(grant.member, grant.place)
    for who, place in spoken.items():
        if who.startswith("role:") and who not in given:
            message = f"no grant gives {who}; it holds for keys that were made with this role"
            yield Finding(place, Severity.NOTE, Code.UNKNOWN_ROLE, message)


def _empty_roles(document: Document) -> Iterator[Finding]:
    members: dict[str, list[str]] = {}
    for grant in document.grants:
        members.setdefault(grant.role, []).append(grant.member)
    full = {rule.who for rule in document.rules}
    waiting = list(full)
    while waiting:
        new = set(members.get(waiting.pop(), ())) - full
        full |= new
        waiting += new
    for grant in document.grants:
        if grant.role not in full:
            message = f"{grant.role} has no rules, so that the grant gives nothing"
            yield Finding(grant.place, Severity.WARNING, Code.UNKNOWN_ROLE, message)

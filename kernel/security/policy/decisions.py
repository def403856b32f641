"""A policy in force: Casbin's answer to one question, and the rule that gave it.

Casbin evaluates the matcher and the effect of the model over the rules that the index finds for the question; with a
model of one's own, whose matcher may mean anything, over all rules. It does not know calls or caches. Rules: a policy
never changes; one thread only; what does not evaluate is refused when the policy is made, and what a model of one's own
cannot evaluate for one question after all is denied.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import casbin
from simpleeval import InvalidExpression

from llmos.kernel.core.principal import Principal
from llmos.kernel.security.policy.conditions import ORDINARY, Circumstances, Term, boundaries, holds, unmet
from llmos.kernel.security.policy.document import ANY, EVERYWHERE, Document, Effect, Place, Rule
from llmos.kernel.security.policy.grants import Caller, Grants
from llmos.kernel.security.policy.index import RuleIndex
from llmos.kernel.security.policy.patterns import matches
from llmos.syscalls.abi.errors import InvalidArgument

SHIPPED_MODEL = Path(__file__).parent / "model.conf"
SHIPPED_ROLES = Path(__file__).parent / "roles.csv"

MOST_ROLES_TRIED = 100
"""Roles that are tried to say which one would allow what was denied."""

_REQUEST = ["sub", "role", "home", "dom", "obj", "act", "env"]
_RULE = ["sub", "dom", "obj", "act", "eft", "when"]
_UNEVALUABLE = (
    InvalidExpression,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    LookupError,
    ArithmeticError,
)
"""What an evaluator raises when a matcher or an effect makes no sense to it."""

_log = logging.getLogger("llmos.security")


@dataclass(frozen=True, slots=True)
class Question:
    """May `principal` do `action` to `object`, which belongs to `tenant`, under these circumstances?"""

    principal: Principal
    tenant: str
    object: str
    action: str
    circumstances: Circumstances = ORDINARY

    @property
    def caller(self) -> Caller:
        """Who asks, as far as the object's tenant knows."""
        who = self.principal
        return Caller(who.name, who.tenant, who.role_in(self.tenant))


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule that is about the question, and the term of its condition that kept it from deciding, if one did."""

    rule: Rule
    unmet: Term | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; `rule` is the one that gave it, None when no rule allows it."""

    allowed: bool
    rule: Rule | None


class Policy:
    """One document under one model."""

    def __init__(self, document: Document, model: Path | None = None) -> None:
        """Raises `InvalidArgument` for a model that does not fit or does not evaluate."""
        self.document = document
        self.grants = Grants(document.grants)
        self.index = RuleIndex(document.rules, self.grants)
        self.boundaries = sorted(set[int]().union(*(boundaries(rule.terms) for rule in document.rules)))
        """Minutes of the day at which answers may change by themselves."""
        self._narrow = model is None
        self._by_fields = {tuple(rule.fields()): rule for rule in reversed(document.rules)}
        self.enforcer = _enforcer(document, self.grants, model or SHIPPED_MODEL)
        """Casbin's; it is asked with the rules that a question is about."""
        self._rules = self.enforcer.model["p"]["p"]

    def decide(self, question: Question) -> Decision:
        """The answer, from Casbin."""
        caller = question.caller
        fitting: list[Rule] = []
        if self._narrow:
            fitting = self.index.find(caller, question.tenant, question.object, question.action)
            if not fitting:
                return Decision(False, None)
            self._rules.policy = [rule.fields() for rule in fitting]
            allowed, _ = self.enforcer.enforce_ex(*self.request(question))
            return Decision(allowed, _deciding(fitting, question.circumstances, allowed))
        try:
            allowed, explained = self.enforcer.enforce_ex(*self.request(question))
        except _UNEVALUABLE as error:
            _log.error("denied, because security.model does not evaluate: %s for %s", error, question)
            return Decision(False, None)
        return Decision(allowed, self._by_fields.get(tuple(explained)))

    def request(self, question: Question) -> tuple[object, ...]:
        """The question as the model's request."""
        caller, role = question.caller, question.principal.role_in(question.tenant)
        return (
            caller.subject,
            f"role:{role}" if role else "",
            caller.home,
            question.tenant,
            question.object,
            question.action,
            question.circumstances,
        )

    def considered(self, question: Question) -> list[Considered]:
        """Every rule that is about the question, in order, with what kept it from deciding."""
        found = self.index.find(question.caller, question.tenant, question.object, question.action)
        return [Considered(rule, _unmet(rule, question.circumstances)) for rule in found]

    def roles_that_may(self, question: Question) -> tuple[str, ...]:
        """Roles that would allow it to the principal, were they its own where the object is."""
        who = question.principal
        return tuple(role for role in self.document.roles()[:MOST_ROLES_TRIED] if self._would(role, who, question))

    def slot(self, moment: datetime) -> int:
        """Changes when answers may have changed because time has passed."""
        if not self.boundaries:
            return 0
        minute = moment.hour * 60 + moment.minute
        return moment.weekday() * 1441 + sum(boundary <= minute for boundary in self.boundaries)

    def _would(self, role: str, who: Principal, question: Question) -> bool:
        caller = Caller(who.name, who.tenant, role)
        found = self.index.find(caller, question.tenant, question.object, question.action)
        effects = {rule.effect for rule in found if _unmet(rule, question.circumstances) is None}
        return effects == {Effect.ALLOW}


def _unmet(rule: Rule, circumstances: Circumstances) -> Term | None:
    return unmet(rule.terms, circumstances, absent=rule.effect is Effect.ALLOW)


def _deciding(fitting: list[Rule], circumstances: Circumstances, allowed: bool) -> Rule | None:
    wanted = Effect.ALLOW if allowed else Effect.DENY
    return next((rule for rule in fitting if rule.effect is wanted and _unmet(rule, circumstances) is None), None)


class _Enforcer(casbin.Enforcer):  # type: ignore[misc] # casbin has no types
    """Parses its matcher once instead of for every question, which is more than half of what one costs.

    The functions of a matcher are the same in all of its questions: they come from the grants, which never change.
    """

    def __init__(self, model: casbin.Model) -> None:
        self._parsed: dict[str, object] = {}
        super().__init__(model)

    def _get_expression(self, text: str, functions: Mapping[str, object] | None = None) -> object:
        if text not in self._parsed:
            self._parsed[text] = super()._get_expression(text, functions)
        return self._parsed[text]


def _enforcer(document: Document, grants: Grants, path: Path) -> casbin.Enforcer:
    model = _model(path)
    # Given whole: Casbin compares every rule that is added with all that are there.
    model["p"]["p"].policy = [rule.fields() for rule in document.rules]
    try:
        enforcer = _Enforcer(model)
        enforcer.set_named_role_manager("g", grants)
        enforcer.build_role_links()
        enforcer.add_function("matches", matches)
        enforcer.add_function("within", lambda tenant, rule: rule in (tenant, EVERYWHERE))
        enforcer.add_function("holds", holds)
        _try(enforcer, document)
    except _UNEVALUABLE as error:
        raise _refused(path, f"it cannot be evaluated: {error}") from None
    return enforcer


def _try(enforcer: casbin.Enforcer, document: Document) -> None:
    """Evaluate the whole matcher once, on a question that fits the first rule."""
    place = Place("", 0)
    rule = document.rules[0] if document.rules else Rule(place, ANY, EVERYWHERE, "sys:/", "sys.info", Effect.ALLOW)
    tenant = "" if rule.tenant == EVERYWHERE else rule.tenant
    enforcer.enforce(rule.who, rule.who, tenant, tenant, rule.object, rule.action, ORDINARY)


def _model(path: Path) -> casbin.Model:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"it cannot be read: {error}") from None
    model = casbin.Model()
    try:
        model.load_model_from_text(text)
    except RuntimeError as error:
        raise _refused(path, str(error)) from None
    for section in ("r", "p", "g", "e", "m"):
        if section not in model.keys() or section not in model[section]:  # noqa: SIM118 (its `in` never ends)
            raise _refused(path, f"it has no definition of `{section}`")
    for section, wanted in (("r", _REQUEST), ("p", _RULE)):
        if [token.removeprefix(f"{section}_") for token in model[section][section].tokens] != wanted:
            raise _refused(path, f"`{section}` must be {', '.join(wanted)}")
    return model


def _refused(path: Path, reason: str) -> InvalidArgument:
    return InvalidArgument(f"{path}: {reason}", "security.model names the Casbin model")

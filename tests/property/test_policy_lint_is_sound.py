"""What `lint` says is so: a rule that it calls useless can go, and nobody notices."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import attributes_of
from llmos.kernel.security.policy.decisions import Policy, Question
from llmos.kernel.security.policy.document import Document, Effect
from llmos.kernel.security.policy.lint import Code, Finding, lint
from llmos.kernel.security.policy.vocabulary import carried
from llmos.syscalls.abi.table import CALLS
from llmos.syscalls.abi.words import Pid
from tests.property.message_strategies import records
from tests.property.policy_strategies import asked_by_calls, documents

USELESS = {Code.NEVER_MATCHES, Code.DUPLICATE, Code.SHADOWED, Code.CONTRADICTED, Code.UNNEEDED}


class NoOwners:
    """Nothing runs."""

    default_model = "small"
    default_encoder = "minilm"

    def owner_of(self, pid: Pid) -> None:
        return None

    def mailbox_of(self, pid: Pid) -> None:
        return None

    def file_of(self, descriptor: int) -> FilePath | None:
        return None


@settings(max_examples=400)
@given(document=documents(), asked=st.lists(asked_by_calls(), min_size=1, max_size=12))
def test_a_line_that_is_called_useless_can_go(document: Document, asked: list[Question]) -> None:
    policy = Policy(document)
    for finding in lint(document):
        if finding.code in USELESS:
            without = Policy(_without(document, finding))
            for question in asked:
                assert policy.decide(question).allowed == without.decide(question).allowed, (finding, question)


@settings(max_examples=200)
@given(document=documents(), asked=st.lists(asked_by_calls(), min_size=1, max_size=12))
def test_a_rule_that_is_said_never_to_match_never_does(document: Document, asked: list[Question]) -> None:
    policy = Policy(document)
    never = {finding.place for finding in lint(document) if finding.code is Code.NEVER_MATCHES}
    for question in asked:
        deciding = {found.rule.place for found in policy.considered(question) if found.unmet is None}
        assert not deciding & never


@settings(max_examples=200)
@given(document=documents(), asked=st.lists(asked_by_calls(), min_size=1, max_size=12))
def test_an_allow_that_is_said_to_be_contradicted_never_allows(document: Document, asked: list[Question]) -> None:
    policy = Policy(document)
    contradicted = {finding.place for finding in lint(document) if finding.code is Code.CONTRADICTED}
    for question in asked:
        decision = policy.decide(question)
        assert decision.rule is None or decision.rule.effect is Effect.DENY or decision.rule.place not in contradicted


@given(data=st.data())
def test_calls_carry_what_the_vocabulary_says_and_nothing_else(data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(CALLS))
    attributes = attributes_of(data.draw(records(call.request)), NoOwners())
    words = {word.partition("=")[0] for word in attributes.text().split()}
    assert words <= carried(call.name)


def _without(document: Document, finding: Finding) -> Document:
    rules = tuple(rule for rule in document.rules if rule.place != finding.place)
    grants = tuple(grant for grant in document.grants if grant.place != finding.place)
    return replace(document, rules=rules, grants=grants)

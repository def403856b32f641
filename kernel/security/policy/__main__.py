"""`python -m llmos.kernel.security.policy lint|test|check|explain`: policy files without a daemon, for authors and CI.

Files are read together with the shipped roles, unless `--only` is said. Data on stdout, all else on stderr. Exit
status: 0 fine or allowed, 1 something was found (notes alone are fine), failed or is denied, 2 wrong usage or
unreadable files.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

from llmos.kernel.core.principal import DEFAULT_TENANT, Principal, check_name
from llmos.kernel.security.policy.attributes import parse_attributes
from llmos.kernel.security.policy.cases import load_cases, run_cases, tenant_of
from llmos.kernel.security.policy.conditions import Circumstances
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Considered, Decision, Policy, Question
from llmos.kernel.security.policy.document import BrokenPolicy, Document, Effect, Source, parse, read_sources
from llmos.kernel.security.policy.lint import Severity, lint
from llmos.syscalls.abi.errors import Error, InvalidArgument


class Options(Protocol):
    """The command line, read; each command has those that it takes."""

    command: str
    json: bool
    only: bool
    policy: list[Path]
    cases: Path
    who: str
    action: str
    object: str
    role: str
    tenant: str
    object_tenant: str | None
    attributes: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    options = cast(Options, _parser().parse_args(arguments))
    commands = {"lint": _lint, "test": _test, "check": _check, "explain": _explain}
    try:
        return commands[options.command](options)
    except BrokenPolicy as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except Error as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 2


def _lint(options: Options) -> int:
    found = lint(_document(options))
    _emit(options, found, [str(finding) for finding in found])
    counts = Counter(finding.severity for finding in found)
    print(", ".join(f"{counts[one]} {one.value}{'s' * (counts[one] != 1)}" for one in Severity), file=sys.stderr)
    return int(counts[Severity.ERROR] + counts[Severity.WARNING] > 0)


def _test(options: Options) -> int:
    outcomes = run_cases(Policy(_document(options)), load_cases(_read(options.cases)))
    failed = [one for one in outcomes if not one.passed]
    shown = [{"case": str(one.case), "passed": one.passed, "explanation": one.explanation} for one in outcomes]
    summary = f"{len(outcomes) - len(failed)} passed, {len(failed)} failed"
    _emit(options, shown, [*(f"FAILED {one.case}: {one.explanation}" for one in failed), summary])
    return int(bool(failed))


def _check(options: Options) -> int:
    policy, question = Policy(_document(options)), _question(options)
    decision = policy.decide(question)
    _emit(options, _said(decision), [_sentence(decision)])
    return int(not decision.allowed)


def _explain(options: Options) -> int:
    policy, question = Policy(_document(options)), _question(options)
    decision = policy.decide(question)
    held = policy.grants.held(question.caller, question.tenant)
    steps = [(one, _kept(one, decision)) for one in policy.considered(question)]
    roles = policy.roles_that_may(question)
    data = _said(decision) | {
        "tenant": question.tenant,
        "held": held,
        "considered": [{"place": str(one.rule.place), "rule": str(one.rule), "kept": kept} for one, kept in steps],
        "roles": roles,
    }
    lines = [_sentence(decision), f"in the tenant {question.tenant} these hold: {', '.join(held)}"]
    lines += [f"  {one.rule.place}: {one.rule}" + (f"    [{kept}]" if kept else "") for one, kept in steps]
    lines += [f"roles that may: {', '.join(roles) or 'none'}"]
    _emit(options, data, lines)
    return int(not decision.allowed)


def _said(decision: Decision) -> dict[str, object]:
    rule = decision.rule
    place, text = ("", "") if rule is None else (str(rule.place), str(rule))
    return {"allowed": decision.allowed, "place": place, "rule": text}


def _sentence(decision: Decision) -> str:
    if decision.rule is None:
        return "denied: no rule allows it"
    return f"{'allowed' if decision.allowed else 'denied'} by {decision.rule.place}: {decision.rule}"


def _kept(found: Considered, decision: Decision) -> str:
    """What kept a rule from deciding; empty for the one that decides."""
    if found.unmet is not None:
        return f"not now: {found.unmet.text}"
    if found.rule is decision.rule:
        return "decides"
    return "outweighed" if found.rule.effect is Effect.ALLOW and not decision.allowed else "says the same"


def _question(options: Options) -> Question:
    role = check_name(options.role, "role") if options.role else ""
    who = Principal(check_name(options.who), role, check_name(options.tenant, "tenant"))
    tenant = check_name(options.object_tenant or tenant_of(options.object, who, {}), "tenant")
    circumstances = Circumstances(parse_attributes(options.attributes), who.kind)
    return Question(who, tenant, options.object, options.action, circumstances)


def _document(options: Options) -> Document:
    sources = [] if options.only else [*read_sources(SHIPPED_ROLES)]
    for place in options.policy:
        sources += read_sources(place)
    _refuse_same_names(sources)
    return parse(sources)


def _refuse_same_names(sources: Sequence[Source]) -> None:
    """Findings and answers name a rule by its file and line."""
    name, count = Counter(source.name for source in sources).most_common(1)[0] if sources else ("", 0)
    if count > 1:
        raise InvalidArgument(f"{count} files are named {name}", "--only leaves the shipped roles.csv out")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidArgument(f"{path} cannot be read: {reason}") from None


def _emit(options: Options, data: object, lines: Sequence[str]) -> None:
    if options.json:
        print(msgspec.json.encode(data).decode())
        return
    for line in lines:
        print(line)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--only", action="store_true", help="without the shipped roles")
    common.add_argument("--json", action="store_true", help="print JSON")
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--policy", action="append", default=[], type=Path, metavar="FILE|DIR", help="files of rules")
    parser = argparse.ArgumentParser("llmos.kernel.security.policy", description="Tools for files of rules.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="lint|test|check|explain")
    linted = commands.add_parser("lint", parents=[common], help="find rules without effect or sense")
    linted.add_argument("policy", nargs="*", type=Path, metavar="FILE|DIR")
    tested = commands.add_parser("test", parents=[files, common], help="ask a file of cases")
    tested.add_argument("cases", type=Path, metavar="CASES.yaml")
    for name, help in (("check", "ask one question"), ("explain", "ask one question, and why that is the answer")):
        _ask(commands.add_parser(name, parents=[files, common], help=help))
    return parser


def _ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("who", metavar="WHO")
    parser.add_argument("action", metavar="ACTION")
    parser.add_argument("object", metavar="OBJECT")
    parser.add_argument("--role", default="", help="role that WHO's key gives (default: none)")
    parser.add_argument("--tenant", default=DEFAULT_TENANT, help="tenant of WHO (default: %(default)s)")
    parser.add_argument("--object-tenant", help="tenant of OBJECT (default: as its name says, or WHO's)")
    parser.add_argument("--attributes", default="", help="what the call asks for, as 'class=batch context=4096'")


if __name__ == "__main__":
    sys.exit(main())

"""How long a decision of the policy takes, remembered and anew, with 10 to 10,000 rules.

Cold: `Policy.decide`, a different question every time, half of them denied. Cached: `Membrane.authorize_call` on a
process that was asked about before. The peer of a size is the smallest size, in turns: flat means 1. Beside it stands
what a plain Casbin enforcer takes over the same rules.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import casbin

from bench.report import Fact, Findings, compare, percentile
from llmos.kernel.core.principal import Principal
from llmos.kernel.security.identity.registry import Identity
from llmos.kernel.security.membrane import Membrane
from llmos.kernel.security.names import FilePath
from llmos.kernel.security.objects import Owner
from llmos.kernel.security.policy.decisions import SHIPPED_ROLES, Policy, Question
from llmos.kernel.security.policy.document import Source, parse, read_sources
from llmos.syscalls.abi.messages import OnProcess
from llmos.syscalls.abi.table import BY_NAME
from llmos.syscalls.abi.words import Pid

SIZES = (10, 100, 1_000, 10_000)
TENANTS = 100
ACTIONS = ("proc.info", "proc.signal", "ctx.read", "gen.generate")


class _World:
    """Everybody's processes are Ann's."""

    default_model = "model"
    default_encoder = "minilm"

    def owner_of(self, pid: Pid) -> Owner | None:
        """Ann, whatever the process."""
        return Owner("ann", "t0")

    def mailbox_of(self, pid: Pid) -> Owner | None:
        return self.owner_of(pid)

    def file_of(self, descriptor: int) -> FilePath | None:
        """No file is open."""
        return None

    def named(self, name: str) -> Identity | None:
        """Nobody has a key."""
        return None

    def admins(self, tenant: str) -> tuple[str, ...]:
        """Nobody administrates."""
        return ()


def run(quick: bool) -> Findings:
    """All sizes in turns."""
    policies = {size: _policy(size) for size in SIZES}
    cold: dict[int, list[float]] = {size: [] for size in SIZES}
    cached: dict[int, list[float]] = {size: [] for size in SIZES}
    source = random.Random(7)
    for _ in range(3 if quick else 9):
        for size, policy in policies.items():
            cold[size].append(_cold(policy, source, 200 if quick else 1_000))
            cached[size].append(_cached(policy, 2_000 if quick else 20_000))
    figures = [
        compare(f"{what} decision, {size:,} rules", "us", times[size], "10 rules", times[SIZES[0]], "lower")
        for what, times in (("cold", cold), ("cached", cached))
        for size in SIZES[1:]
    ]
    facts = [
        *(Fact(f"cold, {size:,} rules, p50", percentile(cold[size], 50), "us") for size in SIZES),
        *(Fact(f"cached, {size:,} rules, p50", percentile(cached[size], 50), "us") for size in SIZES),
        *(Fact(f"plain Casbin enforcer, {size:,} rules", _plain(policies[size]), "us") for size in SIZES[:3]),
    ]
    return Findings(tuple(figures), tuple(facts))


def _policy(size: int) -> Policy:
    lines = [_line(number) for number in range(size)]
    lines += [f"g, principal:p{number}, role:operator, t{number % TENANTS}" for number in range(size)]
    return Policy(parse([*read_sources(SHIPPED_ROLES), Source("many.csv", "\n".join(lines))]))


def _line(number: int) -> str:
    """Rules of four shapes: of many roles, many tenants, many objects and many people."""
    shapes = (
        f"p, role:r{number}, *, proc:/$self/*, proc.info, allow",
        f"p, role:developer, t{number}, proc:/**, proc.info, allow",
        f"p, role:developer, *, proc:/x{number}/*, proc.info, allow",
        f"p, principal:p{number}, *, proc:/a/{number}/**, ctx.read, allow, class<=normal",
    )
    return shapes[number % len(shapes)]


def _cold(policy: Policy, source: random.Random, count: int) -> float:
    times = []
    for _ in range(count):
        question = _question(source)
        began = time.perf_counter()
        policy.decide(question)
        times.append(1e6 * (time.perf_counter() - began))
    return percentile(times, 50)


def _question(source: random.Random) -> Question:
    number, pid = source.randrange(10_000), source.randrange(1 << 40)
    tenant = f"t{number % TENANTS}"
    who = Principal(f"p{number}", "developer", tenant)
    owner = source.choice((who.name, "ann"))
    return Question(who, tenant, f"proc:/{owner}/{pid}", source.choice(ACTIONS))


def _cached(policy: Policy, count: int) -> float:
    world, ann, call = _World(), Principal("ann", "developer", "t0"), BY_NAME["proc.info"]
    membrane = Membrane(policy, world, world, lambda: "id")
    requests: Sequence[OnProcess] = [OnProcess(pid) for pid in range(2, 66)]
    for request in requests:
        membrane.authorize_call(ann, call, request)
    began = time.perf_counter()
    for number in range(count):
        membrane.authorize_call(ann, call, requests[number % 64])
    return 1e6 * (time.perf_counter() - began) / count


def _plain(policy: Policy) -> float:
    """The same rules and model in Casbin's enforcer, which looks at every one of them."""
    enforcer: casbin.Enforcer = policy.enforcer
    rules = [rule.fields() for rule in policy.document.rules]
    source, times = random.Random(7), []
    for _ in range(20):
        question = _question(source)
        enforcer.model["p"]["p"].policy = rules
        began = time.perf_counter()
        enforcer.enforce(*policy.request(question))
        times.append(1e6 * (time.perf_counter() - began))
    return percentile(times, 50)

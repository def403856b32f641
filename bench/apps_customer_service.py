"""The app `customer_service` on real questions: its own `evaluation`, and the figures. `bench/apps.py` calls
`measure`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import llmos
from bench.daemon import Daemon
from bench.report import Fact, Figure, Findings, compare, percentile
from llmos.apps.customer_service import evaluation as customer_service
from tests.datasets import CHATTERBOT_CORPUS, DEBIAN_FAQ, PYTHON_DOC, obtain


def measure(running: Daemon, quick: bool) -> Findings:
    """Evaluate it in a daemon. Raises `CannotBeHad`."""
    corpus = obtain(CHATTERBOT_CORPUS) / "chatterbot_corpus" / "data" / "english"
    debian = obtain(DEBIAN_FAQ) / "usr" / "share" / "doc" / "debian" / "FAQ"
    python = obtain(PYTHON_DOC) / "usr" / "share" / "doc" / "python3.11" / "html" / "faq"
    data = customer_service.Data(debian, python, corpus)

    async def evaluate() -> customer_service.Evaluation:
        async with llmos.aconnect(running.endpoint, running.key) as system:
            return await customer_service.evaluate(system, data, quick)

    found = asyncio.run(evaluate())
    return Findings(tuple(_hit_figures(found.hits)) + _crowd_figures(found.crowd), tuple(_facts(found)))


def _hit_figures(hits: Iterable[customer_service.Hits]) -> Iterable[Figure]:
    for one in hits:
        name = f"{one.count} {one.questions} questions"
        for peer, first, five in (
            ("BM25", one.plain_first, one.plain_five),
            ("BM25 over stems", one.stem_first, one.stem_five),
        ):
            yield compare(f"hit@1, {name}", "share", [one.first], peer, [first], "higher")
            yield compare(f"hit@5, {name}", "share", [one.five], peer, [five], "higher")


def _crowd_figures(crowd: customer_service.Crowd) -> tuple[Figure, ...]:
    """Replies a second: of a crowd, and of customers one after the other."""
    rate, alone = len(crowd.together) / max(crowd.together), len(crowd.alone) / sum(crowd.alone)
    name = f"{len(crowd.together)} customers at once"
    return (compare(name, "replies/s", [rate], "one after the other", [alone], "higher"),)


def _facts(found: customer_service.Evaluation) -> Iterable[Fact]:
    yield Fact(f"{found.passages} passages loaded in", found.load_seconds, "s")
    for one in found.handed_over:
        yield Fact(f"handed over, {one.count} questions {one.questions}", one.share)
    yield from _answer_facts(found.answers)
    for percent in (50, 95):
        yield Fact(f"reply in a crowd, percentile {percent}", percentile(found.crowd.together, percent), "s")
        yield Fact(f"of it waiting for a turn, percentile {percent}", percentile(found.crowd.waited, percent), "s")
        yield Fact(f"reply alone, percentile {percent}", percentile(found.crowd.alone, percent), "s")
    yield Fact("processes of the crowd", found.crowd.processes)
    for name, weight in (("cosine", found.fitted.cosine), ("coverage", found.fitted.coverage)):
        yield Fact(f"rule fitted anew, {name}", weight)
    yield Fact("rule fitted anew, offset", found.fitted.offset)


def _answer_facts(answers: customer_service.Answers) -> Iterable[Fact]:
    name = f"{answers.count} paraphrases through the model"
    yield Fact(f"{name}: answered", answers.answered)
    yield Fact(f"{name}: cites the right section", answers.right)
    yield Fact(f"{name}: cites it, or says to see it also", answers.near)
    yield Fact(f"{name}: a stored answer", answers.stored)
    yield Fact(f"{name}: in the model's words", answers.written)
    yield Fact(f"{name}: quoted", answers.quoted)
    yield Fact(f"{name}: words of an answer that are in its source", answers.grounded)
    yield Fact(f"{name}: what the model wrote was rejected", answers.rejected)

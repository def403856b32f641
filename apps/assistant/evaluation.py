"""What alternatives and the transcript are worth, and what they cost, on real data: the trivia of chatterbot's corpus.

`evaluate` asks short questions whose answers are known: once greedily, and four times with the best kept, by likelihood
and by agreement. An answer is right when it has every word of the expected one but small words. The first alternative
is the greedy answer, so that wins and losses are those of choosing. Then it answers long questions with and without a
transcript, and counts the pages that alternatives share. It knows the SDK and this app alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

import llmos

from .alternatives import explore
from .scoring import best_by_agreement
from .session import SYSTEM, open_session

ALTERNATIVES = 4
SHORT = 24
"""Tokens of an answer to a short question."""
LONG = 64
LONG_QUESTIONS: Final = (
    "Explain how rain forms.",
    "Describe a day at the sea.",
    "Why do we sleep?",
    "How is bread made?",
    "Tell a story about a fox.",
)
QUICK = 12
FULL = 86
AT_ONCE = 8
"""Questions whose answers are judged and not timed."""
COSTED = 8
_INSTRUCTION = "Answer the question in a few words."
_SESSION = "evaluation"
_SMALL: Final = frozenset(("the", "a", "an", "of", "and", "in", "on", "to", "is", "was", "it", "they"))
_FILLING = "The harbour was quiet, and the boats lay still upon the water. "


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the answer that is expected."""

    text: str
    expected: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Whether one question was answered rightly: greedily, by each way of choosing, and by any of the alternatives."""

    greedy: bool
    likelihood: bool
    agreement: bool
    any: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one question: tokens and seconds of one greedy answer, and of all alternatives with their scores."""

    greedy_tokens: int
    all_tokens: int
    greedy_seconds: float
    all_seconds: float


@dataclass(frozen=True, slots=True)
class Pages:
    """Of a long context: how many it has, how many of them its children share, and what forking them took."""

    pages: int
    shared: int
    children: int
    fork_seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found. `logged` and `plain` are seconds of the same answers with a transcript and without, in pairs."""

    answered: tuple[Answered, ...]
    costs: tuple[Cost, ...]
    logged: tuple[float, ...]
    plain: tuple[float, ...]
    pages: Pages


def evaluate(system: llmos.System, corpus: Path, quick: bool) -> Evaluation:
    """Measure; `corpus` is the folder of the corpus's English YAML. `quick` with fewer questions."""
    questions = list(trivia(corpus / "trivia.yml"))
    chosen = questions[:: len(questions) // (QUICK if quick else FULL)]
    logged, plain = _transcript_cost(system, LONG_QUESTIONS[:2] if quick else LONG_QUESTIONS)
    costs = tuple(_cost(system, one, number % 2 == 0) for number, one in enumerate(chosen[:COSTED]))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answered = tuple(threads.map(lambda one: _answered(system, one), chosen))
    return Evaluation(answered, costs, logged, plain, _pages(system))


def trivia(path: Path) -> Iterator[Question]:
    """The questions of a file of the corpus with short answers."""
    for lines in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
        if len(lines) == 2 and words(str(lines[1])) and len(words(str(lines[1]))) <= 4:
            yield Question(str(lines[0]), str(lines[1]))


def words(text: str) -> frozenset[str]:
    """The words that an answer must have."""
    return frozenset(re.findall(r"\w+", text.lower())) - _SMALL


def is_right(answer: str, question: Question) -> bool:
    """Whether an answer has all that is expected."""
    return words(question.expected) <= frozenset(re.findall(r"\w+", answer.lower()))


def _answered(system: llmos.System, question: Question) -> Answered:
    process = _asked(system, question)
    try:
        chosen = explore(process, ALTERNATIVES, SHORT)
        chosen.process.end()
    finally:
        process.end()
    right = [is_right(one.answer.text, question) for one in chosen.candidates]
    return Answered(right[0], right[chosen.best], right[best_by_agreement(chosen.candidates)], any(right))


def _cost(system: llmos.System, question: Question, greedy_first: bool) -> Cost:
    """Both ways, in turns; neither pays for the context."""
    process = _asked(system, question)
    try:
        process.generate(max_tokens=1).result()
        process.rewind(1)
        before = _greedy(process) if greedy_first else None
        began = time.perf_counter()
        chosen = explore(process, ALTERNATIVES, SHORT)
        seconds = time.perf_counter() - began
        chosen.process.end()
        greedy, greedy_seconds = before or _greedy(process)
    finally:
        process.end()
    tokens = sum(len(one.answer.token_ids) for one in chosen.candidates)
    return Cost(len(greedy.token_ids), tokens, greedy_seconds, seconds)


def _asked(system: llmos.System, question: Question) -> llmos.Process:
    process = system.spawn(name="evaluation", system=f"{SYSTEM} {_INSTRUCTION}")
    process.append([{"role": "user", "content": question.text}])
    return process


def _greedy(process: llmos.Process) -> tuple[llmos.Generated, float]:
    """One answer, by a child as the alternatives are, and the seconds that it took."""
    began = time.perf_counter()
    child = process.fork()
    try:
        return child.generate(max_tokens=SHORT).result(), time.perf_counter() - began
    finally:
        child.end()


class _Quiet:
    """A screen that shows nothing."""

    def show(self, text: str) -> None:
        """Nothing."""

    def tell(self, text: str) -> None:
        """Nothing."""

    def guarded(self) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()


def _transcript_cost(system: llmos.System, questions: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of answers in a session, and of the same by the SDK alone, in turns."""
    logged, plain = list[float](), list[float]()
    for question in questions:
        session = open_session(system, _SESSION, _Quiet(), most=LONG)
        process = system.spawn(name="plain", system=SYSTEM)
        try:
            began = time.perf_counter()
            process.append([{"role": "user", "content": question}])
            for _ in process.generate(max_tokens=LONG):
                continue
            middle = time.perf_counter()
            session.ask(question)
            plain.append(middle - began)
            logged.append(time.perf_counter() - middle)
            session.undo()
        finally:
            process.end()
            session.process.end()
    system.files.unlink(session.log.path)
    return tuple(logged), tuple(plain)


def _pages(system: llmos.System) -> Pages:
    process = system.spawn(name="pages")
    try:
        process.append(_FILLING * 40)
        process.generate(max_tokens=1).result()
        began = time.perf_counter()
        children = process.fork(ALTERNATIVES)
        took = time.perf_counter() - began
        counts = process.info().pages
        for child in children:
            child.end()
    finally:
        process.end()
    return Pages(counts.device, counts.shared, ALTERNATIVES, took)

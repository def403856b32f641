"""How good the app is, on real data: the Debian FAQ, the Python FAQ, and the corpus of chatterbot.

`evaluate` measures four things. Retrieval: whether the section that answers is found, against plain BM25 (rank-bm25
over the same passages), for questions in other words than the documents'. The rule that hands over: on questions with
and without an answer. Answers: whose words they are in, and whether they cite the right section. Many customers at
once: how long they wait. It needs rank-bm25, which the app itself does not.

How questions differ from the documents: `unseen` are the FAQ's own questions, and the documents are its answers
without them; `keywords` are its questions without small words, backwards; `paraphrases` were written by hand. The rule
was fitted on every second of the unseen questions, of trivia and of the Python FAQ; shares are those of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rank_bm25 import BM25Okapi

import llmos

from .calibration import Observation, fit
from .conversation import Outcome, Reply
from .customers import Customer, pseudonyms
from .desk import Bounds, Desk
from .documents import parse
from .evaluation_questions import PARAPHRASES, UNANSWERED, Paraphrase
from .evidence import ENOUGH, RULE, Evidence, Rule, confidence
from .journal import Journal
from .library import FOLDER, Library
from .passages import Passage, passages
from .retrieval import find
from .sections import SectionKind
from .sources import Citation
from .words import FUNCTION_WORDS, stem, words

BODIES = "evaluation-bodies"
BEST = 5
ALONE = 15
"""Customers that are served one after the other."""
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Data:
    """Folders: of the Debian FAQ's and the Python FAQ's HTML, and of the corpus's English YAML."""

    debian: Path
    python: Path
    corpus: Path


@dataclass(frozen=True, slots=True)
class Hits:
    """Shares of questions whose section was found: first, and among the first five; the same by BM25 over words as
    they are written, and over stems.
    """

    questions: str
    count: int
    first: float
    five: float
    plain_first: float
    plain_five: float
    stem_first: float
    stem_five: float


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Share of questions that the rule hands over."""

    questions: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Shares of all questions that were asked, each of which has an answer. `right` cite the section that answers;
    `near` cite it or name it beside that. `rejected` are those for which the model wrote something that its source
    does not bear, of those that it wrote for.
    """

    count: int
    answered: float
    right: float
    near: float
    stored: float
    written: float
    quoted: float
    grounded: float
    rejected: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Seconds until replies: of each customer, from the moment when all ask at once, and one after the other."""

    together: tuple[float, ...]
    alone: tuple[float, ...]
    waited: tuple[float, ...]
    processes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found. `passages` were loaded in `load_seconds`; `fitted` is what the rule would be if fitted now."""

    passages: int
    load_seconds: float
    hits: tuple[Hits, ...]
    handed_over: tuple[HandedOver, ...]
    fitted: Rule
    answers: Answers
    crowd: Crowd


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the heading of the section that answers it or none, and what was found."""

    question: str
    heading: str
    evidence: tuple[Evidence, ...] = ()

    @property
    def places(self) -> list[str]:
        """Headings of what was found; bodies alone have theirs for a source."""
        return [one.heading or one.source for one in self.evidence]

    def found_in(self, headings: Iterable[str]) -> bool:
        """Whether the section is among these."""
        return any(heading.startswith(self.heading) for heading in headings)


async def evaluate(system: llmos.AsyncSystem, data: Data, quick: bool) -> Evaluation:
    """Measure; `quick` with fewer questions."""
    step = 5 if quick else 1
    began = time.perf_counter()
    known = await _load(system, data)
    loaded = time.perf_counter() - began
    faq = [one for one in known if one.kind is SectionKind.TEXT]
    bodies = [replace(one, heading="") for one in faq]
    await _put_bodies(system, faq)
    own = list(dict.fromkeys(one.heading for one in faq if one.heading.endswith("?")))[::step]
    unseen = await _asked(system, [Asked(one, one) for one in own], BODIES)
    keywords = await _asked(system, [Asked(_keywords(one), one) for one in own])
    by_hand = await _asked(system, [Asked(one.asked, one.heading) for one in PARAPHRASES[::step]])
    without = {
        "trivia": await _asked(system, _without(_questions(data.corpus / "trivia.yml"))[::step]),
        "the Python FAQ": await _asked(system, _without(_faq_questions(data.python))[::step]),
        "hard ones by hand": await _asked(system, _without(UNANSWERED)[::step]),
    }
    headings = [one.heading for one in faq]
    crowd, replies = await _crowd(system, [one.asked for one in PARAPHRASES], 5 if quick else ALONE)
    return Evaluation(
        len(known),
        loaded,
        (
            _hits("unseen", unseen, headings, [one.text for one in bodies]),
            _hits("keywords", keywords, [one.heading for one in known], [one.text for one in known]),
            _hits("paraphrases", by_hand, [one.heading for one in known], [one.text for one in known]),
        ),
        _shares(unseen, by_hand, without),
        fit([*_observations(unseen[::2], True), *_observations(_fitted_without(without), False)]),
        _answers(PARAPHRASES, replies),
        crowd,
    )


async def load_documents(system: llmos.AsyncSystem, data: Data) -> None:
    """The Debian FAQ and the corpus's technical support, as an administrator would load them."""
    for path in (*_faq_pages(data.debian), data.corpus / "tech_support.yml"):
        await system.files.mkdir(FOLDER, parents=True)
        await system.files.write_bytes(f"{FOLDER}/{path.name}", path.read_bytes())
    await Library(system).refresh()


async def _load(system: llmos.AsyncSystem, data: Data) -> list[Passage]:
    await load_documents(system, data)
    pages = (*_faq_pages(data.debian), data.corpus / "tech_support.yml")
    return [passage for path in pages for passage in passages(parse(path.name, path.read_bytes()))]


def _faq_pages(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.en.html") if not path.name.startswith("index"))


def _questions(path: Path) -> list[str]:
    return [section.heading for section in parse(path.name, path.read_bytes())]


def _faq_questions(folder: Path) -> list[str]:
    pages = sorted(folder.glob("*.html"))
    return [one for path in pages if path.name != "index.html" for one in _questions(path) if one.endswith("?")]


def _without(questions: Iterable[str]) -> list[Asked]:
    return [Asked(one, "") for one in questions]


def _keywords(question: str) -> str:
    return " ".join(reversed([word for word in words(question) if word not in FUNCTION_WORDS])) or question


async def _put_bodies(system: llmos.AsyncSystem, known: Sequence[Passage]) -> None:
    """The same passages without their questions; where they are from is there to be compared, and not searched."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def put(number: int, passage: Passage) -> None:
        async with slots:
            await system.memory.put(passage.body, {"source": passage.heading}, BODIES, id=str(number))

    await asyncio.gather(*(put(number, passage) for number, passage in enumerate(known)))


async def _asked(system: llmos.AsyncSystem, asked: Sequence[Asked], namespace: str = "") -> list[Asked]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(one: Asked) -> Asked:
        async with slots:
            found = find(system, one.question, namespace) if namespace else find(system, one.question)
            return replace(one, evidence=await found)

    return list(await asyncio.gather(*(ask(one) for one in asked)))


def _hits(name: str, asked: Sequence[Asked], headings: Sequence[str], texts: Sequence[str]) -> Hits:
    plain = _bm25(
        asked, headings, [text.lower().split() for text in texts], [one.question.lower().split() for one in asked]
    )
    stems = _bm25(asked, headings, [_stems(text) for text in texts], [_stems(one.question) for one in asked])
    first = sum(one.found_in(one.places[:1]) for one in asked)
    five = sum(one.found_in(one.places[:BEST]) for one in asked)
    count = len(asked)
    return Hits(name, count, first / count, five / count, *plain, *stems)


def _bm25(
    asked: Sequence[Asked], headings: Sequence[str], texts: Sequence[list[str]], queries: Sequence[list[str]]
) -> tuple[float, float]:
    index = BM25Okapi(texts)
    first = five = 0
    for one, query in zip(asked, queries, strict=True):
        scores = index.get_scores(query)
        best = [headings[place] for place in sorted(range(len(texts)), key=lambda place: -scores[place])[:BEST]]
        first += one.found_in(best[:1])
        five += one.found_in(best)
    return first / len(asked), five / len(asked)


def _stems(text: str) -> list[str]:
    return [stem(word) for word in words(text)]


def _shares(
    unseen: Sequence[Asked], by_hand: Sequence[Asked], without: dict[str, list[Asked]]
) -> tuple[HandedOver, ...]:
    """Of those that were not fitted on."""
    groups = {"with an answer, unseen": unseen[1::2], "with an answer, paraphrases": by_hand}
    groups |= {f"without: {name}": asked if "hand" in name else asked[1::2] for name, asked in without.items()}
    return tuple(
        HandedOver(name, len(asked), sum(confidence(one.evidence) < ENOUGH for one in asked) / len(asked))
        for name, asked in groups.items()
    )


def _fitted_without(without: dict[str, list[Asked]]) -> list[Asked]:
    return [one for name, asked in without.items() if "hand" not in name for one in asked[::2]]


def _observations(asked: Sequence[Asked], answered: bool) -> list[Observation]:
    """Of the passage that makes the present rule surest, which is the one that it decides by."""
    best = (
        max(one.evidence, key=lambda each: RULE.confidence(each.cosine, each.coverage)) for one in asked if one.evidence
    )
    return [Observation(one.cosine, one.coverage, answered) for one in best]


def _answers(asked: Sequence[Paraphrase], replies: Sequence[Reply]) -> Answers:
    count, how = len(asked), [reply.how for reply in replies]
    answered = [reply for reply in replies if reply.outcome is Outcome.ANSWERED]
    pairs = list(zip(asked, replies, strict=True))
    right = sum(_names(one, reply.citations) for one, reply in pairs)
    near = sum(_names(one, (*reply.citations, *reply.also)) for one, reply in pairs)
    return Answers(
        count,
        len(answered) / count,
        right / count,
        near / count,
        how.count("stored") / count,
        how.count("written") / count,
        how.count("quoted") / count,
        sum(reply.grounded for reply in answered) / max(1, len(answered)),
        how.count("quoted") / max(1, how.count("written") + how.count("quoted")),
    )


def _names(asked: Paraphrase, citations: Iterable[Citation]) -> bool:
    return any(citation.heading.startswith(asked.heading) for citation in citations)


async def _crowd(system: llmos.AsyncSystem, asked: Sequence[str], alone: int) -> tuple[Crowd, list[Reply]]:
    """Some customers one after the other, then all questions at once, each by a customer of its own."""
    desk = Desk(system, await pseudonyms(system), Journal(frozenset(), _unwritten), Bounds())
    try:
        first = [
            await desk.serve(Customer("evaluation", f"alone-{number}"), question)
            for number, question in enumerate(asked[:alone])
        ]
        together = await asyncio.gather(
            *(desk.serve(Customer("evaluation", f"crowd-{number}"), question) for number, question in enumerate(asked))
        )
        processes = sum(one.name == "conversation" for one in await system.processes())
    finally:
        await desk.close()
    took, waited = tuple(one.took for one in together), tuple(one.waited for one in together)
    return Crowd(took, tuple(one.took for one in first), waited, processes - alone), [one.reply for one in together]


def _unwritten(line: str) -> None:
    """Nobody reads this log."""

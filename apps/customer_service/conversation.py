"""One customer's conversation: what comes in is data, and what goes out is an answer, a note, or a ticket.

Rule: nothing that a text says changes what is done here. A message is answered from the documents or from what this
customer said before, noted, or handed over; nothing else can happen to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import llmos

from .answers import Answer, answer
from .customers import Customer, Past, Pseudonyms, Remembered
from .evidence import ENOUGH, RULE, Evidence, confidence
from .instructions import addresses_a_machine, without_instructions
from .intents import Intent, intent, is_about_oneself, leans_on_what_was_said
from .retrieval import find
from .sources import Citation, cite, see_also
from .tickets import Reason, Ticket, Tickets
from .words import content_stems
from .writing import Writer

MOST_CHARACTERS = 4000
"""Of a message."""

GREETING = "Hello! What can I help you with?"
NOTED = "Thank you, I have noted that. What can I help you with?"


class Outcome(StrEnum):
    """What became of a message."""

    ANSWERED = "answered"
    RECALLED = "recalled"
    NOTED = "noted"
    GREETED = "greeted"
    HANDED_OVER = "handed over"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the customer is told. `confidence` 0 to 1 is that the documents have the answer; `how` see `answers.How`."""

    text: str
    outcome: Outcome
    citations: tuple[Citation, ...] = ()
    confidence: float = 0.0
    ticket: str | None = None
    how: str = ""
    grounded: float = 0.0
    news: tuple[str, ...] = ()
    """Answers of staff to earlier tickets."""
    also: tuple[Citation, ...] = ()
    """Other places that are nearly as near."""


@dataclass(slots=True, eq=False)
class Conversation:
    """A customer's; one message at a time. Without a `writer` answers are stored ones and quotes."""

    system: llmos.AsyncSystem
    customer: Customer
    names: Pseudonyms
    writer: Writer | None
    last_question: str = field(default="", init=False)

    @property
    def pseudonym(self) -> str:
        """The customer's, for logs."""
        return self.names.of(self.customer)

    async def take(self, message: str) -> Reply:
        """Reply to a message, and remember it. Raises `llmos.InvalidArgument` for one that is empty or too long."""
        said = message.strip()
        if not said or len(said) > MOST_CHARACTERS:
            raise llmos.InvalidArgument(
                f"a message has 1 to {MOST_CHARACTERS} characters, not {len(said)}", "send it in parts"
            )
        news = await self._news()
        reply = await self._reply(said, news)
        if reply.outcome is not Outcome.GREETED:
            await self._past.remember(said)
        return reply

    @property
    def _past(self) -> Past:
        return Past(self.system, self.names.namespace(self.customer))

    async def _reply(self, said: str, news: tuple[str, ...]) -> Reply:
        match intent(said):
            case Intent.PERSON:
                return await self._hand_over(said, Reason.ASKED_FOR, 0.0, news)
            case Intent.GREETING:
                return Reply(GREETING, Outcome.GREETED, news=news)
            case Intent.FACT if not addresses_a_machine(said):
                return Reply(NOTED, Outcome.NOTED, news=news)
            case _:
                return await self._answer(said, news)

    async def _answer(self, said: str, news: tuple[str, ...]) -> Reply:
        """What is addressed to a machine is left out, and who tries that is answered without the model."""
        question, suspicious = without_instructions(said), addresses_a_machine(said)
        evidence = await self._evidence(question) if question else ()
        sure = confidence(evidence)
        remembered = await self._remembered(question, sure)
        if remembered is not None:
            text = f"On {remembered.day} you wrote: “{remembered.text}”"
            return Reply(text, Outcome.RECALLED, confidence=sure, grounded=1.0, news=news)
        found = None
        if sure >= ENOUGH:
            found = await answer(self.system, question, evidence, None if suspicious else self.writer)
        if found is None:
            reason = Reason.SUSPICIOUS if suspicious else Reason.NO_ANSWER
            return await self._hand_over(said, reason, sure, news)
        self.last_question = question
        return _answered(found, evidence, sure, news)

    async def _evidence(self, question: str) -> tuple[Evidence, ...]:
        """For the question, or together with the one before when it is not understood alone."""
        alone = await find(self.system, question)
        if confidence(alone) >= ENOUGH or not self.last_question or not leans_on_what_was_said(question):
            return alone
        return await find(self.system, f"{self.last_question} {question}")

    async def _remembered(self, question: str, sure: float) -> Remembered | None:
        """What the customer said, when the question is about that and the documents have nothing that fits better."""
        if not is_about_oneself(question):
            return None
        stems = content_stems(question)
        for said in await self._past.recall(question):
            coverage = len(stems & content_stems(said.text)) / len(stems) if stems else 0.0
            is_statement = intent(said.text) is Intent.FACT
            if is_statement and RULE.confidence(said.cosine, coverage) >= max(ENOUGH, sure):
                return said
        return None

    async def _hand_over(self, question: str, reason: Reason, sure: float, news: tuple[str, ...]) -> Reply:
        ticket = await Tickets(self.system).open(
            self.pseudonym, self.customer.principal, self.customer.name, question, reason
        )
        return Reply(_handed_over(ticket, reason), Outcome.HANDED_OVER, (), sure, ticket.number, news=news)

    async def _news(self) -> tuple[str, ...]:
        """Answers of staff that the customer has not been told."""
        return _told(await Tickets(self.system).take_answers(self.pseudonym))


def _answered(found: Answer, evidence: Sequence[Evidence], sure: float, news: tuple[str, ...]) -> Reply:
    citations = cite(found.evidence)
    also = see_also(evidence, citations)
    return Reply(found.text, Outcome.ANSWERED, citations, sure, None, found.how.value, found.grounded, news, also)


def _handed_over(ticket: Ticket, reason: Reason) -> str:
    why = "You asked for a person" if reason is Reason.ASKED_FOR else "I have no answer that I am sure of"
    return f"{why}, so a colleague will look at it. Your ticket is {ticket.number}."


def _told(answered: Sequence[Ticket]) -> tuple[str, ...]:
    return tuple(f"About your ticket {ticket.number}: {ticket.answer}" for ticket in answered)

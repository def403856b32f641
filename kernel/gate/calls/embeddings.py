"""The calls that an encoder answers: embed and classify.

It does not know how texts are encoded or queued. Rules: what a call cannot mean is refused before its texts wait; a
call that ends, for whatever reason, takes back what was not begun; until it has ended, the daemon is not idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from llmos.kernel.core.authority import Authorized
from llmos.kernel.gate.calls.handler import Handler, row
from llmos.kernel.gate.calls.zero_shot import classify
from llmos.kernel.gate.channel import Channel, Ending
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.loop.shell import Shell
from llmos.kernel.ports.encoder import Embedding
from llmos.syscalls.abi import encoders as e
from llmos.syscalls.abi.errors import Error, InvalidArgument, NotFound, TryAgain
from llmos.syscalls.abi.words import PriorityClass, Record

Answer = Callable[[Record], None]


class EmbeddingCalls:
    """One method per call."""

    def __init__(self, shell: Shell, encoder: EncoderService) -> None:
        self._shell = shell
        self._encoder = encoder

    def handlers(self) -> dict[str, Handler]:
        """By the names of the calls."""
        return dict(
            (
                row("gen.embed", e.Embed, self.embed),
                row("gen.classify", e.Classify, self.classify),
            )
        )

    def embed(self, by: Authorized, request: e.Embed, channel: Channel) -> None:
        def done(embedding: Embedding, answer: Answer) -> None:
            answer(
                e.Embedded(
                    model=embedding.model,
                    fingerprint=embedding.fingerprint,
                    dimensions=embedding.dimensions,
                    vectors=embedding.vectors,
                    tokens=sum(embedding.tokens),
                    truncated=embedding.cut,
                )
            )

        self._check_model(request.model)
        self._encode(by, request.texts, request.priority, done, channel)

    def classify(self, by: Authorized, request: e.Classify, channel: Channel) -> None:
        """The labels' sentences are encoded with the texts; what follows is done beside the loop."""
        self._check_model(request.model)
        sentences = _sentences(request)
        labels = request.labels

        def done(embedding: Embedding, answer: Answer) -> None:
            work = self._shell.loop.run_in_executor(None, classify, embedding, labels)
            work.add_done_callback(lambda work: classified(embedding, work, answer))

        def classified(
            embedding: Embedding, work: asyncio.Future[tuple[e.Classification, ...]], answer: Answer
        ) -> None:
            if not work.cancelled():
                cut = tuple(index - len(labels) for index in embedding.cut if index >= len(labels))
                answer(e.Classified(embedding.model, work.result(), sum(embedding.tokens), cut))

        self._encode(by, (*sentences, *request.texts), request.priority, done, channel)

    def _encode(
        self,
        by: Authorized,
        texts: Sequence[str],
        priority: PriorityClass,
        then: Callable[[Embedding, Answer], None],
        channel: Channel,
    ) -> None:
        def done(result: Embedding | Error) -> None:
            if isinstance(result, Error):
                channel.fail(result)
                over()
            else:
                then(result, answer)

        def answer(record: Record) -> None:
            channel.reply(record)
            over()

        def ended(ending: Ending) -> None:
            take_back()
            over()

        if self._shell.kernel.draining:
            raise TryAgain("the daemon is draining and takes nothing new", "llmosctl drain --off, or wait")
        take_back = self._encoder.embed(texts, by.principal.name, priority, done)
        over = self._shell.under_way()
        channel.on_end(ended)

    def _check_model(self, model: str | None) -> None:
        if model not in (None, self._encoder.model):
            raise NotFound(f"{model} is not the encoder of this daemon", f"name {self._encoder.model}, or none")


def _sentences(request: e.Classify) -> tuple[str, ...]:
    """What each label stands for. Raises `InvalidArgument`."""
    if request.template.count(e.PLACE) != 1:
        raise InvalidArgument(f"a template has {e.PLACE} once, where the label goes", f"the default: {e.TEMPLATE}")
    if len(set(request.labels)) != len(request.labels):
        raise InvalidArgument("two of the labels are the same", "give each label once")
    return tuple(request.template.replace(e.PLACE, label) for label in request.labels)

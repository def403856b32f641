"""Explanations by the language model, none of which is shown before it was checked.

It does not know how features come about. Rules: the model sees the features and nothing else about the film; what it
writes is checked (`checking`), also where its wording was bound; when it fails it tries again, and then the plain
sentences of the features are the explanation. An explanation never fails because of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import llmos

from .checking import faults
from .features import Features, facts, plain
from .wording import pattern

TRIES = 2
MOST_TOKENS = 96
MOST_FREE_TOKENS = 60
WARMTH = 0.7
"""The temperature of a second try; the first is greedy."""

PATIENCE = 30.0
"""Seconds for one try."""

WITHOUT_MODEL = (
    *(llmos.TryAgain, llmos.Busy, llmos.OutOfPages, llmos.LimitExceeded, llmos.TimedOut),
    *(llmos.DeviceError, llmos.Cancelled, llmos.NoSuchProcess, llmos.NotSupported, llmos.InvalidArgument),
)
"""What it is without the model for: it has no time or room, was taken away, or cannot hold a title in a grammar."""

TASK = "You tell a viewer in one sentence why a film is recommended. You use nothing but the facts."
EXAMPLE_FACTS = (
    "Heat (1995) is Action, Crime.",
    "You gave Ronin (1998), also Action, Crime, 4.5 stars, and the taste for both is 61% alike.",
)
EXAMPLE_FILM = "Heat (1995)"
EXAMPLE = "You gave Ronin (1998) 4.5 stars, so you might enjoy Heat (1995), also Action and Crime."


class Wording(StrEnum):
    """How free the model is. `BOUND`: it chooses among sentences; `FREE`: its own words, for larger models."""

    BOUND = "bound"
    FREE = "free"


class Source(StrEnum):
    """Who worded an explanation."""

    MODEL = "model"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a film. `tries` is how often the model was asked, `faults` what was wrong with its first try."""

    text: str
    source: Source
    tries: int
    faults: tuple[str, ...] = ()

    @property
    def by_model(self) -> bool:
        """Whether the language model worded it."""
        return self.source is Source.MODEL


def explain(system: llmos.System, features: Features, wording: Wording = Wording.BOUND) -> Explanation:
    """Explain a recommendation."""
    try:
        return _asked(system, features, wording)
    except WITHOUT_MODEL as error:
        return Explanation(plain(features), Source.PLAIN, 0, (str(error),))


def conversation(features: Features) -> Sequence[Mapping[str, str]]:
    """What the model reads: the task, one example, and the facts."""
    return (
        {"role": "system", "content": TASK},
        {"role": "user", "content": _question(EXAMPLE_FACTS, EXAMPLE_FILM)},
        {"role": "assistant", "content": EXAMPLE},
        {"role": "user", "content": _question(facts(features), str(features.film))},
    )


def _asked(system: llmos.System, features: Features, wording: Wording) -> Explanation:
    process = system.spawn(name="explain")
    try:
        process.append(conversation(features))
        return _checked(process, features, wording)
    finally:
        process.end()


def _checked(process: llmos.Process, features: Features, wording: Wording) -> Explanation:
    """The first text that passes; each try begins where the conversation ends."""
    asked = process.info().context_tokens
    first: tuple[str, ...] = ()
    for number in range(1, TRIES + 1):
        process.truncate(asked)
        text = _write(process, features, wording, number)
        found = faults(text, features)
        if not found:
            return Explanation(text, Source.MODEL, number, first)
        first = first or found
    return Explanation(plain(features), Source.PLAIN, TRIES, first)


def _question(said: Sequence[str], film: str) -> str:
    return "\n".join(("Facts:", *(f"- {one}" for one in said), f"Why is {film} recommended?"))


def _write(process: llmos.Process, features: Features, wording: Wording, number: int) -> str:
    warmth = 0.0 if number == 1 else WARMTH
    match wording:
        case Wording.BOUND:
            options = process.generate(
                MOST_TOKENS, temperature=warmth, seed=number, regex=pattern(features), timeout=PATIENCE
            )
        case Wording.FREE:
            options = process.generate(MOST_FREE_TOKENS, temperature=warmth, seed=number, stop="\n", timeout=PATIENCE)
    done = options.result()
    return done.text.strip() if done.finish_reason == "stop" else _whole_sentences(done.text)


def _whole_sentences(text: str) -> str:
    """What was cut in the middle may end in half a name or number."""
    return text[: text.rfind(".") + 1].strip()

"""The table at the end: what it cost, and whether every agent wrote what it writes undisturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import llmos
from llmos.apps.demo.agents import Task
from llmos.apps.demo.story import Alone, Answer, Together

TIE = 1e-4
"""Two tokens whose log-probabilities are closer than this may change places by the order of floating-point sums."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two runs of one agent are the same; `words` for people."""

    right: bool
    words: str


def report(tasks: Sequence[Task], alone: Alone, together: Together) -> tuple[list[str], bool]:
    """The lines of the report, and whether everything was right."""
    lines = ["What happened", *(f"  {name:<50}{value}" for name, value in _figures(alone, together)), ""]
    lines.append(f"  {'agent':<16}{'preempted':>10}{'pages out':>11}{'pages in':>10}{'recomputed':>12}  tokens equal")
    right = _answers_right(alone, together)
    for task, before, after in zip(tasks, alone.agents, together.agents, strict=True):
        verdict = compare(before.generated, after.generated, 0)
        right = right and verdict.right
        lines.append(_row(task.name, after, verdict))
    verdict = compare(alone.agents[together.forked].generated, together.child.generated, together.offset)
    lines.append(_row(f"{tasks[together.forked].name}, forked", together.child, verdict))
    right = right and verdict.right and together.restarts == 1
    lines += ["", "Nothing was lost." if right else "SOMETHING WENT WRONG: see the table."]
    return lines, right


def compare(alone: llmos.Generated, together: llmos.Generated, offset: int) -> Verdict:
    """Compare what was written together with what was written alone after its first `offset` tokens."""
    expected = alone.token_ids[offset:]
    if together.token_ids == expected:
        return Verdict(True, "yes")
    pairs = zip(expected, together.token_ids, strict=False)
    position = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    if position is None:
        return Verdict(False, f"NO: {len(together.token_ids)} tokens instead of {len(expected)}")
    margin = _margin(alone.logprobs[offset + position])
    if margin < TIE:
        return Verdict(True, f"yes, up to a tie at token {offset + position}")
    return Verdict(False, f"NO, from token {offset + position} on")


def _margin(token: llmos.TokenLogprob) -> float:
    return token.top[0][1] - token.top[1][1]


def _answers_right(alone: Alone, together: Together) -> bool:
    return alone.question.generated.text == together.question.generated.text


def _figures(alone: Alone, together: Together) -> list[tuple[str, str]]:
    idle = alone.question.generated.usage.first_token_seconds
    loaded = together.question.generated.usage.first_token_seconds
    counted = {metric.name: int(metric.value) for metric in together.metrics}
    out = counted["pages_moved_out_total"] + counted["pages_written_behind_total"]
    factor = together.context_pages / together.device_pages
    return [
        (
            "contexts of the agents / device pool",
            f"{together.context_pages} / {together.device_pages} pages, {factor:.1f}x",
        ),
        ("time to first token of the question, idle", f"{idle * 1000:.0f} ms"),
        ("time to first token of the question, under load", f"{loaded * 1000:.0f} ms ({loaded / idle:.1f}x)"),
        ("preemptions", str(counted["preemptions_total"])),
        ("pages copied to host (of them written behind)", f"{out} ({counted['pages_written_behind_total']})"),
        ("pages dropped from the device", str(counted["pages_evicted_total"])),
        ("pages brought back from host", str(counted["pages_moved_in_total"])),
        ("engines killed", str(together.restarts)),
        ("tokens recomputed, all because of the kill", str(counted["recomputed_tokens_total"])),
    ]


def _row(name: str, answer: Answer, verdict: Verdict) -> str:
    info = answer.process
    return (
        f"  {name:<16}{info.preemptions:>10}{info.swapped_out_pages:>11}{info.swapped_in_pages:>10}"
        f"{info.recomputed_tokens:>12}  {verdict.words}"
    )

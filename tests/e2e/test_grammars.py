"""Schemas and regexes through the stack: the text fits, bad ones are refused, and nothing that happens changes it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import llmos
from tests.e2e.house import GENERATION_SECONDS, House

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 24},
        "capital": {"type": "boolean"},
        "rivers": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2, "maxItems": 3},
        "size": {"enum": ["small", "large"]},
    },
    "required": ["name", "capital", "rivers", "size"],
    "additionalProperties": False,
}
QUESTION = [{"role": "user", "content": "Describe Paris as JSON."}]


def asked(house: House) -> llmos.Process:
    process = house.spawn()
    process.append(QUESTION)
    return process


def describe(process: llmos.Process, temperature: float = 0.0) -> llmos.Generation:
    """What is written under the schema."""
    return process.generate(
        max_tokens=160, temperature=temperature, seed=11, schema=SCHEMA, logprobs=2, timeout=GENERATION_SECONDS
    )


def check(done: llmos.Generated) -> None:
    assert done.finish_reason is llmos.FinishReason.STOP
    jsonschema.validate(json.loads(done.text), SCHEMA)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_nothing_that_happens_to_a_process_changes_what_it_writes(tight: House, temperature: float) -> None:
    alone = describe(asked(tight), temperature).result()
    check(alone)
    moved = asked(tight)
    generation = describe(moved, temperature)
    next(generation)
    moved.stop()
    moved.swap_out()
    moved.cont()
    next(generation)
    moved.swap_out()
    next(generation)
    os_pid, restarts = tight.engine.os_pid, tight.engine.restarts
    assert os_pid
    os.kill(os_pid, signal.SIGKILL)
    again = generation.result()
    assert tight.engine.restarts == restarts + 1
    assert again.token_ids == alone.token_ids
    assert [one.token_id for one in again.logprobs] == [one.token_id for one in alone.logprobs]


def test_a_child_goes_on_by_itself_from_the_middle_of_a_structure(roomy: House) -> None:
    process = asked(roomy)
    process.append('{"name": ')
    child = roomy.forked(process)
    done = child.generate(regex='"[A-Z][a-z]{2,8}", "size": (1|2)\\}', temperature=1.0, seed=1).result()
    assert json.loads('{"name": ' + done.text)["size"] in (1, 2)


def test_schemas_are_dicts_text_or_true_in_both_sdks(roomy: House) -> None:
    number = asked(roomy).generate(schema='{"type": "integer", "minimum": 3, "maximum": 5}').result()
    assert 3 <= json.loads(number.text) <= 5
    assert asked(roomy).generate(schema=True, max_tokens=4).result().finish_reason is not None

    async def everything() -> None:
        async with llmos.aconnect(roomy.daemon.endpoint, roomy.daemon.key()) as system:
            process = await system.spawn()
            roomy.own(roomy.system.process(process.pid))
            await process.append(QUESTION)
            done = await process.generate(regex="(Paris|Rome){2}").result()
            assert re.fullmatch("(Paris|Rome){2}", done.text)
            assert done.finish_reason is llmos.FinishReason.STOP
            with pytest.raises(llmos.InvalidArgument, match="schema"):
                await process.generate(schema={"type": "nothing"}).result()

    asyncio.run(everything())


def test_a_text_that_was_cut_says_so(roomy: House) -> None:
    done = asked(roomy).generate(schema=SCHEMA, max_tokens=5).result()
    assert done.finish_reason is llmos.FinishReason.LENGTH


def test_a_stop_string_and_ignored_ends_work_under_a_grammar(roomy: House) -> None:
    stopped = asked(roomy).generate(regex="a{3}b+", stop="b", max_tokens=30).result()
    assert (stopped.text, stopped.finish_reason) == ("aaa", llmos.FinishReason.STOP)
    longest = asked(roomy).generate(regex="a{1,7}", ignore_eos=True, max_tokens=30).result()
    assert (longest.text, longest.finish_reason) == ("a" * 7, llmos.FinishReason.STOP)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"schema": '{"type": '}, "EOF"),
        ({"schema": {"type": "nothing"}}, "nothing"),
        ({"schema": {"not": {}}}, "not"),
        ({"schema": False}, "Unsatisfiable"),
        ({"schema": {"allOf": [{"type": "string", "pattern": f"[ab]*a[ab]{{{n}}}"} for n in range(50)]}}, "too much"),
        ({"schema": "[" * 70_000}, "65536"),
        ({"regex": "(["}, "unclosed"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"regex": "a", "schema": True}, "not both"),
    ],
)
def test_a_grammar_that_cannot_be_used_is_refused_and_changes_nothing(
    roomy: House, bad: dict[str, object], reason: str
) -> None:
    process = asked(roomy)
    before = process.read().token_ids
    with pytest.raises(llmos.InvalidArgument, match=reason):
        process.generate(**bad).result()  # type: ignore[arg-type]  # wrong values are the point
    assert process.read().token_ids == before
    assert process.info().generated_tokens == 0
    assert asked(roomy).generate(regex="ok").result().text == "ok"


def test_contents_of_grammars_are_in_no_log(roomy: House) -> None:
    with pytest.raises(llmos.InvalidArgument):
        asked(roomy).generate(regex="(SecretWord").result()
    asked(roomy).generate(regex="SecretWord").result()
    records = (path.read_text() for path in (roomy.daemon.home / "audit").glob("*.jsonl"))
    assert "SecretWord" not in roomy.daemon.log + "".join(records)


def test_llmosctl_takes_a_schema_file_and_a_regex(roomy: House, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")

    def llmosctl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmos.apps.llmosctl", "--home", str(roomy.daemon.home), "run", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    described = llmosctl("Describe Paris as JSON.", "--schema", str(file), "--json")
    assert described.returncode == 0, described.stderr
    jsonschema.validate(json.loads(json.loads(described.stdout)["text"]), SCHEMA)
    assert llmosctl("Name a city.", "--regex", "(Paris|Rome)").stdout.strip() in ("Paris", "Rome")
    refused = llmosctl("Name a city.", "--regex", "([")
    assert refused.returncode != 0
    assert "regex" in refused.stderr

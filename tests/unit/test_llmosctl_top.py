"""What top shows, from two samples."""

from __future__ import annotations

import msgspec

from llmos.apps.llmosctl.top import Sample, picture, rate
from llmos.syscalls.abi.messages import EngineInfo, Metric, SystemInfo
from llmos.syscalls.abi.words import Limits, PageCounts, PriorityClass, ProcessInfo, State

ENGINE = EngineInfo(
    model="smollm2:135m",
    device="cpu",
    dtype="float32",
    weights="fp16",
    state="ready",
    restarts=1,
    page_tokens=32,
    page_bytes=1 << 20,
    device_pages=100,
    device_pages_free=25,
    device_pages_cached=25,
    host_pages=400,
    host_pages_free=400,
    host_pages_cached=0,
    context_limit=8192,
    max_batch=32,
    step_tokens=256,
)
SYSTEM = SystemInfo("0.1.0", 1, "/h", 4242, 900.0, "admin", False, "fair", 2, (ENGINE,))


def process(pid: int, state: State, priority: PriorityClass) -> ProcessInfo:
    """A process of which only these matter."""
    return ProcessInfo(
        *(pid, 1, f"agent{pid}", "", "admin", "smollm2:135m", state, "", priority, 100, 10, 1),
        *(PageCounts(), 0, 0, 0, 0, 0.0, 990.0, Limits()),
    )


def sample(at: float, decoded: float) -> Sample:
    """Two processes, and a counter."""
    processes = (
        process(5, State.WAITING, PriorityClass.INTERACTIVE),
        process(6, State.RUNNING, PriorityClass.BATCH),
        process(7, State.RUNNING, PriorityClass.INTERACTIVE),
    )
    return Sample(at, SYSTEM, processes, (Metric("decode_tokens_total", decoded, "tokens"),))


def test_rates_come_from_the_difference_of_two_samples() -> None:
    assert rate("decode_tokens_total", sample(1002.0, 150.0), sample(1000.0, 50.0)) == 50.0


def test_a_counter_that_began_anew_or_is_unknown_has_no_rate() -> None:
    assert rate("decode_tokens_total", sample(1002.0, 3.0), sample(1000.0, 50.0)) == 0.0
    assert rate("nonsense", sample(1002.0, 3.0), sample(1000.0, 50.0)) == 0.0


def test_the_picture_has_pools_rates_and_the_most_important_process_first() -> None:
    lines = picture(sample(1002.0, 150.0), sample(1000.0, 50.0), 80)
    assert lines[0] == "llmosd 0.1.0, up 1m42, fair"
    assert lines[1] == "3 processes: 2 running, 1 waiting"
    assert lines[2].startswith("tokens/s: 50.0 decoded")
    assert "smollm2:135m on cpu (fp16): ready, 1 restarts" in lines
    assert "  device [##########+++++.....] 50 used, 25 cached, 25 free of 100 pages" in lines
    assert [line.split()[0] for line in lines[-3:]] == ["7", "6", "5"]


def test_the_first_picture_shows_totals() -> None:
    assert "tokens so far: 50 decoded, 0 prefilled" in picture(sample(1000.0, 50.0), None, 80)


def test_the_picture_fits_its_width() -> None:
    long = msgspec.structs.replace(SYSTEM, scheduler="x" * 200)
    shown = Sample(1000.0, long, sample(1000.0, 0.0).processes, ())
    assert max(map(len, picture(shown, None, 80))) <= 80

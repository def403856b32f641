"""Numbers as people read them: counts, bytes, durations and moments, short enough for a column."""

from __future__ import annotations

from datetime import datetime

_DURATIONS = ((86_400.0, "d", 3_600.0, "h"), (3_600.0, "h", 60.0, "m"), (60.0, "m", 1.0, "s"))


def count(number: int) -> str:
    """A count in at most five characters: 99999, then 100k, 1.2M, 30G."""
    if abs(number) < 100_000:
        return str(number)
    value = float(number)
    for unit in "kMGT":
        value /= 1000
        if abs(value) < 999.5:
            return f"{value:.0f}{unit}" if abs(value) >= 9.95 else f"{value:.1f}{unit}"
    return f"{value / 1000:.0f}P"


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would act on."""
    return "".join(sign if sign.isprintable() or sign == "\t" else repr(sign)[1:-1] for sign in text)


def size(number: float) -> str:
    """Bytes in binary units: 512 B, 1.5 GiB."""
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1023.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """A duration in at most six characters: 0.25s, 12s, 3m07s, 2h13m, 5d02h."""
    if seconds < 9.995:
        return f"{max(seconds, 0.0):.2f}s" if seconds < 0.995 else f"{seconds:.1f}s"
    for unit, name, part, part_name in _DURATIONS:
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}{int(seconds % unit // part):02d}{part_name}"
    return f"{seconds:.0f}s"


def age(seconds: float) -> str:
    """A duration in at most five characters and whole units: 0s, 12s, 3m07, 2h13, 5d02, 123d."""
    seconds = max(seconds, 0.0)
    if seconds >= 100 * 86_400:
        return f"{int(seconds // 86_400)}d"
    for unit, name, part, _ in _DURATIONS:
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}{int(seconds % unit // part):02d}"
    return f"{int(seconds)}s"


def moment(epoch: float) -> str:
    """A moment in local time, to the millisecond."""
    return datetime.fromtimestamp(epoch).astimezone().isoformat(sep=" ", timespec="milliseconds")

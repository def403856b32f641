"""`python -m llmos.kernel.security.audit verify|export DIR`: a log, or a copy of one, without a daemon.

It reads and never writes, so that a copy can be mounted read-only, and needs no keys but the public one. Data on
stdout, all else on stderr. Exit status: 0 whole, or exported; 1 a fault; 2 wrong usage, or nothing that can be read.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmos.kernel.security.audit.ocsf import to_ocsf
from llmos.kernel.security.audit.reading import since
from llmos.kernel.security.audit.record import AuditRecord
from llmos.kernel.security.audit.verify import Fault, Mark, Verdict, verify
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.security import AuditVerdict

EXIT_FAULT = 1
EXIT_UNREADABLE = 2

_PROGRAM = "python -m llmos.kernel.security.audit"
_DAY = 86_400
_FORMATS: dict[str, Callable[[AuditRecord], bytes]] = {"jsonl": msgspec.json.Encoder().encode, "ocsf": to_ocsf}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status. Leaves with status 2 when the command line is wrong."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(_PROGRAM, description="Look at an audit log offline.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_verify(commands.add_parser("verify", help="find out whether anything was changed", allow_abbrev=False))
    _add_export(commands.add_parser("export", help="print the records, one a line", allow_abbrev=False))
    return parser


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_folder, metavar="DIR", help="the folder of the log")
    parser.add_argument("--public", type=_public, metavar="HEX|FILE", help="the key that must have signed it")
    parser.add_argument("--expect", type=_mark, metavar="N:HASH", help="a head that was remembered elsewhere")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_verify)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_folder, metavar="DIR", help="the folder of the log")
    parser.add_argument("--format", choices=tuple(_FORMATS), default="jsonl", help="as kept (default), or OCSF events")
    parser.add_argument("--since", type=_days, metavar="DAYS", help="records of so many days (default: all)")
    parser.set_defaults(run=_export)


def _verify(options: argparse.Namespace) -> int:
    verdict = verify(options.folder, options.public, options.expect)
    print(msgspec.json.encode(_told(verdict)).decode() if options.json else _sentence(verdict))
    match verdict.fault:
        case None:
            return 0
        case Fault.UNREADABLE:
            return EXIT_UNREADABLE
        case _:
            return EXIT_FAULT


def _export(options: argparse.Namespace) -> int:
    oldest = time.time() - options.since * _DAY if options.since is not None else -math.inf
    try:
        _print_records(options.folder, oldest, _FORMATS[options.format], sys.stdout.buffer)
    except InvalidArgument as error:
        return _fail(error.message, f"{_PROGRAM} verify {options.folder}")
    except OSError as error:
        return _fail(f"{error.filename or options.folder}: {error.strerror}", "who may read the log?")
    return 0


def _print_records(folder: Path, oldest: float, form: Callable[[AuditRecord], bytes], out: BinaryIO) -> None:
    for record in since(folder, oldest):
        out.write(form(record) + b"\n")
    out.flush()


def _told(verdict: Verdict) -> AuditVerdict:
    """The verdict as the daemon tells it too."""
    head = verdict.head
    return AuditVerdict(
        ok=verdict.ok,
        records=verdict.records,
        head=head.n if head is not None else 0,
        hash=head.hash if head is not None else "",
        public=verdict.public,
        fault=verdict.fault.value if verdict.fault is not None else "",
        where=verdict.where,
    )


def _sentence(verdict: Verdict) -> str:
    if verdict.fault is not None:
        return f"{verdict.fault.value}: {verdict.where}"
    head = f"{verdict.head.n}:{verdict.head.hash}" if verdict.head is not None else "none"
    return f"whole: {verdict.records} records, head {head}, signed by {verdict.public}"


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)


def _public(text: str) -> str:
    """A public key, as hex or in a file that has it as hex."""
    try:
        key = text if _is_hash(text) else Path(text).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no public key and no file with one: {error}") from None
    if not _is_hash(key):
        raise argparse.ArgumentTypeError(f"{text} has no public key in it: 64 hex digits are one")
    return key.lower()


def _mark(text: str) -> Mark:
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdigit() and _is_hash(digest)):
        raise argparse.ArgumentTypeError(f"{text} is no head: a record's number, a colon and 64 hex digits are one")
    return Mark(int(number), digest.lower())


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of days")
    return days


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return EXIT_UNREADABLE


if __name__ == "__main__":
    # Whoever reads only the beginning of what is printed ends this quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())

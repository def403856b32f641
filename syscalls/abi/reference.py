"""The reference of all calls as Markdown, made from the table and the types. `python -m llmos.syscalls.abi.reference`

It knows types and docstrings only. The page `docs/abi.md` holds its output; a test compares them.
"""

from __future__ import annotations

import inspect as python
from collections.abc import Iterator
from itertools import chain

from msgspec import NODEFAULT, Struct, inspect

from llmos.syscalls.abi.errors import BY_NUMBER, Errno
from llmos.syscalls.abi.table import CALLS, Call
from llmos.syscalls.abi.words import Record


def reference() -> str:
    """The whole reference, ending in a newline."""
    return "\n".join(chain(_calls(), _records(), _errors()))


def _calls() -> Iterator[str]:
    yield "### Calls\n"
    yield "| call | does | object | request | events | reply |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for call in CALLS:
        event = _link(call.event) if call.event is not None else "-"
        links = f"{_link(call.request)} | {event} | {_link(call.reply)}"
        yield f"| `{call.name}` | {call.summary} | {call.subject} | {links} |"
    yield ""


def _records() -> Iterator[str]:
    yield "### Records\n"
    for kind in sorted(_all_records(CALLS), key=lambda kind: kind.__name__):
        yield f"#### {kind.__name__}\n"
        yield python.getdoc(kind) or ""
        yield ""
        yield from _fields(kind)


def _fields(kind: type[Record]) -> Iterator[str]:
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType) or not info.fields:
        return
    yield "| field | type | default |"
    yield "| --- | --- | --- |"
    for field in info.fields:
        yield f"| `{field.encode_name}` | {_describe(field.type)} | {_default(field)} |"
    yield ""


def _errors() -> Iterator[str]:
    yield "### Errors\n"
    yield "| number | name | exception | means |"
    yield "| --- | --- | --- | --- |"
    for number, kind in sorted(BY_NUMBER.items()):
        meaning = (python.getdoc(kind) or "").partition(": ")[2]
        yield f"| {number} | {Errno(number).name} | `{kind.__name__}` | {meaning} |"
    yield ""


def _all_records(calls: tuple[Call, ...]) -> set[type[Record]]:
    found: set[type[Record]] = set()
    waiting = [kind for call in calls for kind in (call.request, call.reply, call.event) if kind is not None]
    while waiting:
        kind = waiting.pop()
        if kind not in found:
            found.add(kind)
            waiting.extend(_records_in(inspect.type_info(kind)))
    return found


def _records_in(info: inspect.Type) -> Iterator[type[Record]]:
    match info:
        case inspect.StructType(cls=kind, fields=fields) if issubclass(kind, Record):
            yield kind
            for field in fields:
                yield from _records_in(field.type)
        case inspect.UnionType(types=parts) | inspect.TupleType(item_types=parts):
            for part in parts:
                yield from _records_in(part)
        case inspect.VarTupleType(item_type=item) | inspect.DictType(value_type=item):
            yield from _records_in(item)
        case _:
            return


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.StructType(cls=kind):
            return _link(kind)
        case inspect.UnionType(types=parts):
            return " or ".join(_describe(part) for part in parts)
        case inspect.VarTupleType(item_type=item, max_length=longest):
            return f"array of {_describe(item)}" + (f", {longest} at most" if longest is not None else "")
        case inspect.TupleType(item_types=parts):
            return f"array of {', '.join(_describe(part) for part in parts)}"
        case inspect.EnumType(cls=kind):
            return " ".join(f"`{member.value}`" for member in kind)
        case inspect.StrType(min_length=shortest, max_length=longest):
            return "string" + (f" of {shortest or 0} to {longest} characters" if longest is not None else "")
        case inspect.IntType() | inspect.FloatType():
            return _number(info)
        case inspect.BoolType():
            return "boolean"
        case inspect.BytesType(max_length=longest):
            return "bytes" + (f", {longest} at most" if longest is not None else "")
        case inspect.DictType(key_type=key, value_type=value, max_length=longest):
            most = f", {longest} at most" if longest is not None else ""
            return f"map of {_describe(key)} to {_describe(value)}{most}"
        case inspect.RawType():
            return "any value without extension types"
        case inspect.NoneType():
            return "nil"
        case _:
            raise TypeError(f"the reference cannot describe {info}")


def _number(info: inspect.IntType | inspect.FloatType) -> str:
    words = {">=": info.ge, ">": info.gt, "<=": info.le, "<": info.lt}
    bounds = [f"{sign} {bound}" for sign, bound in words.items() if bound is not None]
    return " ".join(["integer" if isinstance(info, inspect.IntType) else "float", " and ".join(bounds)]).rstrip()


def _default(field: inspect.Field) -> str:
    match field.default:
        case default if default is NODEFAULT and field.default_factory is not NODEFAULT:
            return "empty"
        case default if default is NODEFAULT:
            return "required"
        case None:
            return "nil"
        case Record():
            return "its defaults"
        case () | "":
            return "empty"
        case bool(default):
            return str(default).lower()
        case default:
            return f"{default}"


def _link(kind: type[Struct]) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


if __name__ == "__main__":
    print(reference(), end="")

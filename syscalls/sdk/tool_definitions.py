"""What a tool is to the program that offers it: a function, and what others have to know to call it.

Pure. The schema comes from the function's type hints, what the arguments mean from its docstring; msgspec makes the one
and checks calls by the other. Rule: a function that cannot be described is refused when it is offered.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, get_type_hints

import msgspec

from llmos.syscalls.abi.errors import InvalidArgument

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Function = Callable[..., object]

CALLER = "caller"
"""A function with a parameter of this name is given the `ToolCaller`."""

_HINT = "str, int, float, bool, list, dict, Optional, Literal, enums and dataclasses can be described"
_LEFT_TO_US = ('"pattern', '"unevaluated')
"""How the keywords begin that the kernel does not check."""

_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.+)$")
_FIELD = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+):\s*(.+)$")


@dataclass(frozen=True, slots=True)
class ToolCaller:
    """Who calls a tool, as the kernel knows it; `pid` is the process for which it is called."""

    principal: str
    tenant: str
    role: str
    pid: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A tool that can be offered. `timeout` in seconds; `arguments` decodes them, None when the schema was given."""

    name: str
    description: str
    schema: str
    function: Function
    arguments: type[msgspec.Struct] | None
    takes_caller: bool
    timeout: float = 60.0
    at_once: int = 16

    def keywords(self, arguments: str, caller: ToolCaller) -> dict[str, object]:
        """What the function is called with. Raises `msgspec.ValidationError`, `msgspec.DecodeError`."""
        if self.arguments is not None:
            given = msgspec.json.decode(arguments, type=self.arguments)
            keywords: dict[str, object] = msgspec.structs.asdict(given)
        else:
            keywords = msgspec.json.decode(arguments, type=dict[str, object])
            if any(word in self.schema for word in _LEFT_TO_US):
                _check_all(self.schema, keywords)
        return keywords | {CALLER: caller} if self.takes_caller else keywords


def define(
    tool: Function | str,
    description: str | None = None,
    schema: Mapping[str, object] | str | None = None,
    handler: Function | None = None,
    name: str | None = None,
    timeout: float = 60.0,
    at_once: int = 16,
) -> Definition:
    """A tool from a function, or from a name and a handler. Raises `InvalidArgument`."""
    function = handler if isinstance(tool, str) else tool
    if not callable(function):
        raise InvalidArgument("a tool that has a name needs a handler", "register(name, ..., handler=function)")
    title = tool if isinstance(tool, str) else name or str(getattr(tool, "__name__", ""))
    parameters = inspect.signature(function).parameters
    text, told = _docstring(inspect.getdoc(function) or "")
    struct = None if schema is not None else _struct(function, title, told)
    return Definition(
        name=title,
        description=text if description is None else description,
        schema=_schema_text(schema, struct),
        function=function,
        arguments=struct,
        takes_caller=CALLER in parameters,
        timeout=timeout,
        at_once=at_once,
    )


def _check_all(schema: str, arguments: Mapping[str, object]) -> None:
    """The kernel leaves regular expressions to whoever wrote them, and what depends on them."""
    from jsonschema import Draft202012Validator  # seldom needed, and slow to load
    from referencing import Registry

    validator = Draft202012Validator(msgspec.json.decode(schema), registry=Registry())
    for fault in validator.iter_errors(arguments):
        raise InvalidArgument(f"{fault.json_path}: {fault.message}")


def result_text(value: object) -> str:
    """A result as JSON. Raises `TypeError` for what JSON cannot hold."""
    return msgspec.json.encode(value).decode()


def _schema_text(schema: Mapping[str, object] | str | None, struct: type[msgspec.Struct] | None) -> str:
    if isinstance(schema, str):
        return schema
    made: Mapping[str, object] = _flat_schema(struct) if struct is not None else dict(schema or {})
    try:
        return msgspec.json.encode(made).decode()
    except TypeError as error:
        raise InvalidArgument(f"the schema must be JSON: {error}") from None


def _flat_schema(struct: type[msgspec.Struct]) -> dict[str, object]:
    """The schema of the arguments themselves; msgspec names each structure and refers to it."""
    try:
        (first,), definitions = msgspec.json.schema_components((struct,), ref_template="#/$defs/{name}")
    except TypeError as error:
        raise InvalidArgument(f"an argument cannot be described: {error}", _HINT) from None
    own = definitions.pop(str(first["$ref"]).rpartition("/")[2])
    shown = {key: value for key, value in own.items() if key != "title"}
    return shown | ({"$defs": definitions} if definitions else {})


def _struct(function: Function, title: str, told: Mapping[str, str]) -> type[msgspec.Struct]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidArgument(f"the type hints of {title} cannot be read: {error}", _HINT) from None
    fields: list[tuple[str, type] | tuple[str, type, object]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == CALLER:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidArgument(f"{title} takes {parameter}, which has no name that callers could use", _HINT)
        if parameter.name not in hints:
            raise InvalidArgument(f"the parameter {parameter.name} of {title} has no type", _HINT)
        kind = hints[parameter.name]
        if parameter.name in told:
            kind = Annotated[kind, msgspec.Meta(description=told[parameter.name])]
        default = parameter.default
        fields.append((parameter.name, kind) if default is parameter.empty else (parameter.name, kind, default))
    try:
        return msgspec.defstruct(title, fields, kw_only=True, forbid_unknown_fields=True)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the arguments of {title} cannot be described: {error}", _HINT) from None


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of the whole, and of each argument (Google's or Sphinx's way)."""
    whole: list[str] = []
    told: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if header := _SECTION.match(line):
            section = header[1]
        elif field := _FIELD.match(line):
            told[field[1]] = field[2].strip()
            section = "param"
        elif section in ("Args", "Arguments", "Parameters") and (argument := _ARGUMENT.match(line)):
            told[argument[1]] = argument[2].strip()
        elif not section:
            whole.append(line)
    return "\n".join(whole).strip(), told

"""YAML as far as a file of data needs it: no anchors, no tags, no key twice, no dates; and where things stand.

It does not know what the data means. Rules: what is read is never larger than what was written; whatever the text is,
it is read or refused with a `BadYaml`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass

import yaml

_WORD = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_HALF = re.compile("[\ud800-\udfff]")


class BadYaml(Exception):
    """The text is not of this kind; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a text says. `root` is where it says so."""

    value: object
    root: yaml.Node | None

    def lines(self, name: str) -> tuple[int, ...]:
        """Lines on which the items of the list `name` begin."""
        if not isinstance(self.root, yaml.MappingNode):
            return ()
        lists = (item for key, item in self.root.value if key.value == name)
        return tuple(one.start_mark.line + 1 for found in lists for one in found.value)


def read_yaml(text: str) -> Read:
    """Read the one document of a text. Raises `BadYaml`."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Read(loader.construct_document(root) if root is not None else None, root)
    except RecursionError:
        raise BadYaml("it is nested too deep") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter: numbers and characters there are none of
        raise BadYaml(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs leave it out
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are refused", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="tags are refused", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: tuple[bool, bool]) -> str:
        """As always, but numbers to the base of 60 are words: a long one takes long to read, and 08:30 is none."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call] # the stubs leave it out
        return _WORD if tag in _NUMBERS and value is not None and ":" in value else tag

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        value: str = super().construct_scalar(node)
        if _HALF.search(value):
            raise yaml.MarkedYAMLError(problem="half a character (a lone surrogate)", problem_mark=node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# A date is read as it is written: what it means is for the reader of the data.
_Loader.yaml_implicit_resolvers = {
    sign: [
        (tag, pattern)
        for tag, pattern in found
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
    ]
    for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

"""The agents' work: real texts of very different subjects, the documentation that comes with Python itself."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

SUBJECTS = ("argparse", "decimal", "subprocess", "heapq", "optparse", "statistics", "difflib", "turtle")
CHARACTERS = 2300
NEW_TOKENS = 40
QUESTION = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Task:
    """What one agent has to do."""

    name: str
    prompt: str


def make_tasks() -> tuple[Task, ...]:
    """One task a subject."""
    return tuple(Task(name, _prompt(name)) for name in SUBJECTS)


def _prompt(name: str) -> str:
    text = _documentation(name)
    return f"Documentation of the Python module {name}:\n\n{text}\n\nExplain in one paragraph what it is for."


def _documentation(name: str) -> str:
    """The module's own words, and those of its classes and functions, until there is enough."""
    module = importlib.import_module(name)
    words = [inspect.getdoc(module) or ""]
    for member, value in sorted(vars(module).items()):
        if not member.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            words.append(f"{member}: {inspect.getdoc(value) or ''}")
    return "\n".join(words)[:CHARACTERS]

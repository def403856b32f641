"""Questions and answers in the YAML of chatterbot-corpus: `conversations`, each a list of a question and its answers.

Pure. Rules: YAML's safe subset only, so that no document makes objects; a conversation that is no list of at least two
texts is left out, and a file without any is no document; the same pair twice is one.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from .sections import NotADocument, Section, SectionKind
from .words import plain


def qa_sections(text: str) -> tuple[Section, ...]:
    """One section for each question; the further lines of a conversation are its answer. Raises `NotADocument`."""
    try:
        document: object = yaml.load(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise NotADocument(f"not YAML: {_where(error)}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply; a date or a number that cannot be
        raise NotADocument(f"not YAML of questions and answers: {type(error).__name__}") from None
    conversations = document.get("conversations") if isinstance(document, dict) else None
    if not isinstance(conversations, list):
        raise NotADocument("no list of conversations in it, as chatterbot-corpus has")
    return tuple(dict.fromkeys(_sections(conversations)))


def _sections(conversations: list[object]) -> Iterator[Section]:
    for conversation in conversations:
        if isinstance(conversation, list) and len(conversation) > 1:
            lines = [str(line).strip() for line in conversation if isinstance(line, str | int | float)]
            if len(lines) == len(conversation) and all(lines):
                yield Section(plain(lines[0]), "\n\n".join(lines[1:]), SectionKind.ANSWER)


def _where(error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return f"line {mark.line + 1}" if mark is not None else "at a character that YAML does not have"

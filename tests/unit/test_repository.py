"""What holds for the repository as a whole: sizes, links, and nothing of the machine it was written on."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 400
CODE_FOLDERS = ("apps", "drivers", "kernel", "sandbox", "syscalls")
SUFFIXES_OF_TEXT = {"", ".cfg", ".conf", ".csv", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yml"}
MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)")
# In pieces, so that this file does not hold what it forbids.
REGISTRIES = re.compile("|".join(("py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.", r"download\.py" + "torch")))
MACHINE_PATH = re.compile(r"(?<![\w.~$}:*])/(?:root|work|opt|Users)/\w")


@cache
def files() -> tuple[Path, ...]:
    """Every file that belongs to the repository, links included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in found if path.is_symlink() or path.is_file())


def text_files() -> list[Path]:
    """Files of the repository that are text."""
    return [path for path in files() if not path.is_symlink() and path.suffix in SUFFIXES_OF_TEXT]


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every line of the repository that holds a pattern."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_source_file_is_longer_than_the_limit() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in text_files() if path.suffix == ".py"}
    assert not {str(path): lines for path, lines in lengths.items() if lines > MOST_LINES}


def test_every_code_folder_is_linked_into_the_package() -> None:
    for folder in CODE_FOLDERS:
        link = ROOT / "src" / "llmos" / folder
        assert link.is_symlink(), folder
        assert link.readlink() == Path("..", "..", folder)


def test_links_stay_inside_the_repository() -> None:
    for path in files():
        if path.is_symlink():
            assert not path.readlink().is_absolute(), path
            assert path.resolve(strict=True).is_relative_to(ROOT), path


def test_every_folder_of_code_is_a_package() -> None:
    parents = {
        path.parent for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in CODE_FOLDERS
    }
    assert not [parent for parent in parents if not (parent / "__init__.py").is_file()]


def test_names_of_test_files_are_unique_across_folders() -> None:
    names = Counter(path.name for path in files() if path.match("tests/**/test_*.py"))
    assert not [name for name, count in names.items() if count > 1]


def test_no_file_names_a_package_registry() -> None:
    assert not lines_that_match(REGISTRIES)


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    assert not lines_that_match(MACHINE_PATH)


def test_relative_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for path in text_files():
        if path.suffix == ".md":
            targets = [link.partition("#")[0] for link in MARKDOWN_LINK.findall(path.read_text())]
            broken += [
                f"{path.relative_to(ROOT)}: {target}"
                for target in targets
                if target
                and "://" not in target
                and not target.startswith("mailto:")
                and not (path.parent / target).exists()
            ]
    assert not broken

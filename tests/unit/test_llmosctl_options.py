"""The common options: before and after a command, and as llmosd gets them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llmos.apps.llmosctl.main import llmosctl
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options


def seen(*arguments: str) -> Options:
    """The options that a command gets for a command line."""
    found = []

    @click.group(cls=Group)
    def program() -> None:
        """A program."""

    @program.command(cls=Command)
    @pass_options
    def look(options: Options) -> None:
        """A command."""
        found.append(options)

    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    return found[0]


def test_options_stand_before_or_after_the_command() -> None:
    before = seen("--json", "--home", "/a", "--config", "/b", "--set", "engine.device=cpu", "look")
    after = seen("look", "--json", "--home", "/a", "--config", "/b", "--set", "engine.device=cpu")
    assert before == after == Options(Path("/a"), True, Path("/b"), ("engine.device=cpu",), json=True)


def test_the_later_option_wins_and_settings_add_up() -> None:
    options = seen("--home", "/a", "--set", "engine.device=cpu", "look", "--home", "/b", "--set", "wire.listen=x=y")
    assert options.home == Path("/b")
    assert options.settings == ("engine.device=cpu", "wire.listen=x=y")


def test_without_options_the_home_is_the_default_one() -> None:
    options = seen("look")
    assert options.home.is_absolute()
    assert not options.home_named
    assert not options.json


def test_a_relative_home_becomes_absolute() -> None:
    assert seen("look", "--home", "somewhere").home == Path("somewhere").absolute()


def test_llmosd_gets_the_options_as_they_were_given() -> None:
    options = Options(Path("/a"), config=Path("/b"), settings=("engine.device=cpu", "engine.dtype=float32"))
    assert options.daemon_arguments() == [
        *("--home", "/a", "--config", "/b"),
        *("--set", "engine.device=cpu", "--set", "engine.dtype=float32"),
    ]


def commands(group: click.Group, path: str = "llmosctl") -> list[tuple[str, click.Command]]:
    """Every command below a group, by its path."""
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


@pytest.mark.parametrize(("path", "command"), commands(llmosctl))
def test_every_command_takes_the_common_options_and_explains_itself(path: str, command: click.Command) -> None:
    context = click.Context(command, info_name=path)
    flags = {flag for parameter in command.get_params(context) for flag in parameter.opts}
    assert {"--json", "--home", "--config", "--set", "--help"} <= flags
    assert command.help

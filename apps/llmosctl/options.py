"""The options that every command takes, and the command and group classes that add them.

They may stand before or after the command's name; the later one wins, and settings add up. Knows no command.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import click

from llmos.syscalls.wire.home import home_directory


@dataclass(frozen=True, slots=True)
class Options:
    """Where the daemon lives, how it is set, and whether data is printed as JSON. Paths are absolute.

    `home_named` says that the command line named the home directory, which then beats LLMOS_ENDPOINT.
    """

    home: Path
    home_named: bool = False
    config: Path | None = None
    settings: tuple[str, ...] = ()
    json: bool = False

    @property
    def log(self) -> Path:
        """Where `up` sends what the daemon prints."""
        return self.home / "run" / "llmosd.log"

    def daemon_arguments(self) -> list[str]:
        """These options as llmosd takes them."""
        arguments = ["--home", str(self.home)]
        if self.config is not None:
            arguments += ["--config", str(self.config)]
        for setting in self.settings:
            arguments += ["--set", setting]
        return arguments

    def child_environment(self) -> dict[str, str]:
        """The environment for a program of llmos that is started from here."""
        return {**os.environ, "LLMOS_HOME": str(self.home)}


def default_options() -> Options:
    """No options: the home is `$LLMOS_HOME`, else the XDG data directory."""
    return Options(home=home_directory().absolute())


def options_of(context: click.Context) -> Options:
    """What holds in a context so far."""
    return context.obj if isinstance(context.obj, Options) else default_options()


pass_options = click.make_pass_decorator(Options)
"""Gives a command its `Options` as the first argument."""


def _take_home(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.obj = options_of(context)
    if value is not None:
        home = Path(value).expanduser().absolute()
        context.obj = replace(context.obj, home=home, home_named=True)


def _take_config(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = replace(options_of(context), config=Path(value).expanduser().absolute())


def _take_settings(context: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    for value in values:
        key, equals, _rest = value.partition("=")
        if not equals or "." not in key:
            raise click.BadParameter(f"{value!r} is not SECTION.KEY=VALUE")
    options = options_of(context)
    context.obj = replace(options, settings=options.settings + values)


def _take_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.obj = replace(options_of(context), json=True)


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_take_json, help="Print data as JSON."),
        click.Option(
            ["--home"],
            metavar="DIR",
            type=click.Path(file_okay=False),
            expose_value=False,
            callback=_take_home,
            help="Home of the daemon [default: $LLMOS_HOME, else the XDG data directory].",
        ),
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(dir_okay=False),
            expose_value=False,
            callback=_take_config,
            help="Settings of the daemon [default: HOME/llmos.toml].",
        ),
        click.Option(
            ["--set"],
            metavar="SECTION.KEY=VALUE",
            multiple=True,
            expose_value=False,
            callback=_take_settings,
            help="One setting of the daemon; may be repeated.",
        ),
    ]


class Command(click.Command):
    """A command with the common options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, the common ones, and --help."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_common_options(), help_option]


class Group(click.Group):
    """A group of commands, all with the common options, as it has them itself."""

    command_class = Command
    group_class = type

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, the common ones, and --help."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_common_options(), help_option]

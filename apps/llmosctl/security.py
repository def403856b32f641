"""Commands about who one is and what one may: whoami, can, why-denied, and `key`."""

from __future__ import annotations

from pathlib import Path

import click

from llmos.apps.llmosctl import units
from llmos.apps.llmosctl.connection import connected, emit, tell
from llmos.apps.llmosctl.failures import ExitCode
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import Column, pairs, table
from llmos.syscalls.abi.security import Answer, Denial, KeyInfo, WhoAmI
from llmos.syscalls.abi.words import KeyKind
from llmos.syscalls.wire.keys import Key, api_key

SECRET = "this is shown once: keep it where only its holder can read it"


@click.command(cls=Command)
@pass_options
def whoami(options: Options) -> None:
    """Say who the daemon takes you for."""
    with connected(options) as system:
        who = system.whoami()
    emit(options, who, _who_lines(who))


@click.command(cls=Command)
@click.argument("object")
@click.argument("action")
@pass_options
def can(options: Options, object: str, action: str) -> None:
    """Say whether you may do ACTION to OBJECT; the exit code is 4 when you may not. Nothing is done."""
    with connected(options) as system:
        answer = system.can(object, action)
    emit(options, answer, [_verdict(answer)])
    if not answer.allowed:
        raise click.exceptions.Exit(ExitCode.PERMISSION)


@click.command("why-denied", cls=Command)
@click.argument("denial", metavar="ID")
@pass_options
def why_denied(options: Options, denial: str) -> None:
    """Show a denial again, by the id that its error named."""
    with connected(options) as system:
        found = system.audit.why_denied(denial)
    emit(options, found, _denial_lines(found))


@click.group(cls=Group)
def key() -> None:
    """Make, list and revoke keys."""


@key.command(cls=Command)
@click.argument("name")
@click.option("--role", required=True, metavar="R", help="A role of the policy, such as developer.")
@click.option("--tenant", metavar="T", help="Its tenant [default: your own, or `default`].")
@click.option("--kind", type=click.Choice([kind.value for kind in KeyKind]), default="user", help="What holds it.")
@click.option("--expires", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="Days until it expires.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Calls a second it may make.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the key file here.")
@click.option("--api", is_flag=True, help="Print it as one word, for clients that take an API key.")
@pass_options
def create(
    options: Options,
    name: str,
    role: str,
    tenant: str | None,
    kind: str,
    expires: float | None,
    rate: float | None,
    out: Path | None,
    api: bool,
) -> None:
    """Make a key. The daemon learns its public half only; the secret half is shown, or written to FILE, once."""
    with connected(options) as system:
        made = system.keys.create(name, role, tenant, kind, expires, rate, out)
    if out is not None:
        tell(f"the key of {name} is in {out}")
        emit(options, {"name": made.name, "public": made.pair.public, "file": str(out)}, [])
        return
    tell(SECRET)
    emit(options, _shown(made, api), [api_key(made.pair)] if api else made.text().splitlines())


@key.command("list", cls=Command)
@click.option("--tenant", metavar="T", help="Those of one tenant.")
@pass_options
def list_keys(options: Options, tenant: str | None) -> None:
    """List the keys that you may see, revoked and expired ones too."""
    with connected(options) as system:
        keys = system.keys.list(tenant)
    columns = [Column(title) for title in ("NAME", "ROLE", "TENANT", "KIND", "CREATED", "EXPIRES", "REVOKED", "KEY")]
    emit(options, keys, table(columns, [_row(one) for one in keys], None))


@key.command(cls=Command)
@click.argument("name")
@pass_options
def revoke(options: Options, name: str) -> None:
    """Revoke a key; its connections are cut before this returns."""
    with connected(options) as system:
        revoked = system.keys.revoke(name)
    tell(f"the key of {name} opens nothing any more")
    emit(options, revoked, [])


@key.command(cls=Command)
@click.option(
    "--overlap",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="Days in which clients that call learn the next key; those that do not need a new key file.",
)
@pass_options
def rotate(options: Options, overlap: float) -> None:
    """Change the daemon's own key, after a time in which clients learn the next one."""
    with connected(options) as system:
        rotation = system.keys.rotate(overlap)
    emit(
        options,
        rotation,
        pairs([("next server key", rotation.next_server), ("takes over", units.moment(rotation.switch_at))]),
    )


def _shown(made: Key, api: bool) -> dict[str, str | None]:
    shown = {"name": made.name, "public": made.pair.public, "server": made.server, "next": made.next_server}
    return shown | ({"api_key": api_key(made.pair)} if api else {"secret": made.pair.secret})


def _who_lines(who: WhoAmI) -> list[str]:
    rows = [
        ("name", who.name),
        ("role", who.role),
        ("tenant", who.tenant),
        ("kind", who.kind.value),
        ("expires", "never" if who.expires is None else units.moment(who.expires)),
        ("server key", who.server),
    ]
    if who.next_server is not None and who.switch_at is not None:
        rows.append(("next", f"{who.next_server}, from {units.moment(who.switch_at)}"))
    return pairs(rows)


def _verdict(answer: Answer) -> str:
    if answer.place:
        return f"{'yes' if answer.allowed else 'no'}: {answer.place}: {answer.rule}"
    return "yes" if answer.allowed else "no: no rule allows it"


def _denial_lines(found: Denial) -> list[str]:
    return pairs(
        [
            ("denied", f"{found.count} times, first {units.moment(found.at)}"),
            ("who", f"{found.principal} (role {found.role}, tenant {found.tenant})"),
            ("action", found.action),
            ("object", found.object),
            ("asked for", found.attributes or "-"),
            ("because", found.reason),
            ("roles that may", ", ".join(found.roles) or "none"),
            ("ask", ", ".join(found.contacts) or "an administrator"),
        ]
    )


def _row(one: KeyInfo) -> tuple[str, ...]:
    return (
        one.name,
        one.role,
        one.tenant,
        one.kind.value,
        units.moment(one.created),
        "-" if one.expires is None else units.moment(one.expires),
        "-" if one.revoked is None else units.moment(one.revoked),
        one.public,
    )


COMMANDS = (whoami, can, why_denied, key)

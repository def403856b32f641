"""Messages between processes: ipc send, recv, publish, subscribe, mailbox. A body that reads as JSON is one."""

from __future__ import annotations

import json
from itertools import islice

import click
import msgspec

from llmos.apps.llmosctl.connection import connected, emit
from llmos.apps.llmosctl.options import Command, Group, Options, pass_options
from llmos.apps.llmosctl.tables import pairs
from llmos.syscalls.abi.mail import MailboxInfo
from llmos.syscalls.sdk.mail_requests import Letter

PID = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)


class Printed(msgspec.Struct, frozen=True):
    """A message as JSON: bytes in its body are in base64."""

    number: int
    pid: int
    body: object
    principal: str
    sent: float
    deliveries: int
    id: str | None
    tag: str | None
    sender: int | None
    topic: str | None
    dead: str


@click.group(cls=Group)
def ipc() -> None:
    """Send messages to processes, and receive them."""


@ipc.command("send", cls=Command)
@click.argument("pid", type=PID)
@click.argument("body")
@click.option("--text", is_flag=True, help="Send the body as text, whatever it looks like.")
@click.option("--id", help="A name for it: sent again under the same one it is there once.")
@click.option("--tag", help="A word by which receivers can choose it.")
@click.option("--sender", type=PID, help="Send it for a process of your own.")
@click.option("--timeout", type=SECONDS, help="Wait for room in a full mailbox; then the exit code is 124.")
@pass_options
def send(
    options: Options,
    pid: int,
    body: str,
    text: bool,
    id: str | None,
    tag: str | None,
    sender: int | None,
    timeout: float | None,
) -> None:
    """Send a message to a process; prints its number when it is on the disk."""
    with connected(options) as system:
        number = system.messages.send(pid, meant(body, text), id=id, tag=tag, sender=sender, timeout=timeout)
    emit(options, {"pid": pid, "number": number}, [str(number)])


@ipc.command("recv", cls=Command)
@click.argument("pid", type=PID, required=False)
@click.option("-n", "count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many at most.")
@click.option("--sender", type=PID, help="Only those sent for this process.")
@click.option("--tag", help="Only those with this tag.")
@click.option("--topic", help="Only those published to this topic.")
@click.option("--dead", is_flag=True, help="Dead letters instead.")
@click.option("--timeout", type=SECONDS, help="Seconds to wait for the first; then the exit code is 124.")
@pass_options
def recv(
    options: Options,
    pid: int | None,
    count: int,
    sender: int | None,
    tag: str | None,
    topic: str | None,
    dead: bool,
    timeout: float | None,
) -> None:
    """Receive messages for a process, or for any of your own; prints their bodies. They are acknowledged then."""
    with connected(options) as system:
        received = system.messages.receive_many(count, timeout, pid, sender, tag, topic, acknowledge=False, dead=dead)
        emit(options, [printed(message) for message in received], [body_text(message) for message in received])
        for message in received:
            message.acknowledge()


@ipc.command("publish", cls=Command)
@click.argument("topic")
@click.argument("body")
@click.option("--text", is_flag=True, help="Send the body as text, whatever it looks like.")
@click.option("--id", help="A name for it: published again under the same one it comes once.")
@click.option("--sender", type=PID, help="Publish it for a process of your own.")
@pass_options
def publish(options: Options, topic: str, body: str, text: bool, id: str | None, sender: int | None) -> None:
    """Send a message to all who have subscribed to a topic; prints how many they are."""
    with connected(options) as system:
        receivers = system.messages.publish(topic, meant(body, text), id=id, sender=sender)
    emit(options, {"topic": topic, "receivers": receivers}, [str(receivers)])


@ipc.command("subscribe", cls=Command)
@click.argument("topic")
@click.option("--pid", type=PID, help="Let it come into the mailbox of this process, and return.")
@click.option("--off", is_flag=True, help="With --pid: take that back.")
@click.option("-n", "count", type=click.IntRange(min=1), help="Stop after so many.")
@pass_options
def subscribe(options: Options, topic: str, pid: int | None, off: bool, count: int | None) -> None:
    """Print what is published to a topic from now on, a line each; with --json a JSON value each."""
    if off and pid is None:
        raise click.UsageError("--off needs --pid")
    with connected(options) as system:
        if pid is not None:
            if off:
                system.messages.unsubscribe(topic, pid)
            else:
                system.messages.subscribe(topic, pid=pid)
            emit(options, {"topic": topic, "pid": pid, "subscribed": not off}, ())
            return
        with system.messages.subscribe(topic) as published:
            for letter in islice(published, count):
                click.echo(json.dumps(msgspec.to_builtins(printed(letter))) if options.json else body_text(letter))


@ipc.command("mailbox", cls=Command)
@click.argument("pid", type=PID)
@pass_options
def mailbox(options: Options, pid: int) -> None:
    """Show how full the mailbox of a process is, and what it has subscribed to."""
    with connected(options) as system:
        found = system.messages.mailbox(pid)
    emit(options, found, mailbox_lines(found))


def meant(body: str, text: bool) -> object:
    """The value that somebody typed: what reads as JSON is that, all else is text."""
    if text:
        return body
    try:
        value: object = json.loads(body)
    except ValueError:
        return body
    return value


def body_text(letter: Letter) -> str:
    """A body on a line: text as it is, all else as JSON."""
    if isinstance(letter.body, str):
        return letter.body
    return json.dumps(msgspec.to_builtins(letter.body, str_keys=True), ensure_ascii=False)


def printed(letter: Letter) -> Printed:
    """A message for JSON."""
    return Printed(
        letter.number,
        letter.pid,
        msgspec.to_builtins(letter.body, str_keys=True),
        letter.principal,
        letter.sent,
        letter.deliveries,
        letter.id,
        letter.tag,
        letter.sender,
        letter.topic,
        letter.dead,
    )


def mailbox_lines(found: MailboxInfo) -> list[str]:
    """A mailbox, for people."""
    return pairs(
        [
            ("waiting", str(found.waiting)),
            ("taken", str(found.taken)),
            ("dead", str(found.dead)),
            ("bytes", str(found.bytes)),
            ("topics", ", ".join(found.topics) or "-"),
        ]
    )

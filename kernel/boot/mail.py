"""Opens the mailboxes: their database, and the room in which messages come and go."""

from __future__ import annotations

import time

from llmos.drivers.store.mail import MailDatabase
from llmos.kernel.boot.service import Boot
from llmos.kernel.boot.settings import MessagesSection
from llmos.kernel.gate.mail.room import MailRoom
from llmos.kernel.ports.mail import MailLimits


def open_mail(boot: Boot) -> MailRoom:
    """Raises `InvalidArgument` for a damaged store."""
    section = boot.settings.messages
    store = MailDatabase(boot.home.store / "mail.db", _limits(section))
    return MailRoom(boot.loop, store, time.time, section.stream_messages)


def _limits(section: MessagesSection) -> MailLimits:
    return MailLimits(
        mailbox_messages=section.mailbox_messages,
        mailbox_bytes=section.mailbox_bytes,
        principal_messages=section.principal_messages,
        principal_bytes=section.principal_bytes,
        dead_letters=section.dead_letters,
        dead_bytes=section.dead_bytes,
        deliveries=section.deliveries,
        keep_seconds=section.keep_days * 86_400,
        remember_seconds=section.remember_hours * 3_600,
        remembered=section.remembered_ids,
    )

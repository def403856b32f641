"""Puts the encoder together: its model from the store, its driver, and the service that keeps it running.

It decides nothing; rule: a model that is not there keeps no daemon from starting, because it may never be asked for.
"""

from __future__ import annotations

from llmos.drivers.encoder.launcher import Launcher
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.drivers.models.references import ByName, ByPath, name_for, parse_reference
from llmos.drivers.models.store import ModelStore
from llmos.kernel.boot.service import Boot
from llmos.kernel.boot.settings import DEFAULT_ENCODER, EngineSection
from llmos.kernel.loop.encoder import EncoderService
from llmos.kernel.security.objects import NO_ENCODER
from llmos.syscalls.abi.errors import DeviceError, NotFound


def open_encoder(boot: Boot, store: ModelStore) -> EncoderService:
    """The encoder of the settings. Raises `InvalidArgument` for a reference that can be none."""
    section = boot.settings.engine
    return EncoderService(boot.loop, _name(section.encoder), lambda: _find(section, store))


def _name(reference: str) -> str:
    if not reference:
        return NO_ENCODER
    match parse_reference(reference):
        case ByName(name):
            return name
        case ByPath(path):
            return name_for(path)


def _find(section: EngineSection, store: ModelStore) -> Launcher:
    """The launcher of the model, if that is there by now. Raises abi errors."""
    if not section.encoder:
        raise NotFound(
            "this daemon has no encoder: engine.encoder is empty", f"start it with engine.encoder={DEFAULT_ENCODER}"
        )
    try:
        model = store.resolve(section.encoder)
    except OSError as error:
        raise DeviceError(f"the encoder {section.encoder} cannot be read: {error.strerror}", "") from error
    return Launcher(
        EncoderSettings(
            model=_name(section.encoder),
            directory=str(model.directory),
            fingerprint=model.fingerprint,
            device=DeviceKind(section.device),
            threads=section.threads,
        )
    )

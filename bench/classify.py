"""Classification without training: how often the best label is the right one, and how sure it is.

The texts are what the standard library's modules say about themselves, the labels what the modules are for: nobody
wrote them for this. Templates are compared with the bare label, and temperatures by their log loss.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType

import numpy as np

from bench.report import Fact, Figure, Findings, compare
from llmos.drivers.encoder.encoder import Encoder, load_encoder
from llmos.drivers.encoder.settings import DeviceKind, EncoderSettings
from llmos.drivers.models.catalogue import DEFAULT_ENCODER
from llmos.drivers.models.location import models_directory
from llmos.drivers.models.store import ModelStore
from llmos.kernel.ports.encoder import EncodeOrder
from llmos.syscalls.abi.encoders import PLACE, TEMPLATE

MODULES: Mapping[str, tuple[str, ...]] = {
    "networking": ("socket", "ssl", "http.client", "http.server", "urllib.request", "ftplib", "selectors"),
    "mathematics": ("math", "statistics", "decimal", "fractions", "random", "cmath"),
    "files and directories": ("os.path", "shutil", "pathlib", "tempfile", "glob", "filecmp", "zipfile", "tarfile"),
    "dates and times": ("datetime", "calendar", "zoneinfo", "time"),
    "concurrency": ("threading", "multiprocessing.pool", "concurrent.futures", "queue", "asyncio.locks"),
    "e-mail": ("email.message", "smtplib", "imaplib", "poplib", "mailbox", "email.headerregistry"),
    "databases": ("sqlite3", "dbm", "shelve"),
    "testing": ("unittest.case", "unittest.mock", "doctest", "unittest.suite"),
}
TEMPLATES = (TEMPLATE, "This text is about {}.", "The topic is {}.", "This example is {}.", "a text about {}")
TEMPERATURES = (0.03, 0.05, 0.07, 0.1)
MOST = 60
"""Texts of one label."""

Matrix = np.ndarray


def run(quick: bool) -> Findings:
    """Measure every template, and every temperature with the default one."""
    model = ModelStore(models_directory(None, os.environ)).resolve(DEFAULT_ENCODER)
    settings = EncoderSettings(model.name, str(model.directory), model.fingerprint, DeviceKind.CPU)
    encoder, _ = load_encoder(settings)
    most = MOST // 4 if quick else MOST
    labelled = [(text, label) for label in MODULES for text in sorted(set(_texts(label)))[:most]]
    texts = _vectors(encoder, [text for text, _ in labelled])
    right = np.array([list(MODULES).index(label) for _, label in labelled])
    cosines = {template: texts @ _vectors(encoder, _sentences(template)).T for template in (PLACE, *TEMPLATES)}
    figures = [_figure(template, cosines, right) for template in TEMPLATES]
    facts = (Fact("texts", len(labelled)), Fact("labels", len(MODULES)), *_facts(cosines[TEMPLATE], right))
    return Findings(tuple(figures), facts)


def _figure(template: str, cosines: Mapping[str, Matrix], right: Matrix) -> Figure:
    accuracy, bare = (float((cosines[each].argmax(1) == right).mean()) for each in (template, PLACE))
    return compare(f"right with {template!r}", "of all texts", [accuracy], "the bare label", [bare], "higher")


def _facts(cosines: Matrix, right: Matrix) -> Iterator[Fact]:
    for temperature in TEMPERATURES:
        weights = np.exp((cosines - cosines.max(1, keepdims=True)) / temperature)
        scores = weights / weights.sum(1, keepdims=True)
        yield Fact(f"log loss at {temperature}", float(-np.log(scores[np.arange(len(right)), right]).mean()))
        yield Fact(f"score of the best label at {temperature}", float(scores.max(1).mean()))


def _sentences(template: str) -> list[str]:
    return [template.replace(PLACE, label) for label in MODULES]


def _vectors(encoder: Encoder, texts: list[str]) -> Matrix:
    encoded = encoder.run(EncodeOrder(1, tuple(texts)))
    return np.frombuffer(encoded.vectors, "<f4").reshape(len(texts), -1)


def _texts(label: str) -> Iterator[str]:
    """What the modules of a label say about what is in them: the first two paragraphs of each docstring."""
    for name in MODULES[label]:
        for thing in _things(import_module(name)):
            text = " ".join(" ".join((inspect.getdoc(thing) or "").split("\n\n")[:2]).split())
            if len(text) > 60:
                yield text[:500]


def _things(module: ModuleType) -> Iterator[object]:
    for _, thing in inspect.getmembers(module):
        if getattr(thing, "__module__", None) == module.__name__ or inspect.isbuiltin(thing):
            yield thing
            if inspect.isclass(thing):
                yield from (each for name, each in vars(thing).items() if callable(each) and not name.startswith("__"))

"""What films are about, as vectors of an encoder over their titles, years and genres: how words find films.

It does not know ratings. Rules: vectors of one encoder compare with those of no other, so they are kept with its
fingerprint and with a digest of the descriptions, and made anew when either has changed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

import llmos

from .films import Catalogue
from .tastes import Numbers

PATH = "meanings.npz"
AT_A_TIME = 256
"""Films whose descriptions are encoded with one call."""

TOLD_EVERY = 8 * AT_A_TIME
"""Films after which the terminal is told, line by line: an app has no screen of its own."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Meanings:
    """One vector of length 1 for each film, [films, dimensions]."""

    vectors: Numbers
    fingerprint: str

    def likeness(self, said: Numbers) -> Numbers:
        """The cosine of each film with each thing said, [things, films]."""
        likeness: Numbers = said @ self.vectors.T
        return likeness


def meanings(system: llmos.System, catalogue: Catalogue, progress: Progress | None = None) -> Meanings:
    """The vectors of all films: those in the app's files where they fit, else made now and kept."""
    descriptions = [film.description for film in catalogue.films]
    digest = blake2b("\0".join(descriptions).encode(), digest_size=16).hexdigest()
    fingerprint = system.embed(descriptions[:1]).fingerprint
    kept = _kept(system, digest, fingerprint)
    if kept is not None:
        return kept
    made = Meanings(_encode(system, descriptions, progress or _told), fingerprint)
    out = io.BytesIO()
    np.savez(out, vectors=made.vectors, digest=digest, fingerprint=fingerprint)
    system.files.write_bytes(PATH, out.getvalue())
    return made


def said(system: llmos.System, words: Sequence[str]) -> Numbers:
    """The vectors of what somebody says, [things, dimensions]."""
    return np.array(system.embed(words), dtype=np.float32)


def _kept(system: llmos.System, digest: str, fingerprint: str) -> Meanings | None:
    try:
        data = system.files.read_bytes(PATH)
    except llmos.NotFound:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as kept:
        if str(kept["digest"]) != digest or str(kept["fingerprint"]) != fingerprint:
            return None
        return Meanings(kept["vectors"], fingerprint)


def _encode(system: llmos.System, descriptions: Sequence[str], progress: Progress) -> Numbers:
    parts: list[Numbers] = []
    for first in range(0, len(descriptions), AT_A_TIME):
        parts.append(said(system, descriptions[first : first + AT_A_TIME]))
        progress(min(first + AT_A_TIME, len(descriptions)), len(descriptions))
    return np.concatenate(parts)


def _told(done: int, of: int) -> None:
    if done % TOLD_EVERY == 0 or done == of:
        print(f"reading the catalogue: {done} of {of} films", file=sys.stderr, flush=True)

"""Ranking by words: Okapi BM25 over the places that the full-text index knows, with the statistics of one namespace.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; k1 = 1.2 and b = 0.75, as FTS5's
own `bm25`. That one counts over all rows of the table; here every word is indexed under its namespace (`12_word`), so
that neither ranks nor times depend on what others have stored, and nothing that a user writes is a query of FTS5.
Rules: words are runs of letters and digits without regard to case and accents; a Chinese or Japanese character is a
word. Of a long query the rarest words decide: the commonest are left out when there are too many texts to look at.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass

import apsw
import numpy as np
import numpy.typing as npt

from llmos.drivers.store.memory.filters import Condition, among
from llmos.drivers.store.memory.frequencies import Frequencies

MOST_QUERY_WORDS = 64
_K1, _B = 1.2, 0.75
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_LONGEST_WORD = 64
_MOST_PLACES = 8_192
"""Texts that have words of a query, word by word, that are looked at: the rarest words first."""

_CANDIDATES = 2
"""Candidates for each result: the best without regard to the lengths of texts hold the best with it, nearly always."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A revision that was found."""

    revision: int
    score: float


@dataclass(frozen=True, slots=True)
class _Term:
    word: str
    weight: float
    documents: int


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    unaccented = "".join(character for character in plain if not unicodedata.combining(character))
    return [word[:_LONGEST_WORD] for word in _WORD.findall(unaccented)]


def index_words(connection: apsw.Connection, space: int, revision: int, words: list[str]) -> None:
    """Let a revision be found by its words."""
    text = " ".join(_token(space, word) for word in words)
    connection.execute("insert into words(rowid, text) values(?, ?)", (revision, text))


def forget_words(connection: apsw.Connection, revision: int) -> None:
    """Let it not be found any more."""
    connection.execute("delete from words where rowid = ?", (revision,))


def rank_by_words(
    connection: apsw.Connection, space: int, query: str, condition: Condition, depth: int, frequencies: Frequencies
) -> list[Hit]:
    """The best of a namespace's latest revisions that fit; more and more candidates are looked at until enough do."""
    terms = _terms(connection, space, query, frequencies)
    if not terms:
        return []
    count = _CANDIDATES * depth
    while True:
        candidates = _candidates(connection, space, terms, count)
        hits = _ranked(connection, space, terms, candidates, condition, depth)
        if len(hits) >= depth or len(candidates) < count:
            return hits
        count *= 4


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Revisions `[n]`, ascending, that have words of the query, and how often each has each of them: `[terms, n]`."""

    revisions: npt.NDArray[np.int64]
    frequencies: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.revisions)


def _candidates(connection: apsw.Connection, space: int, terms: list[_Term], count: int) -> _Candidates:
    """The best without regard to how long texts are: that needs nothing but the full-text index."""
    places = [_places(connection, _token(space, term.word)) for term in terms]
    revisions, column = np.unique(np.concatenate(places), return_inverse=True)
    row = np.repeat(np.arange(len(terms)), [len(found) for found in places])
    times = np.bincount(row * len(revisions) + column, minlength=len(terms) * len(revisions))
    frequencies = times.reshape(len(terms), len(revisions)).astype(np.float64)
    best = np.sort(_best(_weights(terms) @ (frequencies * (_K1 + 1) / (frequencies + _K1)), count))
    return _Candidates(revisions[best], frequencies[:, best])


def _best(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """The places of the best scores, best first; of equal ones the first."""
    if len(scores) <= count:
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    good = np.flatnonzero(scores >= least)
    return good[np.argsort(-scores[good], kind="stable")[:count]]


def _places(connection: apsw.Connection, token: str) -> npt.NDArray[np.int64]:
    """The revisions that have a word, once for each time that they have it; as one text, which is read quickest."""
    ((listed,),) = connection.execute("select group_concat(doc) from word_places where term = ?", (token,))
    return np.fromstring(listed, dtype=np.int64, sep=",") if listed else np.empty(0, dtype=np.int64)


def _ranked(
    connection: apsw.Connection,
    space: int,
    terms: list[_Term],
    candidates: _Candidates,
    condition: Condition,
    depth: int,
) -> list[Hit]:
    """The best of the candidates that fit, by the whole formula."""
    (row,) = connection.execute("select max(1.0, words * 1.0 / max(1, items)) from spaces where id = ?", (space,))
    mean, wanted = float(row[0]), among(candidates.revisions.tolist())
    lengths = dict(
        connection.execute(
            f"select i.latest, v.words from items i join versions v on v.revision = i.latest "
            f"where {wanted.sql} and {condition.sql}",
            (*wanted.bindings, *condition.bindings),
        )
    )
    fit = np.array([revision in lengths for revision in candidates.revisions.tolist()], dtype=np.bool_)
    revisions, frequencies = candidates.revisions[fit], candidates.frequencies[:, fit]
    ground = _K1 * (1 - _B + _B * np.array([lengths[revision] for revision in revisions.tolist()]) / mean)
    scores = _weights(terms) @ (frequencies * (_K1 + 1) / (frequencies + ground))
    return [Hit(int(revisions[place]), float(scores[place])) for place in _best(scores, depth).tolist()]


def _weights(terms: list[_Term]) -> npt.NDArray[np.float64]:
    return np.array([term.weight for term in terms])


def _token(space: int, word: str) -> str:
    """A word as the index has it: letters that its tokenizer may not know are written as their bytes."""
    return f"{space}_{word}" if word.isascii() else f"{space}u{word.encode().hex()}"


def _terms(connection: apsw.Connection, space: int, query: str, frequencies: Frequencies) -> list[_Term]:
    """The words to look for, with their weights: rare words weigh more."""
    (row,) = connection.execute("select items from spaces where id = ?", (space,))
    total = max(1, int(row[0]))
    terms = []
    for word in list(dict.fromkeys(words_of(query)))[:MOST_QUERY_WORDS]:
        count = frequencies.of(connection, _token(space, word), total)
        if count:
            terms.append(_Term(word, math.log(1 + (max(0, total - count) + 0.5) / (count + 0.5)), count))
    return _affordable(terms)


def _affordable(terms: list[_Term]) -> list[_Term]:
    """The rarest words whose places can be read in some milliseconds; one at least."""
    chosen: list[_Term] = []
    places = 0
    for term in sorted(terms, key=lambda term: term.documents):
        places += term.documents
        if chosen and places > _MOST_PLACES:
            break
        chosen.append(term)
    return chosen

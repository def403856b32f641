"""Ranking by words: Okapi BM25 over the places that the full-text index knows, with the statistics of one namespace.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; k1 = 1.2 and b = 0.75, as FTS5's
own `bm25`. That one counts over all rows of the table; here every word is indexed under its namespace (`12_word`), so
that neither ranks nor times depend on what others have stored, and nothing that a user writes is a query of FTS5.
Rules: words are runs of letters and digits without regard to case and accents; a Chinese or Japanese character is a
word; a word that more than a quarter of the namespace has is left out when there are rarer ones.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass

import apsw

from llmos.drivers.store.memory.filters import Condition

MOST_QUERY_WORDS = 64
_TOO_COMMON = 4
_K1, _B = 1.2, 0.75
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_LONGEST_WORD = 64


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


def rank_by_words(connection: apsw.Connection, space: int, query: str, condition: Condition, depth: int) -> list[Hit]:
    """The best of a namespace's latest revisions that fit."""
    terms = _terms(connection, space, query)
    if not terms:
        return []
    (row,) = connection.execute("select max(1.0, words * 1.0 / max(1, items)) from spaces where id = ?", (space,))
    places = " union all ".join(
        "select doc, ? as weight, count(*) as n from word_places where term = ? group by doc" for _ in terms
    )
    values = [value for term in terms for value in (term.weight, _token(space, term.word))]
    rows = connection.execute(
        f"""select i.latest, sum(p.weight * p.n * {_K1 + 1} / (p.n + {_K1} * ({1 - _B} + {_B} * v.words / ?))) as score
            from ({places}) p join items i on i.latest = p.doc join versions v on v.revision = p.doc
            where {condition.sql} group by p.doc order by score desc, p.doc limit ?""",
        (row[0], *values, *condition.bindings, depth),
    )
    return [Hit(revision, score) for revision, score in rows]


def _token(space: int, word: str) -> str:
    """A word as the index has it: letters that its tokenizer may not know are written as their bytes."""
    return f"{space}_{word}" if word.isascii() else f"{space}u{word.encode().hex()}"


def _terms(connection: apsw.Connection, space: int, query: str) -> list[_Term]:
    """The words to look for, with their weights: rare words weigh more."""
    (row,) = connection.execute("select items from spaces where id = ?", (space,))
    total = max(1, int(row[0]))
    terms = []
    for word in list(dict.fromkeys(words_of(query)))[:MOST_QUERY_WORDS]:
        found = connection.execute("select doc from word_counts where term = ?", (_token(space, word),)).fetchone()
        if found is not None:
            count = int(found[0])
            terms.append(_Term(word, math.log(1 + (max(0, total - count) + 0.5) / (count + 0.5)), count))
    rare = [term for term in terms if term.documents * _TOO_COMMON <= total]
    return rare or terms

"""The words that an explanation may be made of, besides what comes from its features.

Rules: none of them names anything or anybody, none is a number, a quantity, an order or a negation, and none tells of
a film what only somebody who knows it could tell. Whatever is not here and not in the features is a fault.
"""

from __future__ import annotations

_TEXT = """
a an the this that these those it its itself he she they them their you your yours yourself we our i my me
is are was were be been being am has have had having do does did can could may might will would should must
it's you've you're you'll that's they've they're i've i'm let's he's she's you'd it'll we've we're

and or but so because since as if when while than then also too both either each other another same such
of in on at by for from to with within about into like alike among between around after before over under
here there where which who whom whose what why how very really quite just well even only

film films movie movies picture pictures title titles story stories genre genres kind kinds type types catalogue
viewer viewers people person person's user users fan fans audience others somebody someone anyone
taste tastes rating ratings star stars percent average mean score scores year years list watch watching description
words word choice pick favorite favorites favourite favourites preference preferences interest interests
recommendation recommendations suggestion reason reasons match matches fit fits example

like likes liked liking love loves loved loving enjoy enjoys enjoyed enjoying enjoyable prefer prefers preferred
rate rates rated rating give gives gave given giving recommend recommends recommended recommending suggest suggests
suggested choose chose chosen find finds found feel feels see seen think say says said show shows shown look looks
appeal appeals appealing share shares shared sharing belong belongs come comes close closely near nearest
similar similarly similarity likeness related common alike matching based considered consider
good great nice right worth wonderful perfect fun interesting new next again more
want wants try might probably likely perhaps maybe surely certainly definitely
according given reviewed positively well-liked high highly strong strongly
overall generally therefore thus hence indeed especially
"""

WORDS = frozenset(_TEXT.split())
"""The closed vocabulary, in small letters."""

GENRE_WORDS = {
    "animated": "Animation",
    "adventurous": "Adventure",
    "comedic": "Comedy",
    "dramatic": "Drama",
    "romantic": "Romance",
    "science fiction": "Sci-Fi",
    "noir": "Film-Noir",
    "kids": "Children",
    "children's": "Children",
}
"""Other words for genres."""

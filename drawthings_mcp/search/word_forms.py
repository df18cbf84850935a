"""Words that are forms of one another, such as ``wolves`` and ``wolf``, and words that say nothing about a picture.

Stems are those of Snowball for English and German, and for Russian where words are written in Cyrillic. What no rule
makes of a word is data here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

_ENGLISH = """
child children; man men; woman women; person people persons; foot feet; tooth teeth; goose geese; mouse mice; ox oxen
wolf wolves; leaf leaves; knife knives; wife wives; life lives; shelf shelves; elf elves; half halves; calf calves
thief thieves; loaf loaves; hoof hooves; scarf scarves; dwarf dwarves; cactus cacti; fungus fungi; octopus octopi
phenomenon phenomena; fisherman fishermen; policeman policemen; fireman firemen; snowman snowmen; gentleman gentlemen
fly flew flown; run ran; sit sat; stand stood; swim swam swum; sing sang sung; ride rode ridden; drive drove driven
sleep slept; eat ate eaten; drink drank drunk; fall fell fallen; rise rose risen; wear wore worn; hold held
write wrote written; draw drew drawn; break broke broken; fight fought; catch caught; build built; lie lying lay
freeze froze frozen
"""
_GERMAN = """
kind kinder kindern kindes; haus hauser hausern hauses
fuchs fuchse fuchsen; luchs luchse luchsen; lachs lachse; maus mause mausen; gans ganse
gras graser grasern; fels felsen; kreis kreise kreisen; eis eises
 mann manner mannern mannes; buch bucher buchern
bild bilder bildern; wald walder waldern waldes; schloss schlosser schlossern; rad rader radern
licht lichter lichtern; kleid kleider kleidern; blatt blatter blattern; dorf dorfer dorfern; feld felder feldern
glas glaser glasern; huhn huhner huhnern; ei eier eiern; land lander landern; lamm lammer lammern; kalb kalber kalbern
loch locher lochern; nest nester nestern; tal taler talern; dach dacher dachern; fass fasser fassern
gesicht gesichter gesichtern; gespenst gespenster; geist geister geistern; gott gotter gottern; mund munder
rand rander randern; schild schilder schildern; volk volker volkern; bad bader badern; grab graber grabern
horn horner hornern; korn korner; schwert schwerter schwertern; rind rinder rindern; weib weiber; tag tage tagen tages
weg wege wegen; zug zuge zugen; hut hute huten; hof hofe hofen; rat rate; schaf schafe schafen; see seen; fee feen
knie knien; auto autos; schnee schnees; vater vatern; rot rote roter rotes roten rotem
blau blaue blauer blaues blauen blauem; gelb gelbe gelber gelbes gelben; grun grune gruner grunes grunen
alt alte alter altes alten; jung junge junger junges jungen; gross grosse grosser grosses grossen
klein kleine kleiner kleines kleinen; schwarz schwarze schwarzer schwarzes schwarzen
weiss weisse weisser weisses weissen
"""
"""Forms of irregular words, folded; each row is divided by semicolons."""
_SHORT = re.compile(r"[^aeiouy]*[aeiouy][^aeiouy]")
"""What is left of ``hate`` without its ending is another word of English."""
_MIN_STEMMED, _MAX_STEMMED = 3, 40
"""Letters of words that have forms; longer ones are hashes."""
_CYRILLIC = re.compile("[\u0400-\u04ff]+")
_ARTICLES = """
a an the of in on at with and or for to by from is are was were be as into near my your our his her their its it that
this these those there some any but i me we you us can could would will please der die das den dem des ein eine einen
einem einer eines und oder mit im in am an auf von vom zu zum zur bei beim ist sind ich du wir mir mich uns mein
meine meinen aber bitte le la les un une des du de et ou avec dans sur el los las una unos con en y il lo gli uno e di
"""
_REQUESTS = """
show find search look give get want need have had made make made did do does where which what who one ones again
picture pictures image images photo photos photograph photographs pic pics looking like zeig zeige such suche finde
find gib bild bilder foto fotos wo welche welches welcher habe hatte gemacht montre cherche trouve muestra busca
mostra cerca
"""
FILLERS = frozenset((*_ARTICLES.split(), *_REQUESTS.split()))
"""Words that say nothing about a picture when there are others, as in ``show me the picture of a fox by the sea``."""


@cache
def list_stems(word: str) -> tuple[str, ...]:
    """What a folded word has in common with its forms; nothing for numbers and for scripts without stems."""
    if not (word.isalpha() and _MIN_STEMMED <= len(word) <= _MAX_STEMMED):
        return ()
    base = _list_irregular().get(word)
    return tuple(sorted({*_stem(word), *(_stem(base) if base else ())}))


def _stem(word: str) -> Sequence[str]:
    english, german, russian = _load_stemmers()
    if word.isascii():
        return (f"e{english(word)}", *_stem_german(german, word))
    return (f"r{russian(word)}",) if _CYRILLIC.fullmatch(word) else ()


def _stem_german(stem: Callable[[str], str], word: str) -> Sequence[str]:
    """None where English words would fall together: ``flower`` and ``flow``, ``hate`` and ``hat``."""
    found = stem(word)
    is_doubtful = word.endswith(("er", "ern")) or (_SHORT.fullmatch(found) and word != found)
    return () if is_doubtful and len(found) < len(word) else (f"g{found}",)


@cache
def _load_stemmers() -> tuple[Callable[[str], str], ...]:
    from snowballstemmer import stemmer

    return tuple(stemmer(language).stemWord for language in ("english", "german", "russian"))


@cache
def _list_irregular() -> Mapping[str, str]:
    rows = (row.split() for row in re.split("[;\n]", _ENGLISH + _GERMAN))
    return {form: base for base, *forms in filter(None, rows) for form in forms}

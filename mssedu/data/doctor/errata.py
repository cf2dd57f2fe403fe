"""Songs of MUSDB18 with known errors, as listeners reported them.

A name is on the list because somebody heard the error; nothing here is measured. The
songs of MUSDB18, MUSDB18-HQ and the 7-second previews have the same names, so an error
may lie outside of the seconds of a preview.

Source: the errata of MUSDB18, sigsep.github.io/datasets/musdb.html (pull requests 27
and 51 of sigsep/website), and for `REPORTED` its issue 48, which nobody has confirmed.
"""

import unicodedata

CONFIRMED = {
    "Al James - Schoolboy Facination": "synthetic vocals are in other",
    "BKS - Bulldozer": "a cowbell is in other, from 1:12 on",
    "Chris Durban - Celebrate": "other instruments are in vocals",
    "Detsky Sad - Walkie Talkie": "a part of other is in drums",
    "Enda Reilly - Cur An Long Ag Seol": "speech is at the start of other",
    "Hop Along - Sister Cities": "other instruments are in vocals",
    "Leaf - Wicked": "an electric guitar is in drums, at 2:20 and 3:02",
    "PR - Oh No": "the left channel of the mixture is not the sum of the stems",
}

_HEARD = {
    "other instruments are in vocals": """
        Al James - Schoolboy Facination
        Angels In Amplifiers - I'm Alright
        Black Bloc - If You Want Success
        Buitraker - Revo X
        Cristina Vane - So Easy
        Drumtracks - Ghost Bitch
        Invisible Familiars - Disturbing Wildlife
        Jokers, Jacks & Kings - Sea Of Leaves
        Lyndsey Ollard - Catching Up
        Nerve 9 - Pray For The Rain
        Punkdisco - Oral Hygiene
        Strand Of Oaks - Spacestation
        The Doppler Shift - Atrophy
        The Easton Ellises (Baumi) - SDRNR
        The Easton Ellises - Falcon 69
        The Long Wait - Dark Horses
        The Scarlet Brand - Les Fleurs Du Mal
        The So So Glos - Emergency
        Timboz - Pony
        Tom McKenzie - Directions
        We Fell From The Sky - Not You
        Zeno - Signs
    """,
    "other stems are in other": """
        PR - Oh No
        Triviul - Dorothy
    """,
    "a hum is in vocals": """
        Arise - Run Run Run
        BigTroubles - Phantom
        Creepoid - OldTree
        Giselle - Moss
        Matthew Entwistle - Dont You Ever
        Mu - Too Bright
    """,
    "the level of vocals is pumping": """
        Fergessen - Nos Palpitants
        Fergessen - The Wind
        Girls Under Glass - We Feel Alright
        James Elder & Mark M Thompson - The English Actor
        Signe Jakobsen - What Have You Done To Me
    """,
    "vocals are strongly distorted": """
        Actions - South Of The Water
        BKS - Bulldozer
        Cnoc An Tursa - Bannockburn
        Skelpolu - Resurrection
    """,
    "vocals are speech": """
        ANiMAL - Clinic A
        Dark Ride - Burning Bridges
    """,
}
REPORTED: dict[str, str] = {}
for _error, _names in _HEARD.items():
    for _name in filter(None, map(str.strip, _names.splitlines())):
        _before = f"{REPORTED[_name]}; " if _name in REPORTED else ""
        REPORTED[_name] = _before + _error


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


_KNOWN = {_folded(name): name for name in (*CONFIRMED, *REPORTED)}


def known_errors(name: str) -> tuple[str | None, str | None]:
    """The confirmed and the reported error of a song of this name.

    Example:
        >>> known_errors("PR - Oh No")[1], known_errors("Sodium")
        ('other stems are in other', (None, None))
    """
    song = _KNOWN.get(_folded(name), "")
    return CONFIRMED.get(song), REPORTED.get(song)

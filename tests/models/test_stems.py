"""Stems in words: what is read, what it means in a song, what is refused."""

import pytest

from mssedu.errors import InputError
from mssedu.models.stems import parse_stem, resolve, stem_names

KNOWN = ("vocals", "drums", "bass", "other")


def meaning(text, known=KNOWN, *others):
    rule = resolve("song", [text, *others], known)[0]
    return rule.from_mixture, rule.members


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vocals", (False, ("vocals",))),
        ("band = drums + bass", (False, ("drums", "bass"))),
        ("instrumental=-vocals", (True, ("vocals",))),
        ("beat=-vocals-other", (True, ("vocals", "other"))),
        ("no_bass", (True, ("bass",))),
        ("instrumental", (True, ("vocals",))),
        ("accompaniment", (True, ("vocals",))),
        ("voice=vocals", (False, ("vocals",))),
    ],
)
def test_what_a_stem_is_made_of(text, expected):
    assert meaning(text) == expected


@pytest.mark.parametrize("name", ["no_vocals", "instrumental", "accompaniment"])
def test_a_stem_of_the_song_is_meant_first(name):
    assert meaning(name, (*KNOWN, name)) == (False, (name,))


def test_a_set_that_brings_the_sum_needs_no_parts():
    assert meaning("band=drums+bass", ("vocals", "band")) == (False, ("band",))


def test_the_rest_of_a_group_is_all_but_its_parts():
    assert meaning("no_band", KNOWN, "band=drums+bass") == (True, ("drums", "bass"))
    assert meaning("no_band", KNOWN, "band=-vocals") == (False, ("vocals",))


@pytest.mark.parametrize("text", ["", "=vocals", "a=", "a=+b", "a=b+", "a=-"])
def test_what_cannot_be_read(text):
    with pytest.raises(InputError, match="NAME=STEM"):
        parse_stem(text)


@pytest.mark.parametrize("text", ["vocal", "a=vocal+drums", "a=-vocal", "no_vocal"])
def test_the_nearest_stem_is_named(text):
    with pytest.raises(InputError, match="Did you mean"):
        resolve("song", [text], KNOWN)


def test_instrumental_needs_vocals():
    with pytest.raises(InputError, match="'instrumental'"):
        resolve("song", ["instrumental"], ("dizi", "pipa"))


def test_names_are_distinct():
    assert stem_names(["vocals", "band=-vocals"]) == ("vocals", "band")
    with pytest.raises(InputError, match="stems must"):
        stem_names(["vocals", "vocals=-drums"])


def test_a_rule_in_words_adds_what_the_name_does_not_say():
    texts = ["vocals", "band=drums+bass", "no_vocals"]
    names = [str(rule) for rule in resolve("song", texts, KNOWN)]
    assert names == ["vocals", "band (drums + bass)", "no_vocals (mixture − vocals)"]

"""A mixture is the whole mixture, whichever stems are asked for.

Five kinds of songs: stems that are all there is, a pair (mixture, target), stems beside
a mixture that holds more, a codec's mixture, and songs with different other stems.
"""

import pytest
import torch

from mssedu.data.loading import demo_data, load_dataset
from mssedu.data.segments import RandomSegments, describe_mixture
from mssedu.data.track import REST, Track, data_sha256, track_sha256
from mssedu.errors import InputError

RATE = 1000
NAMES = ("vocals", "drums", "bass", "other")
PLAIN = {"gain_db": None, "channel_flip": 0.0, "sign_flip": 0.0}


def noise(seed, level=0.1, seconds=3):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(2, seconds * RATE, generator=generator)


def song(kind, seed=0):
    """A song of a kind; its mixture is always the sum of five noises, or of four."""
    sources = {name: noise(10 * seed + i) for i, name in enumerate(NAMES)}
    total = torch.stack([*sources.values()]).sum(0)
    more = noise(10 * seed + 5)
    if kind == "sum":
        return Track.from_audio(f"song {seed}", sources, RATE)
    if kind == "pair":
        mixture, sources = total, {"vocals": sources["vocals"]}
    elif kind == "more":
        mixture = total + more
    else:
        mixture = total + more / 100  # -40 dB: a codec
    return Track.from_audio(f"song {seed}", sources, RATE, mixture=mixture)


KINDS = ("sum", "pair", "more", "codec")
CHOICES = {
    "one": ("vocals",),
    "two": ("vocals", "bass"),
    "all": NAMES,
    "group": ("band=drums+bass", "vocals"),
    "without": ("instrumental=-vocals",),
    "both": ("vocals", "no_vocals"),
    "customary": ("vocals", "accompaniment"),
}
CASES = [
    (kind, choice)
    for kind in KINDS
    for choice in CHOICES
    if kind != "pair" or choice in ("one", "without", "both", "customary")
]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("kind", "choice"), CASES)
def test_selected_and_unselected_parts_are_the_mixture(kind, choice, in_memory):
    track = song(kind).with_stems(CHOICES[choice])
    track = track.in_memory() if in_memory else track
    parts = [track.stem(name) for name in (*track.stems, *track.unselected)]
    torch.testing.assert_close(torch.stack(parts).sum(0), song(kind).mixture())
    torch.testing.assert_close(track.mixture(), song(kind).mixture())


@pytest.mark.parametrize("kind", ["sum", "more", "codec"])
@pytest.mark.parametrize("gone", ["vocals", "bass"])
@pytest.mark.parametrize("choice", CHOICES)
def test_absent_stems_leave_the_mixture_as_it_is(kind, gone, choice):
    """Present and unselected parts are the mixture, which may hold the absent stem."""
    whole = song(kind)
    sources = {name: whole.stem(name) for name in whole.stems if name != gone}
    mixture = None if kind == "sum" else whole.mixture()
    gapped = Track.from_audio("a", sources, RATE, mixture=mixture, absent=[gone])
    track = gapped.with_stems(CHOICES[choice])
    parts = [track.stem(name) for name in (*track.present, *track.unselected)]
    torch.testing.assert_close(torch.stack(parts).sum(0), track.mixture())
    torch.testing.assert_close(track.mixture(), gapped.mixture())
    assert not {gone, {"vocals": "instrumental", "bass": "band"}[gone]} & {
        *track.present
    }
    if mixture is not None:  # then a stem is the same with and without the absent one
        expected = whole.with_stems(CHOICES[choice])
        for stem in track.present:
            torch.testing.assert_close(track.stem(stem), expected.stem(stem))


@pytest.mark.parametrize(("kind", "choice"), CASES)
def test_a_batch_without_remix_has_the_mixture_of_its_song(kind, choice):
    segments = RandomSegments(
        [song(kind)], CHOICES[choice], 3.0, 2, seed=0, remix=False, **PLAIN
    )
    for sources, _ in segments:
        torch.testing.assert_close(sources.sum(0), song(kind).mixture())
        expected = song(kind).with_stems(CHOICES[choice]).sources()
        torch.testing.assert_close(sources[: len(CHOICES[choice])], expected)


@pytest.mark.parametrize("remix", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_all_else_sounds_in_every_item(kind, remix):
    """With gains, flips and remixing too, the vocals are never alone."""
    songs = [song(kind, seed) for seed in range(3)]
    segments = RandomSegments(songs, ("vocals",), 0.5, 20, seed=0, remix=remix)
    assert segments.stems == ("vocals",)
    for sources, _ in segments:
        others = sources[1:].sum(0)
        # Three noises of 0.1 at -10 dB or louder: an RMS of 0.05 or more.
        assert others.square().mean().sqrt() > 0.03


def test_an_item_is_the_same_for_one_stem_and_for_all_but_for_its_order():
    options = {"seed": 3, "remix": False, **PLAIN}
    one = RandomSegments([song("sum")], ("bass",), 1.0, 5, **options)
    four = RandomSegments([song("sum")], NAMES, 1.0, 5, **options)
    for (few, _), (many, _) in zip(one, four, strict=True):
        assert torch.equal(few[0], many[NAMES.index("bass")])
        torch.testing.assert_close(few.sum(0), many.sum(0))


def test_what_a_song_has_not_is_silent_as_often_as_songs_lack_it():
    bare = Track.from_audio("bare", {"vocals": noise(1)}, RATE, mixture=2 * noise(1))
    rich = Track.from_audio("rich", {"vocals": noise(2), "pipa": noise(3)}, RATE)
    segments = RandomSegments([bare, rich], ("vocals",), 0.1, 400, seed=0)
    assert segments.parts == ("vocals", "pipa", REST)
    silent = torch.stack([~item.sources.flatten(1).any(1) for item in segments])
    present = torch.stack([item.present for item in segments])
    assert torch.equal(present, ~silent)
    silent = silent.float()
    assert silent[:, 0].sum() == 0
    assert ((silent[:, 1:].mean(0) - 0.5).abs() < 0.1).all()


@pytest.mark.parametrize("remix", [True, False])
def test_leveling_leaves_what_a_codec_changed_as_quiet_as_it_is(remix):
    options = {"seed": 0, "remix": remix, "level_db": -20.0, **PLAIN}
    for kind, loud in (("codec", False), ("more", True)):
        segments = RandomSegments([song(kind)], NAMES, 3.0, 1, **options)
        levels = 10 * segments[0].sources.square().mean((-2, -1)).log10()
        assert torch.allclose(levels[:4], torch.tensor(-20.0), atol=0.1)
        assert levels[4] == pytest.approx(-20.0 if loud else -60.0, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "choice", "expected"),
    [
        ("sum", "all", "mixture: vocals + drums + bass + other"),
        ("sum", "one", "mixture: vocals + drums, bass, other (not estimated)"),
        ("pair", "one", "mixture: vocals + rest of the mixture (not estimated)"),
        ("pair", "both", "mixture: vocals + no_vocals"),
        ("sum", "without", "mixture: instrumental + vocals (not estimated)"),
    ],
)
def test_the_mixture_in_a_line(kind, choice, expected):
    track = song(kind).with_stems(CHOICES[choice])
    assert describe_mixture([track, track]) == expected


def test_nothing_beside_the_only_stem():
    alone = Track.from_audio("alone", {"dizi": noise(0)}, RATE)
    assert alone.unselected == ()
    with pytest.raises(InputError, match="no_dizi is empty"):
        alone.with_stems(["no_dizi"])


def test_the_rest_follows_its_group_through_another_choice():
    track = song("more").with_stems(["vocals", "instrumental=-vocals"])
    for names in (["instrumental"], ["vocals"], ["vocals", "no_vocals"]):
        again = track.with_stems(names)
        parts = [again.stem(name) for name in (*again.stems, *again.unselected)]
        torch.testing.assert_close(torch.stack(parts).sum(0), track.mixture())
    expected = track.mixture() - track.stem("vocals")
    torch.testing.assert_close(track.stem("instrumental"), expected)


def test_demo_songs_have_no_rest():
    for track in load_dataset(demo_data(), stems=["vocals"]):
        assert track.unselected == ("drums", "bass", "other")


def test_a_fingerprint_knows_content_and_not_names(tmp_path):
    track = load_dataset(demo_data(), "test")[0]
    same = load_dataset(demo_data(), "test")[0].in_memory()
    assert track_sha256(track) == track_sha256(same)
    other = load_dataset(demo_data(), "valid")[0]
    assert data_sha256([track, other]) != data_sha256([other, track])
    a, b, c = (song("sum", seed) for seed in (0, 0, 1))
    assert track_sha256(a) == track_sha256(b) != track_sha256(c)

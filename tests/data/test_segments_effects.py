"""RandomSegments with effects, second recordings and songs that fit together."""

import pickle

import pytest
import torch

from mssedu.data import segments as segments_module
from mssedu.data.effects import apply_effects
from mssedu.data.matching import Music
from mssedu.data.segments import RandomSegments, item_generator
from mssedu.data.track import Track
from mssedu.errors import InputError

RATE = 8000
PLAIN = {"gain_db": None, "channel_flip": 0.0, "sign_flip": 0.0}


def noisy(name: str, seed: int = 0, absent: tuple[str, ...] = ()) -> Track:
    generator = torch.Generator().manual_seed(seed)
    audio = {n: 0.1 * torch.randn(2, 3 * RATE, generator=generator) for n in ("a", "b")}
    audio = {stem: sound for stem, sound in audio.items() if stem not in absent}
    return Track.from_audio(name, audio, RATE, absent=absent)


def level(name: str, value: float) -> Track:
    """A song whose stems are one number, so that items say what they are made of."""
    sound = torch.full((1, 40 * RATE), value)
    return Track.from_audio(name, {"a": sound, "b": sound.clone()}, RATE)


def test_effects_follow_the_other_changes() -> None:
    songs = [noisy("one"), noisy("two", 1)]
    plain = RandomSegments(songs, ("a", "b"), 0.5, 4, seed=2)
    chosen = RandomSegments(
        songs, ("a", "b"), 0.5, 4, seed=2, effects=("shift", "eq"), effect_probability=1
    )
    for item in range(4):
        before, after = plain[item].sources, chosen[item].sources
        assert after.shape == before.shape
        assert (before != after).any(-1).all()
        assert torch.equal(after, chosen[item].sources)
    # A shift moves the samples, and nothing else
    shifted = RandomSegments(
        songs, ("a", "b"), 0.5, 4, seed=2, effects=("shift",), effect_probability=1
    )
    assert torch.equal(
        shifted[1].sources.sort(-1).values, plain[1].sources.sort(-1).values
    )
    assert pickle.loads(pickle.dumps(chosen))[3].sources.equal(chosen[3].sources)


def test_no_effect_by_default_and_none_with_probability_0() -> None:
    songs = [noisy("one")]
    plain = RandomSegments(songs, ("a", "b"), 0.5, 2, seed=2)
    never = RandomSegments(
        songs, ("a", "b"), 0.5, 2, seed=2, effects=("eq", "clip"), effect_probability=0
    )
    assert plain.effects == ()
    assert torch.equal(plain[1].sources, never[1].sources)


@pytest.mark.parametrize("effects", [("tempo",), ("speed",), ("speed", "tempo")])
def test_a_changed_tempo_leaves_no_gap(effects) -> None:
    segments = RandomSegments(
        [noisy("one")],
        ("a", "b"),
        1.0,
        8,
        seed=0,
        effects=effects,
        effect_probability=1,
    )
    for item in range(8):
        sources = segments[item].sources
        assert sources.shape == (2, 2, RATE)
        assert sources.unfold(-1, 400, 400).square().mean(-1).min() > 1e-4


def test_effects_leave_absent_stems_alone() -> None:
    segments = RandomSegments(
        [noisy("one", absent=("b",)), noisy("two", absent=("a",))],
        ("a", "b"),
        0.25,
        6,
        seed=0,
        remix=False,
        effects=("noise", "reverb", "codec"),
        effect_probability=1,
    )
    for sources, present in segments:
        assert present.sum() == 1
        assert not sources[~present].any()
        assert sources[present].any()


def test_the_mixture_has_the_effects_of_the_stems_that_are_not_estimated() -> None:
    changes = {"effects": ("clip",), "effect_probability": 1.0}
    both = RandomSegments([noisy("one")], ("a", "b"), 0.5, 1, seed=0, **changes)
    part = RandomSegments([noisy("one")], ("a",), 0.5, 1, seed=0, **changes)
    assert torch.equal(both[0].sources.sum(0), part[0].sources.sum(0))


def test_mixup_adds_a_second_recording_with_a_gain() -> None:
    songs = [level("one", 1.0), level("two", 100.0)]
    segments = RandomSegments(
        songs, ("a", "b"), 0.01, 400, seed=0, mixup=0.25, balance="song", **PLAIN
    )
    plain = RandomSegments(
        songs, ("a", "b"), 0.01, 400, seed=0, balance="song", **PLAIN
    )
    added = torch.stack(
        [(segments[i].sources - plain[i].sources)[:, 0, 0] for i in range(400)]
    )
    assert abs((added > 0).float().mean() - 0.25) < 0.06
    ones = added[(added > 0) & (added < 2)]
    others = added[added > 2] / 100
    for gains in (ones, others):
        db = 20 * gains.log10()
        assert -6.01 <= db.min() < -5
        assert 2.5 < db.max() <= 3.51
    assert torch.equal(segments[7].sources, segments[7].sources)


def test_a_second_recording_has_the_sign_and_the_place_of_the_first() -> None:
    left = torch.stack([torch.ones(RATE), torch.zeros(RATE)])
    song = Track.from_audio("left", {"a": left}, RATE)
    segments = RandomSegments(
        [song], ("a",), 0.1, 30, seed=0, mixup=1.0, channel_flip=0.5, sign_flip=0.5
    )
    for sources, _ in segments:
        loud = sources[0].abs().amax(-1)
        assert sorted(loud.tolist())[0] == 0
        assert loud.max() > 10 ** (-10 / 20)


@pytest.fixture
def music(monkeypatch):
    """Songs by name: two that fit, one without partner."""
    known = {
        "one": Music(120, "C major", (0.5, 1.5, 2.0, 39.9)),
        "two": Music(121, "A minor", (0.25, 1.25)),
        "alone": Music(90, "F# major", (3.0,)),
    }
    monkeypatch.setattr(
        segments_module, "analyze_music", lambda track: known[track.name]
    )
    return known


def test_matched_stems_are_of_songs_that_fit(music) -> None:
    songs = [level("one", 1.0), level("two", 2.0), level("alone", 3.0)]
    segments = RandomSegments(
        songs, ("a", "b"), 0.5, 300, seed=0, matched=True, balance="song", **PLAIN
    )
    assert segments.n_alone == 1
    pairs = {tuple(sources[:, 0, 0].tolist()) for sources, _ in segments}
    assert pairs == {(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)}
    copy = pickle.loads(pickle.dumps(segments))
    assert torch.equal(copy[5].sources, segments[5].sources)


def test_matched_stems_begin_on_a_beat(music) -> None:
    ramp = torch.arange(40 * RATE).float()[None]
    songs = [Track.from_audio(name, {"a": ramp, "b": ramp}, RATE) for name in music]
    segments = RandomSegments(
        songs, ("a", "b"), 0.5, 100, seed=0, matched=True, **PLAIN
    )
    firsts = {s / RATE for item in segments for s in item.sources[:, 0, 0].tolist()}
    # A segment of half a second cannot begin at the last beat, at 39.9 s.
    assert firsts == {0.5, 1.5, 2.0, 0.25, 1.25, 3.0}


def test_a_stem_that_no_fitting_song_has_is_of_any_song(music) -> None:
    songs = [
        Track.from_audio("one", {"a": torch.ones(1, 8 * RATE)}, RATE, absent=["b"]),
        Track.from_audio("alone", {"b": torch.ones(1, 8 * RATE)}, RATE, absent=["a"]),
    ]
    segments = RandomSegments(songs, ("a", "b"), 0.5, 20, seed=0, matched=True, **PLAIN)
    assert segments.n_alone == 2
    for sources, present in segments:
        assert present.all()
        assert (sources == 1).all()


@pytest.mark.parametrize("changes", [{"matched": True}, {"mixup": 0.1}])
def test_several_songs_need_remix(changes) -> None:
    with pytest.raises(InputError, match=r"matched and mixup .*remix=True"):
        RandomSegments([noisy("one")], ("a",), 1.0, 1, seed=0, remix=False, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"effects": ("echo",)}, "unknown effect 'echo'"),
        ({"effect_probability": 1.5}, "effect_probability .*got 1.5"),
        ({"mixup": -0.1}, "mixup .*got -0.1"),
    ],
)
def test_values_out_of_range(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        RandomSegments([noisy("one")], ("a",), 1.0, 1, seed=0, **changes)


def test_a_batch_on_a_device_takes_the_same_effects() -> None:
    segments = RandomSegments([noisy("one")], ("a", "b"), 0.25, 3, seed=0)
    batch = torch.stack([item.sources for item in segments])
    generator = item_generator(0, 0)
    out = apply_effects(
        batch, RATE, ("eq", "reverb"), probability=1, generator=generator
    )
    assert out.shape == batch.shape
    assert (out != batch).any(-1).all()

"""RandomSegments: pure items, fair draws, padding, silence, worker processes."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from mssedu.data.layouts import STEMS, demo_data, load_dataset
from mssedu.data.segments import RandomSegments, item_generator
from mssedu.data.track import Track
from mssedu.errors import InputError

RATE = 100
PLAIN = {"gain_db": None, "channel_flip": 0.0, "sign_flip": 0.0}


def constant_track(name: str, level: float, seconds: float, **levels: float) -> Track:
    """Stems a and b of one constant level, unless `levels` says otherwise."""
    sources = {
        stem: torch.full((2, round(seconds * RATE)), levels.get(stem, level))
        for stem in ("a", "b")
    }
    return Track.from_audio(name, sources, RATE)


def ramp_track(seconds: float) -> Track:
    """Both stems count samples, so an item tells where it was cut."""
    ramp = torch.arange(round(seconds * RATE)).float().expand(2, -1)
    return Track.from_audio("ramp", {"a": ramp, "b": ramp}, RATE)


@pytest.fixture
def songs() -> list[Track]:
    return [constant_track("one", 0.1, 10), constant_track("two", 0.2, 30)]


def test_items_are_pure(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a", "b"), 1.5, 20, seed=3)
    assert (len(segments), segments.sample_rate, segments.channels) == (20, RATE, 2)
    forward = [segments[item] for item in range(20)]
    assert {tuple(sources.shape) for sources in forward} == {(2, 2, 150)}
    longer = RandomSegments(songs, ("a", "b"), 1.5, 500, seed=3)
    for item in reversed(range(20)):
        assert torch.equal(forward[item], longer[item])
    other_seed = RandomSegments(songs, ("a", "b"), 1.5, 20, seed=4)
    assert not torch.equal(torch.stack(forward), torch.stack(list(other_seed)))


def test_neighbours_differ() -> None:
    draws = [
        torch.rand(1, generator=item_generator(seed, item)).item()
        for seed in range(20)
        for item in range(20)
    ]
    assert len(set(draws)) == 400


def test_workers_give_the_same_items() -> None:
    """Spawned workers, as on Windows and macOS, read lazily from disk."""
    tracks = load_dataset(demo_data(), "valid")
    segments = RandomSegments(tracks, STEMS, 0.2, 6, seed=0)
    alone = list(DataLoader(segments, batch_size=2))
    spawned = DataLoader(
        segments, batch_size=2, num_workers=2, multiprocessing_context="spawn"
    )
    for ours, theirs in zip(alone, spawned, strict=True):
        assert ours.shape == (2, 4, 2, 8820)
        assert torch.equal(ours, theirs)


def test_data_set_pickles(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a",), 1.0, 3, seed=0)
    copy = pickle.loads(pickle.dumps(segments))
    assert torch.equal(copy[2], segments[2])


def test_songs_are_drawn_by_duration(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a",), 0.1, 2000, seed=0, **PLAIN)
    levels = torch.stack([sources[0].mean() for sources in segments])
    share = (levels > 0.15).float().mean()
    assert abs(share - 0.75) < 0.04  # 30 of 40 seconds; standard error 0.01


def test_remix_draws_stems_apart(songs: list[Track]) -> None:
    for remix, mixed in ((True, 2 * 0.25 * 0.75), (False, 0.0)):
        segments = RandomSegments(
            songs, ("a", "b"), 0.1, 1000, seed=0, remix=remix, **PLAIN
        )
        unlike = [float(s[0].mean() != s[1].mean()) for s in segments]
        assert abs(sum(unlike) / 1000 - mixed) < 0.06


def test_together_means_one_position() -> None:
    segments = RandomSegments(
        [ramp_track(20)], ("b", "a"), 18.0, 300, seed=0, remix=False, **PLAIN
    )
    starts = []
    for sources in segments:
        assert torch.equal(sources[0], sources[1])
        assert torch.equal(sources[0, 0].diff(), torch.ones(1799))
        starts.append(int(sources[0, 0, 0]))
    # 201 possible starts, both ends included; the first or last 20 never drawn: 1e-13
    assert 0 <= min(starts) < 20
    assert 180 < max(starts) <= 200


def test_exact_fit_and_short_tracks() -> None:
    (exact,) = RandomSegments([ramp_track(2)], ("a",), 2.0, 1, seed=0, **PLAIN)
    assert torch.equal(exact[0, 0], torch.arange(200.0))
    (padded,) = RandomSegments([ramp_track(2)], ("a",), 3.0, 1, seed=0, **PLAIN)
    assert torch.equal(padded[0, 0, :200], torch.arange(200.0))
    assert padded.shape == (2, 2, 300)
    assert padded[..., 200:].abs().max() == 0


def test_gain_and_flips() -> None:
    sources = {"a": torch.tensor([[1.0], [0.5]]).expand(2, 1000)}
    track = Track.from_audio("left", sources, RATE)
    segments = RandomSegments([track], ("a",), 0.1, 400, seed=0, gain_db=(-6, 6))
    items = torch.stack([item[0, :, 0] for item in segments])
    gains = items.abs().amax(1)
    assert 10 ** (-6 / 20) <= gains.min() < 0.55
    assert 1.8 < gains.max() <= 10 ** (6 / 20)
    assert 0.4 < (items[:, 0].abs() < items[:, 1].abs()).float().mean() < 0.6
    assert 0.4 < (items[:, 0] < 0).float().mean() < 0.6


def test_active_level_avoids_silence() -> None:
    tracks = [
        constant_track("no b", 0.1, 10, b=0.0),
        constant_track("both", 0.1, 10),
    ]
    plain = RandomSegments(tracks, ("a", "b"), 0.5, 200, seed=0, **PLAIN)
    active = RandomSegments(
        tracks, ("a", "b"), 0.5, 200, seed=0, min_active_db=-30, **PLAIN
    )
    silent = sum(float(sources[1].abs().max() == 0) for sources in plain)
    assert 70 < silent < 130
    # Silent ten times in a row: once in a thousand.
    assert sum(float(sources[1].abs().max() == 0) for sources in active) <= 2


def test_nothing_but_silence_is_accepted() -> None:
    track = constant_track("no b", 0.1, 10, b=0.0)
    segments = RandomSegments(
        [track], ("a", "b"), 0.5, 5, seed=0, remix=False, min_active_db=-30
    )
    assert all(sources[1].abs().max() == 0 for sources in segments)
    assert all(sources[0].abs().max() > 0 for sources in segments)


def test_song_without_bass() -> None:
    """Caesium has no bass: its items are real, silent in that stem."""
    caesium = load_dataset(demo_data(), "train")[0]
    segments = RandomSegments([caesium], STEMS, 0.5, 1, seed=0, min_active_db=-60)
    (sources,) = segments
    assert sources[STEMS.index("bass")].abs().max() == 0
    assert sources.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tracks": []}, "got 0 tracks and 2 stems"),
        ({"stems": ()}, "got 2 tracks and 0 stems"),
        ({"stems": ("a", "c")}, "Track 'one': unknown stem 'c'"),
        ({"segment": 0.0}, "segment must be"),
        ({"n_items": 0}, "n_items must be"),
        ({"seed": -1}, "seed must be"),
        ({"gain_db": (6.0, -10.0)}, r"gain_db\[1\] must be at least 6"),
        ({"channel_flip": 1.5}, "channel_flip must be"),
        ({"sign_flip": -0.5}, "sign_flip must be"),
    ],
)
def test_wrong_arguments(songs: list[Track], changes: dict, words: str) -> None:
    settings = {"tracks": songs, "stems": ("a", "b"), "segment": 1.0, "n_items": 1}
    settings |= {"seed": 0} | changes
    with pytest.raises(InputError, match=words):
        RandomSegments(**settings)


def test_formats_must_agree(songs: list[Track]) -> None:
    odd = Track.from_audio("odd", {"a": torch.zeros(1, 50)}, 2 * RATE)
    with pytest.raises(InputError, match="100 Hz × 2 channels, 200 Hz × 1 channels"):
        RandomSegments([*songs, odd], ("a",), 1.0, 1, seed=0)


@pytest.mark.parametrize("item", [-1, 3])
def test_items_end(songs: list[Track], item: int) -> None:
    segments = RandomSegments(songs, ("a",), 1.0, 3, seed=0)
    with pytest.raises(IndexError, match=f"item .*got {item}"):
        segments[item]


def test_leveling_brings_all_songs_to_one_loudness() -> None:
    songs = [
        constant_track("one", 0.1, 10, b=0.0),  # b is silent, and stays so
        constant_track("two", 0.4, 10),
    ]
    segments = RandomSegments(
        songs, ("a", "b"), 0.1, 100, seed=0, level_db=-20.0, **PLAIN
    )
    items = torch.stack(list(segments))
    torch.testing.assert_close(items[:, 0], torch.full_like(items[:, 0], 0.1))
    levels = {round(float(level), 6) for level in items[:, 1].mean((-2, -1))}
    assert levels == {0.0, 0.1}
    assert len(pickle.loads(pickle.dumps(segments)).leveling) == 4


def test_stems_fall_silent_as_often_as_asked(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a", "b"), 0.1, 1000, seed=0, silence=0.25)
    silent = torch.stack([~sources.any(-1).any(-1) for sources in segments]).float()
    assert abs(silent.mean() - 0.25) < 0.04  # standard error 0.01
    assert abs((silent[:, 0] * silent[:, 1]).mean() - 0.0625) < 0.03  # independent
    assert abs(silent[:, 0].mean() - silent[:, 1].mean()) < 0.06

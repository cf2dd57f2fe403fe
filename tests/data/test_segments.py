"""RandomSegments: pure items, fair draws, padding, silence, worker processes."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from mssedu.data.augment import flip_channels, flip_sign, random_gain, random_silence
from mssedu.data.loading import demo_data, load_dataset
from mssedu.data.segments import RandomSegments, item_generator
from mssedu.data.track import Track
from mssedu.errors import InputError

RATE = 100
STEMS = ("vocals", "drums", "bass", "other")
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
    forward = [segments[item].sources for item in range(20)]
    assert {tuple(sources.shape) for sources in forward} == {(2, 2, 150)}
    longer = RandomSegments(songs, ("a", "b"), 1.5, 500, seed=3)
    for item in reversed(range(20)):
        assert torch.equal(forward[item], longer[item].sources)
    other_seed = RandomSegments(songs, ("a", "b"), 1.5, 20, seed=4)
    assert not torch.equal(
        torch.stack(forward), torch.stack([s for s, _ in other_seed])
    )


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
        assert ours.sources.shape == (2, 4, 2, 8820)
        assert torch.equal(ours.sources, theirs.sources)
        assert torch.equal(ours.present, theirs.present)


def test_data_set_pickles(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a",), 1.0, 3, seed=0)
    copy = pickle.loads(pickle.dumps(segments))
    assert torch.equal(copy[2].sources, segments[2].sources)


def test_songs_are_drawn_by_duration(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a",), 0.1, 2000, seed=0, **PLAIN)
    levels = torch.stack([sources[0].mean() for sources, _ in segments])
    share = (levels > 0.15).float().mean()
    assert abs(share - 0.75) < 0.04  # 30 of 40 seconds; standard error 0.01


def test_remix_draws_stems_apart(songs: list[Track]) -> None:
    for remix, mixed in ((True, 2 * 0.25 * 0.75), (False, 0.0)):
        segments = RandomSegments(
            songs, ("a", "b"), 0.1, 1000, seed=0, remix=remix, **PLAIN
        )
        unlike = [float(s[0].mean() != s[1].mean()) for s, _ in segments]
        assert abs(sum(unlike) / 1000 - mixed) < 0.06


def test_together_means_one_position() -> None:
    segments = RandomSegments(
        [ramp_track(20)], ("b", "a"), 18.0, 300, seed=0, remix=False, **PLAIN
    )
    starts = []
    for sources, _ in segments:
        assert torch.equal(sources[0], sources[1])
        assert torch.equal(sources[0, 0].diff(), torch.ones(1799))
        starts.append(int(sources[0, 0, 0]))
    # 201 possible starts, both ends included; the first or last 20 never drawn: 1e-13
    assert 0 <= min(starts) < 20
    assert 180 < max(starts) <= 200


def test_exact_fit_and_short_tracks() -> None:
    ((exact, _),) = RandomSegments([ramp_track(2)], ("a",), 2.0, 1, seed=0, **PLAIN)
    assert torch.equal(exact[0, 0], torch.arange(200.0))
    ((padded, _),) = RandomSegments([ramp_track(2)], ("a",), 3.0, 1, seed=0, **PLAIN)
    assert torch.equal(padded[0, 0, :200], torch.arange(200.0))
    assert padded.shape == (2, 2, 300)
    assert padded[..., 200:].abs().max() == 0


def test_gain_and_flips() -> None:
    sources = {"a": torch.tensor([[1.0], [0.5]]).expand(2, 1000)}
    track = Track.from_audio("left", sources, RATE)
    segments = RandomSegments([track], ("a",), 0.1, 400, seed=0, gain_db=(-6, 6))
    items = torch.stack([item[0, :, 0] for item, _ in segments])
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
    silent = sum(float(sources[1].abs().max() == 0) for sources, _ in plain)
    assert 70 < silent < 130
    # Silent ten times in a row: once in a thousand.
    assert sum(float(sources[1].abs().max() == 0) for sources, _ in active) <= 2


def test_nothing_but_silence_is_accepted() -> None:
    track = constant_track("no b", 0.1, 10, b=0.0)
    segments = RandomSegments(
        [track], ("a", "b"), 0.5, 5, seed=0, remix=False, min_active_db=-30
    )
    assert segments.n_quiet == 0
    items = torch.stack([sources for sources, _ in segments])
    assert items[:, 1].abs().max() == 0
    assert items[:, 0].abs().amax((-2, -1)).min() > 0
    assert segments.n_quiet == 5


def test_song_without_bass() -> None:
    """Caesium has no bass: its items are real, silent in that stem."""
    caesium = load_dataset(demo_data(), "train")[0]
    segments = RandomSegments([caesium], STEMS, 0.5, 1, seed=0, min_active_db=-60)
    ((sources, _),) = segments
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
        ({"balance": "songs"}, "unknown balance 'songs'"),
    ],
)
def test_wrong_arguments(songs: list[Track], changes: dict, words: str) -> None:
    settings = {"tracks": songs, "stems": ("a", "b"), "segment": 1.0, "n_items": 1}
    settings |= {"seed": 0} | changes
    with pytest.raises(InputError, match=words):
        RandomSegments(**settings)


def test_formats_must_agree(songs: list[Track]) -> None:
    odd = Track.from_audio("odd", {"a": torch.zeros(1, 50)}, 2 * RATE)
    with pytest.raises(InputError, match="100 Hz × 2 channels, 200 Hz × 1 channel"):
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
    items = torch.stack([sources for sources, _ in segments])
    torch.testing.assert_close(items[:, 0], torch.full_like(items[:, 0], 0.1))
    levels = {round(float(level), 6) for level in items[:, 1].mean((-2, -1))}
    assert levels == {0.0, 0.1}
    assert len(pickle.loads(pickle.dumps(segments)).leveling) == 4


def test_stems_fall_silent_as_often_as_asked(songs: list[Track]) -> None:
    segments = RandomSegments(songs, ("a", "b"), 0.1, 1000, seed=0, silence=0.25)
    silent = torch.stack([~s.any(-1).any(-1) for s, _ in segments]).float()
    assert abs(silent.mean() - 0.25) < 0.04  # standard error 0.01
    assert abs((silent[:, 0] * silent[:, 1]).mean() - 0.0625) < 0.03  # independent
    assert abs(silent[:, 0].mean() - silent[:, 1].mean()) < 0.06


# ---- an item is what the augmentations make of what is read ------------------------


def noise_track(seed: int, seconds: float, *, mixture: bool = False) -> Track:
    generator = torch.Generator().manual_seed(seed)
    sources = 0.1 * torch.randn(4, 2, round(seconds * RATE), generator=generator)
    sources[1] *= seed % 2  # the drums of every other song are silent
    rest = 0.05 * torch.randn(2, round(seconds * RATE), generator=generator)
    whole = sources.sum(0) + rest if mixture else None
    pairs = dict(zip(STEMS, sources, strict=True))
    return Track.from_audio(f"song {seed}", pairs, RATE, mixture=whole)


SETTINGS = {
    "plain": {"seed": 0, **PLAIN},
    "default": {"seed": 1},
    "silence": {"seed": 2, "silence": 0.4},
    "level": {"seed": 3, "level_db": -25.0},
    "together": {"seed": 4, "remix": False, "channel_flip": 0.0, "sign_flip": 0.0},
    "active": {"seed": 5, "min_active_db": -60.0},
    "active together": {"seed": 6, "min_active_db": -60.0, "remix": False},
}
# RMS of the parts of item 3, as version 0.2 made it: the draws keep their order.
BEFORE = {
    "plain": [0.09766, 0.107164, 0.091488, 0.112532],
    "default": [0.034368, 0.0, 0.114205, 0.045231],
    "silence": [0.167869, 0.0, 0.060549, 0.06734],
    "level": [0.021474, 0.0, 0.088582, 0.040223],
    "together": [0.202247, 0.0, 0.107997, 0.098715],
    "active": [0.176329, 0.050407, 0.12797, 0.151703],
    "active together": [0.132905, 0.086102, 0.14649, 0.091905],
}


def plain_item(segments: RandomSegments, item: int) -> torch.Tensor:
    """The item by the pure functions, one after the other, each on all samples."""
    generator = item_generator(segments.seed, item)
    sizes = torch.tensor([track.n_samples for track in segments.tracks]).double()
    length = round(segments.segment * RATE)

    def drawn(parts):
        for _ in range(segments.MAX_DRAWS):
            audio = torch.zeros(len(parts), 2, length)
            number = int(torch.multinomial(sizes, 1, generator=generator))
            track = segments.tracks[number]
            starts = max(track.n_samples - length, 0) + 1
            first = int(torch.randint(starts, (1,), generator=generator))
            for row, part in zip(audio, parts, strict=True):
                read = track.stem(part, first / RATE, segments.segment)
                gain = segments.leveling.get((number, part), 1.0)
                row[:, : read.shape[-1]] = read * gain
            estimated = audio[: len({*parts} & {*segments.stems})]
            if segments.min_active_db is None or not len(estimated):
                break
            power = estimated.square().mean((-2, -1)).min()
            if 10 * power.log10() >= segments.min_active_db:
                break
        return audio

    if segments.remix:
        sources = torch.cat([drawn((part,)) for part in segments.parts])
    else:
        sources = drawn(segments.parts)
    if segments.gain_db is not None:
        sources = random_gain(sources, *segments.gain_db, generator=generator)
    sources = flip_channels(sources, segments.channel_flip, generator=generator)
    sources = flip_sign(sources, segments.sign_flip, generator=generator)
    return random_silence(sources, segments.silence, generator=generator)


@pytest.mark.parametrize("mixture", [False, True])
@pytest.mark.parametrize("seconds", [0.5, 4.0])
@pytest.mark.parametrize("setting", SETTINGS)
def test_in_place_is_bit_for_bit_one_after_the_other(setting, seconds, mixture) -> None:
    tracks = [noise_track(seed, 2.0 + seed, mixture=mixture) for seed in range(3)]
    stems = ("vocals", "bass=bass+drums") if mixture else STEMS
    segments = RandomSegments(tracks, stems, seconds, 12, **SETTINGS[setting])
    for item, (sources, present) in enumerate(segments):
        assert torch.equal(sources, plain_item(segments, item))
        assert present.all()


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_seed_gives_the_items_of_earlier_versions(setting) -> None:
    tracks = [noise_track(seed, 2.0 + seed) for seed in range(3)]
    segments = RandomSegments(tracks, STEMS, 0.5, 4, **SETTINGS[setting])
    levels = segments[3].sources.square().mean((-2, -1)).sqrt()
    assert levels.tolist() == pytest.approx(BEFORE[setting], abs=1e-5)


# ---- stems that are absent ---------------------------------------------------------


@pytest.fixture
def uneven() -> list[Track]:
    """Every song has a; one of four, with a tenth of the time, has b as well."""
    sources = {"a": torch.full((2, 9 * RATE), 0.1)}
    without = [
        Track.from_audio(f"song {n}", sources, RATE, absent=["b"]) for n in range(3)
    ]
    return [*without, constant_track("rare", 0.2, 3)]


def test_remix_draws_a_stem_from_the_songs_that_have_it(uneven: list[Track]) -> None:
    segments = RandomSegments(uneven, ("a", "b"), 0.1, 300, seed=0, **PLAIN)
    items = torch.stack([sources[:, 0, 0] for sources, present in segments])
    assert all(present.all() for _, present in segments)
    assert {round(level, 3) for level in items[:, 0].tolist()} == {0.1, 0.2}
    assert {round(level, 3) for level in items[:, 1].tolist()} == {0.2}


@pytest.mark.parametrize(
    ("balance", "share"), [("duration", 0.1), ("song", 0.25), ("stem", 0.55)]
)
def test_without_remix_rare_stems_come_as_often_as_asked(
    uneven: list[Track], balance: str, share: float
) -> None:
    segments = RandomSegments(
        uneven, ("a", "b"), 0.1, 2000, seed=0, remix=False, balance=balance, **PLAIN
    )
    drawn = [(bool(sources[1].any()), present) for sources, present in segments]
    assert all(sounds == present[1] for sounds, present in drawn)
    present = torch.stack([present for _, present in drawn])
    assert present[:, 0].all()
    assert abs(present[:, 1].float().mean() - share) < 0.05


def test_absent_stems_are_not_asked_to_be_active(uneven: list[Track]) -> None:
    options = {"seed": 0, "remix": False, "min_active_db": -30.0}
    segments = RandomSegments(uneven, ("a", "b"), 0.1, 50, **options, **PLAIN)
    assert not all(present[1] for _, present in segments)
    assert segments.n_quiet == 0


def test_a_stem_that_no_song_has(uneven: list[Track]) -> None:
    with pytest.raises(InputError, match="no track has the stem 'b'"):
        RandomSegments(uneven[:3], ("a", "b"), 0.1, 1, seed=0)


def test_leveling_leaves_absent_stems_out(uneven: list[Track]) -> None:
    segments = RandomSegments(uneven, ("a", "b"), 0.1, 1, seed=0, level_db=-20.0)
    assert {*segments.leveling} == {(n, "a") for n in range(4)} | {(3, "b")}


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_choices_that_stay_quiet_are_counted_in_all_workers(context: str) -> None:
    track = constant_track("no b", 0.1, 10, b=0.0)
    segments = RandomSegments([track], ("a", "b"), 0.1, 6, seed=0, min_active_db=-30)
    loader = DataLoader(
        segments, batch_size=1, num_workers=2, multiprocessing_context=context
    )
    assert len(list(loader)) == 6
    assert segments.n_quiet == 6
    assert pickle.loads(pickle.dumps(segments)).n_quiet == 6

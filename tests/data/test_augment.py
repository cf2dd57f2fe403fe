"""Augmentations: shape, purity, reproducibility and what each one may change."""

import pytest
import torch

from mssedu.data.augment import (
    flip_channels,
    flip_sign,
    random_gain,
    random_silence,
    remix,
)
from mssedu.errors import InputError

AUGMENTATIONS = [random_gain, flip_channels, flip_sign, random_silence, remix]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_pure_function_of_the_generator(augment) -> None:
    sources = torch.randn(8, 3, 2, 50, generator=seeded())
    before = sources.clone()
    first = augment(sources, generator=seeded(1))
    assert torch.equal(sources, before)
    assert first.shape == sources.shape
    assert not torch.equal(first, sources)
    assert torch.equal(first, augment(sources, generator=seeded(1)))
    assert not torch.equal(first, augment(sources, generator=seeded(2)))


@pytest.mark.parametrize(
    "augment", [random_gain, flip_channels, flip_sign, random_silence]
)
def test_single_example_and_missing_axes(augment) -> None:
    assert augment(torch.ones(4, 2, 10), generator=seeded()).shape == (4, 2, 10)
    with pytest.raises(InputError, match=r"sources .*\(2, 10\)"):
        augment(torch.ones(2, 10), generator=seeded())


def test_gain_is_uniform_in_db() -> None:
    gains = random_gain(torch.ones(20000, 1, 1, 1), -10, 6, generator=seeded())
    db = 20 * torch.log10(gains)
    assert -10 <= db.min() < -9.9
    assert 5.9 < db.max() <= 6 + 1e-4
    assert abs(db.mean() + 2) < 0.1  # the middle of -10 … 6; its standard error is 0.03


def test_gain_keeps_channel_balance_and_precision() -> None:
    sources = torch.randn(3, 2, 20, dtype=torch.float64)
    ratio = random_gain(sources, generator=seeded()) / sources
    assert ratio.dtype == torch.float64
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio))


def test_gain_range_reversed() -> None:
    with pytest.raises(InputError, match="high_db must be at least 3, got -3"):
        random_gain(torch.ones(1, 1, 1), 3, -3, generator=seeded())


def test_flips_touch_whole_stems() -> None:
    sources = torch.randn(200, 4, 2, 10, generator=seeded())
    swapped = flip_channels(sources, generator=seeded())
    kept = (swapped == sources).all(-1).all(-1)
    flipped = (swapped == sources.flip(-2)).all(-1).all(-1)
    assert torch.equal(kept, ~flipped)
    assert 0.4 < flipped.float().mean() < 0.6
    negated = flip_sign(sources, generator=seeded())
    assert torch.equal(negated.abs(), sources.abs())
    assert set((negated / sources).unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("flip", [flip_channels, flip_sign])
def test_flip_probability(flip) -> None:
    sources = torch.randn(20, 4, 2, 10, generator=seeded())
    assert torch.equal(flip(sources, 0.0, generator=seeded()), sources)
    twice = flip(flip(sources, 1.0, generator=seeded()), 1.0, generator=seeded())
    assert torch.equal(twice, sources)
    with pytest.raises(InputError, match=r"probability .*got 2"):
        flip(sources, 2, generator=seeded())


def test_silence_takes_whole_stems_with_its_probability() -> None:
    sources = torch.randn(500, 4, 2, 10, generator=seeded())
    quieter = random_silence(sources, 0.25, generator=seeded())
    silent = (quieter == 0).all(-1).all(-1)
    assert torch.equal(quieter[~silent], sources[~silent])
    assert abs(silent.float().mean() - 0.25) < 0.04  # standard error 0.01
    assert torch.equal(random_silence(sources, 0.0, generator=seeded()), sources)
    assert not random_silence(sources, 1.0, generator=seeded()).any()
    with pytest.raises(InputError, match=r"probability .*got 2"):
        random_silence(sources, 2, generator=seeded())


def test_remix_permutes_each_stem_within_its_group() -> None:
    song, stem = torch.arange(12)[:, None], torch.arange(4)
    sources = (10 * song + stem).float()[..., None, None]
    mixed = remix(sources, 4, generator=seeded())[..., 0, 0]
    assert torch.equal(mixed % 10, stem.expand(12, 4))  # a stem stays that stem
    songs = mixed.long() // 10
    assert torch.equal(songs // 4, song.expand(12, 4) // 4)  # a group stays together
    assert torch.equal(songs.sort(0).values, song.expand(12, 4))  # none lost or doubled
    assert any(len(set(row.tolist())) > 1 for row in songs)


def test_remix_group_sizes() -> None:
    sources = torch.ones(6, 2, 1, 5)
    with pytest.raises(InputError, match=r"batch of 6, got 4.* 1, 2, 3, 6"):
        remix(sources, 4, generator=seeded())
    with pytest.raises(InputError, match=r"group_size .*got 0"):
        remix(sources, 0, generator=seeded())
    with pytest.raises(InputError, match=r"sources .*\(2, 1, 5\)"):
        remix(sources[0], generator=seeded())
    assert torch.equal(remix(sources, 1, generator=seeded()), sources)

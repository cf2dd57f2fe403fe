"""What is done to an estimate: averages, filters, sums; each against known facts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mssedu.errors import InputError
from mssedu.separation.config import SeparateConfig
from mssedu.separation.refine import (
    augmented,
    consistent,
    filled_highs,
    needed,
    output_names,
    refined,
    wiener_filter,
)
from mssedu.spectral import istft, stft
from tests.parity.peers import import_reference

STEMS = ("vocals", "drums", "bass")
MODEL = SimpleNamespace(stems=STEMS, sample_rate=44100, channels=2, segment=1.0)


def run(mixture, estimate, model=MODEL, **settings):
    process = refined(lambda x: estimate, SeparateConfig(**settings), model)
    return process(mixture)


@pytest.fixture
def estimate():
    return torch.randn(2, 3, 2, 9000)


def test_augmentation_cancels_errors_that_turn_with_the_input():
    mixture = torch.randn(1, 2, 100)
    left = torch.tensor([1.0, 0.0])[:, None]

    def model(x):  # half of the mixture; a constant and a leaning to the left are wrong
        return (0.5 * x + 0.3)[:, None] + 0.1 * (x * left)[:, None]

    seen = augmented(model, mixture)
    # plain, swapped, inverted: the constant appears as + + -, the leaning as left,
    # right, left
    leaning = torch.tensor([2 / 3, 1 / 3])[:, None]
    expected = 0.5 * mixture + 0.1 + 0.1 * mixture * leaning
    torch.testing.assert_close(seen[:, 0], expected)
    perfect = augmented(lambda x: 0.5 * x[:, None], mixture)
    torch.testing.assert_close(perfect[:, 0], 0.5 * mixture)


def test_augmentation_of_mono_runs_twice():
    calls = []
    mixture = torch.randn(1, 1, 50)

    def model(x):
        calls.append(x)
        return x[:, None] + 1.0

    torch.testing.assert_close(augmented(model, mixture)[:, 0], mixture)
    assert len(calls) == 2


@pytest.mark.parametrize("weights", ["uniform", "energy"])
def test_consistent_stems_sum_to_the_mixture(estimate, weights):
    mixture = torch.randn(2, 2, 9000)
    result = consistent(estimate, mixture, weights)
    torch.testing.assert_close(result.sum(1), mixture, atol=1e-5, rtol=0)
    # what sums up already is left alone
    again = consistent(result, mixture, weights)
    torch.testing.assert_close(again, result, atol=1e-5, rtol=0)


def test_by_energy_silence_stays_silent_and_loud_stems_take_more():
    mixture, estimate = torch.ones(1, 1, 10), torch.zeros(1, 3, 1, 10)
    estimate[:, 0], estimate[:, 1] = 0.2, 0.1
    result = consistent(estimate, mixture, "energy")
    assert not result[:, 2].any()
    torch.testing.assert_close(result[0, :2, 0, 0], torch.tensor([0.76, 0.24]))
    nothing = consistent(torch.zeros(1, 3, 1, 10), mixture, "energy")
    torch.testing.assert_close(nothing[0, :, 0, 0], torch.full((3,), 1 / 3))


@pytest.mark.parametrize("n_iterations", [1, 2])
def test_the_wiener_filter_equals_norbert(estimate, n_iterations):
    norbert = import_reference("norbert")
    estimate = estimate.double()
    mixture = estimate[0].sum(0) + 0.1 * torch.randn(2, 9000, dtype=torch.float64)
    ours = stft(wiener_filter(estimate[:1], mixture[None], n_iterations))[0]
    # norbert's axes: frames, bins, channels, sources
    y = stft(estimate[0]).permute(3, 2, 1, 0).numpy()
    x = stft(mixture).permute(2, 1, 0).numpy()
    # norbert wants magnitudes in the order of 1: it scales nothing by itself here
    scale = max(1, np.abs(x).max() / 10)
    eps = 1e-10  # ours; norbert's default depends on the precision
    theirs, _, _ = norbert.expectation_maximization(
        y / scale, x / scale, n_iterations, eps=eps
    )
    theirs = torch.from_numpy(theirs * scale).permute(3, 2, 1, 0)
    # Ours went through a waveform: only what a waveform can have is left of theirs
    expected = stft(istft(theirs, length=9000))
    error = (ours - expected).abs().max() / expected.abs().max()
    assert error < 1e-9


def test_the_wiener_filter_removes_what_the_mixture_lacks():
    time = torch.arange(44100) / 44100
    low, high = (torch.sin(2 * torch.pi * f * time).expand(2, -1) for f in (300, 3000))
    mixture = low.clone()[None]  # the mixture has the low tone alone
    guess = torch.stack([low, 0.3 * high])[None]  # a model invents the high one
    result = wiener_filter(guess, mixture)
    assert result[0, 1].square().mean() < 1e-3 * guess[0, 1].square().mean()
    assert (result.sum(1) - mixture)[..., 4096:-4096].abs().max() < 1e-3


def test_the_rival_of_a_single_stem_is_the_remainder():
    mixture = torch.randn(1, 2, 9000)
    result = wiener_filter(0.5 * mixture[:, None], mixture)
    torch.testing.assert_close(result[:, 0], 0.5 * mixture, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("share", ["average", "mix_ratio"])
def test_highs_are_shared_as_the_lows_are(share):
    torch.manual_seed(0)
    noise = torch.randn(1, 2, 40000)
    spectrogram = stft(noise)
    highs, lows = spectrogram.clone(), spectrogram.clone()
    highs[..., :1024, :], lows[..., 1024:, :] = 0, 0
    low, high = (istft(part, length=40000) for part in (lows, highs))
    estimate = torch.stack([0.75 * low, 0.25 * low], dim=1)  # nothing above the cutoff
    filled = filled_highs(estimate, noise, 0.25, share)
    expected = torch.stack([0.75 * noise, 0.25 * noise], dim=1)
    error = (filled - expected).square().mean() / expected.square().mean()
    assert error < 1e-3
    added = stft(filled - estimate)[..., :1023, :].abs().mean()
    assert added < 0.01 * stft(high)[..., 1025:, :].abs().mean()


def test_highs_of_a_model_with_all_bandwidth_are_its_own(estimate):
    mixture = torch.randn(2, 2, 9000)
    torch.testing.assert_close(run(mixture, estimate, highs="average"), estimate)
    narrow = SimpleNamespace(**vars(MODEL), stem_bandwidth_hz=11000)
    assert not torch.equal(run(mixture, estimate, narrow, highs="average"), estimate)
    assert torch.equal(run(mixture, estimate, narrow), estimate)


def test_the_choice_of_stems(estimate):
    mixture = torch.randn(2, 2, 9000)
    chosen = run(mixture, estimate, stems=("bass", "vocals"))
    assert torch.equal(chosen, estimate[:, [2, 0]])
    one = run(mixture, estimate, two_stems="drums")
    assert torch.equal(one, estimate[:, 1:2])
    both = run(mixture, estimate, two_stems="drums", other="add")
    torch.testing.assert_close(both[:, 1], estimate[:, 0] + estimate[:, 2])


def test_names_of_what_comes_out():
    assert output_names(SeparateConfig(), STEMS) == STEMS
    assert output_names(SeparateConfig(stems=("bass",)), STEMS) == ("bass",)
    pair = SeparateConfig(two_stems="vocals")
    assert output_names(pair, STEMS) == ("vocals", "no_vocals")


def test_what_must_be_computed():
    assert needed(SeparateConfig(), STEMS) == ()
    assert needed(SeparateConfig(stems=("bass",)), STEMS) == ("bass",)
    assert needed(SeparateConfig(two_stems="bass"), STEMS) == ("bass",)
    assert needed(SeparateConfig(two_stems="bass", other="add"), STEMS) == ()
    assert needed(SeparateConfig(stems=("bass",), wiener=1), STEMS) == ()
    assert needed(SeparateConfig(stems=("bass",), consistency="energy"), STEMS) == ()
    assert needed(SeparateConfig(stems=("band=-vocals",)), STEMS) == ("vocals",)
    assert needed(SeparateConfig(stems=("no_bass", "bass")), STEMS) == ("bass",)


def test_groups_of_stems():
    """Sums of the model's stems, and the mixture without some of them."""
    estimate, mixture = torch.randn(1, 3, 2, 100), torch.randn(1, 2, 100)
    wanted = ("rhythm=vocals+drums", "no_bass", "instrumental", "drums")
    config = SeparateConfig(stems=wanted)
    names = ("rhythm", "no_bass", "instrumental", "drums")
    assert output_names(config, STEMS) == names
    outputs = refined(lambda _: estimate, config, MODEL)(mixture)[0]
    vocals, drums, bass = (
        estimate[0, STEMS.index(s)] for s in ("vocals", "drums", "bass")
    )
    for output, expected in zip(
        outputs,
        (vocals + drums, mixture[0] - bass, mixture[0] - vocals, drums),
        strict=True,
    ):
        torch.testing.assert_close(output, expected)


def test_stems_that_the_model_lacks_are_refused():
    with pytest.raises(InputError, match="Did you mean 'drums'"):
        refined(lambda x: x, SeparateConfig(stems=("drum",)), MODEL)
    with pytest.raises(InputError, match="Did you mean 'vocals'"):
        refined(lambda x: x, SeparateConfig(two_stems="vocal"), MODEL)
    single = SimpleNamespace(**vars(MODEL) | {"stems": ("vocals",)})
    with pytest.raises(InputError, match="the model has only 'vocals'"):
        refined(lambda x: x, SeparateConfig(consistency="uniform"), single)

"""What is Open-Unmix's own, and its Wiener filter; see also tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.masks import expectation_maximization, wiener
from mssedu.models.registry import create_model, model_config
from mssedu.spectral import stft
from tests.models.noise import noise


def tiny_model(**changes):
    torch.manual_seed(0)
    return create_model("open_unmix", "tiny", hidden=8, **changes)


def test_published_parameter_count():
    model = create_model("open_unmix")
    assert sum(p.numel() for p in model.networks[0].parameters()) == 8_893_348
    assert sum(p.numel() for p in model.parameters()) == 35_573_392


def test_networks_read_up_to_the_bandwidth_and_write_all_bins():
    config = model_config("open_unmix")
    assert (config.input_bins, config.bins) == (1487, 2049)
    assert model_config("open_unmix", bandwidth_hz=22050).input_bins == 2049


@torch.no_grad()
def test_training_leaves_out_the_wiener_filter():
    filtered = tiny_model(wiener_iterations=1)
    plain = tiny_model(wiener_iterations=0)
    mixture = noise(2, 2, 20_000)
    assert torch.equal(filtered(mixture), plain(mixture))
    assert not torch.allclose(filtered.eval()(mixture), plain.eval()(mixture))


@torch.no_grad()
def test_windows_are_filtered_apart():
    model = tiny_model(wiener_frames=5).eval()
    magnitude, spectrogram = noise(1, 4, 2, 9, 12).abs(), noise(1, 2, 9, 12, 2)
    spectrogram = torch.view_as_complex(spectrogram)
    together = model.filter(magnitude, spectrogram)
    first = model.filter(magnitude[..., :5], spectrogram[..., :5])
    last = model.filter(magnitude[..., 10:], spectrogram[..., 10:])
    torch.testing.assert_close(together[..., :5], first)
    torch.testing.assert_close(together[..., 10:], last)


@torch.no_grad()
def test_one_directional_network_is_causal():
    model = tiny_model(bidirectional=False, wiener_iterations=0, n_layers=1).eval()
    mixture = noise(1, 2, 20_000)
    changed = mixture.clone()
    changed[..., 15_000:] = 0
    before = slice(0, 15_000 - model.config.n_fft)
    torch.testing.assert_close(model(mixture)[..., before], model(changed)[..., before])
    assert not torch.allclose(model(mixture), model(changed))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hidden": 7}, "hidden must be even"),
        ({"bandwidth_hz": 30_000}, "bandwidth_hz"),
        ({"segment": 0.0}, "segment"),
        ({"n_layers": 0}, "n_layers"),
        ({"dropout": 1.5}, "dropout"),
        ({"wiener_frames": 0}, "wiener_frames"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("open_unmix", **changes)


# ---- the Wiener filter --------------------------------------------------------------


def sources(channels=2):
    """Three sources, each from a direction of its own, as spectrograms."""
    dry = noise(3, 1, 6, 200, dtype=torch.complex128)
    pan = noise(3, channels, 1, 1, dtype=torch.float64)
    return dry * noise(3, 1, 6, 200, dtype=torch.float64).exp() * pan


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_true_magnitudes_separate_better_with_directions(channels):
    truth = sources(channels)
    mixture = truth.sum(0)
    plain, filtered = (wiener(truth.abs(), mixture, n) for n in (0, 1))
    torch.testing.assert_close(filtered.sum(0), mixture, rtol=0, atol=1e-2)

    def error(estimate):
        return (estimate - truth).abs().square().sum()

    assert error(filtered) < 0.8 * error(plain)


def test_em_leaves_perfect_estimates_of_separate_channels_alone():
    truth = torch.zeros(2, 2, 4, 50, dtype=torch.complex128)
    truth[0, 0], truth[1, 1] = noise(2, 4, 50, dtype=torch.complex128)
    estimate = expectation_maximization(truth, truth.sum(0))
    torch.testing.assert_close(estimate, truth, rtol=1e-3, atol=1e-3)


def test_residual_is_what_is_left():
    truth = sources()
    mixture = truth.sum(0)
    estimate = wiener(truth[:1].abs(), mixture, 0, residual=True)
    torch.testing.assert_close(estimate.sum(0), mixture)
    assert wiener(truth.abs(), mixture, residual=True).shape == (4, 2, 6, 200)


def test_two_formulas_of_the_inverse_agree():
    truth = sources(2)
    third = torch.zeros(3, 1, 6, 200, dtype=truth.dtype)
    wider = torch.cat([truth, third], dim=1)
    estimate = expectation_maximization(truth, truth.sum(0))
    # The mean power over three channels is 2/3 of that over two; R makes up for it.
    padded = expectation_maximization(wider, wider.sum(0))
    torch.testing.assert_close(padded[:, :2], estimate, rtol=1e-4, atol=1e-5)


def test_wiener_is_differentiable_and_survives_silence_and_mono():
    mixture = sources().sum(0).to(torch.complex64)
    mixture[1] = mixture[0]  # mono: the covariances are nearly singular
    mixture[..., :20] = 0
    magnitude = noise(3, 2, 6, 200).abs().requires_grad_()
    estimate = wiener(magnitude, mixture)
    estimate.abs().square().sum().backward()
    assert estimate.dtype == torch.complex64
    assert estimate.isfinite().all()
    assert magnitude.grad.isfinite().all()
    assert magnitude.grad.abs().sum() > 0
    assert not estimate[..., :20].any()
    torch.testing.assert_close(estimate.sum(0), mixture, rtol=1e-2, atol=1e-2)


def test_wiener_filters_each_of_a_batch_alone():
    first, second = noise(2, 2, 6, 30, dtype=torch.complex128)
    batch = torch.stack([first, 1000 * second])
    magnitude = noise(2, 3, 2, 6, 30, dtype=torch.float64).abs()
    torch.testing.assert_close(wiener(magnitude, batch)[0], wiener(magnitude[0], first))


def test_prepare_takes_mean_and_deviation_of_the_mixtures():
    model = create_model("open_unmix", "tiny", bandwidth_hz=500.0)
    mixtures = [torch.randn(2, 44100) * level for level in (0.1, 0.2, 0.3)]
    model.prepare(mixtures)
    config = model.config
    magnitudes = [stft(m, config.n_fft, config.hop_length).abs() for m in mixtures]
    frames = torch.cat(magnitudes, dim=-1)[:, : config.input_bins].mean(0)
    for network in model.networks:
        shifted = (frames.T + network.input_mean) * network.input_scale
        torch.testing.assert_close(shifted.mean(0), torch.zeros(config.input_bins))
        torch.testing.assert_close(shifted.std(0), torch.ones(config.input_bins))
        assert network.input_scale.requires_grad
    silent = tiny_model()
    silent.prepare([torch.zeros(2, 44100)])  # silence must not divide by zero
    assert all(p.isfinite().all() for p in silent.parameters())


def input_of(model):
    return [(n.input_mean.clone(), n.input_scale.clone()) for n in model.networks]


def test_prepare_leaves_what_is_learned_alone():
    trained = tiny_model()
    trained.prepare([torch.randn(2, 44100)])
    loaded = tiny_model()
    loaded.load_state_dict(trained.state_dict())
    before = input_of(trained)
    for model in (trained, loaded):
        model.prepare(iter(()))  # the excerpts are not even read
        for old, new in zip(before, input_of(model), strict=True):
            assert torch.equal(old[0], new[0])
            assert torch.equal(old[1], new[1])


def test_prepare_sets_the_new_networks_beside_trained_ones():
    model = tiny_model(stems=("a", "b"))
    model.networks[0].input_mean.data += 1.0
    model.prepare([torch.randn(2, 44100)])
    (mean_a, scale_a), (mean_b, scale_b) = input_of(model)
    assert (mean_a == 1).all()
    assert (scale_a == 1).all()
    assert (mean_b < 0).all()
    assert (scale_b != 1).any()

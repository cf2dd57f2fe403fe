"""What is MDX-Net's own; the rest is in test_contract.py and tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.contract import stem_bandwidth_hz
from mssedu.models.mdx_net import BLEND, N_FFT, from_kuielab, mixer_from_kuielab
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise

TINY = {"n_fft": 256, "hop_length": 64, "bins": 32, "depth": 2, "growth": 2}
PUBLISHED = 7_423_236


def small_model(**changes):
    torch.manual_seed(0)
    return create_model("mdx_net", "tiny", **(TINY | changes)).eval()


def test_published_parameter_count():
    model = create_model("mdx_net")
    counts = [sum(p.numel() for p in part.parameters()) for part in model.networks]
    assert counts == [PUBLISHED] * 4
    assert model.mixer.weight.numel() == 80
    assert sum(p.numel() for p in model.parameters()) == 4 * PUBLISHED + 80


def test_a_segment_is_the_256_frames_of_training():
    config = model_config("mdx_net")
    samples = round(config.segment * config.sample_rate)
    assert config.padded_length(samples) == samples == 1024 * 255


def test_windows_follow_the_names_of_the_stems():
    assert model_config("mdx_net").n_ffts == tuple(N_FFT.values())
    renamed = model_config("mdx_net", stems=("pipa", "bass"))
    assert renamed.n_ffts == (N_FFT["other"], N_FFT["bass"])
    assert model_config("mdx_net", n_fft=4096).n_ffts == (4096,) * 4


@pytest.mark.parametrize("samples", [1, 63, 64, 127, 1000, 4032])
def test_the_padded_length_gives_frames_to_halve(samples):
    config = model_config("mdx_net", "tiny", **TINY)
    length = config.padded_length(samples)
    assert length >= max(samples, config.n_fft // 2 + 1)
    assert (length // config.hop_length + 1) % 2**config.depth == 0
    assert length % config.hop_length == 0
    assert config.padded_length(length) == length


@torch.no_grad()
def test_a_new_mixer_leaves_the_stems_as_they_are():
    model, mixture = small_model(), noise(1, 2, 3000)
    mixed = model(mixture)
    alone = small_model(mixer=False)
    alone.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(mixed, alone(mixture))


@torch.no_grad()
def test_the_mixer_adds_what_its_weights_say():
    model, mixture = small_model(stems=("a", "b")), noise(1, 2, 3000)
    before = model(mixture)
    model.mixer.weight.zero_()
    model.mixer.weight[1, 2] = 0.5  # right channel of a, from the left of b
    model.mixer.weight[2, 5] = 0.25  # left channel of b, from the mixture's right
    after = model(mixture)
    torch.testing.assert_close(after[:, 0, 1], 0.5 * before[:, 1, 0])
    torch.testing.assert_close(after[:, 1, 0], 0.25 * mixture[:, 1])
    assert not after[:, 0, 0].any()


@torch.no_grad()
def test_stems_are_empty_above_the_bins_unless_the_mixer_fills_them():
    model = small_model(stems=("a",), mixer=False)
    samples = model.config.padded_length(20_000)
    estimate = model(noise(1, 2, samples))
    frequencies = torch.fft.rfftfreq(samples, 1 / 44100)
    estimate = estimate * torch.hann_window(samples)  # no step at the ends
    power = torch.fft.rfft(estimate).abs().square().mean((0, 1, 2))
    cutoff = stem_bandwidth_hz(model.config)
    assert cutoff == 32 * 44100 / 256
    above = power[frequencies > cutoff + 8 * 44100 / 256].mean()
    assert above < 1e-4 * power[frequencies < cutoff].mean()
    assert stem_bandwidth_hz(small_model().config) == 22050


@torch.no_grad()
def test_half_precision_stays_in_the_networks():
    model, mixture = small_model(), noise(1, 2, 3000)
    model.mixer.weight.zero_()[0, 8] = 0.7  # the left channel of the mixture alone
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture)
    assert estimate.dtype == torch.float32
    torch.testing.assert_close(estimate[:, 0, 0], 0.7 * mixture[:, 0])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bins": 30}, "bins must be a multiple of 4"),
        ({"bins": 256}, r"at most 129 \(n_fft / 2 \+ 1\)"),
        ({"compress": 16}, "at least 64"),
        ({"n_fft": 2**21}, "n_fft must"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"depth": 13}, "depth must be at most 12"),
        ({"n_fft": 2.5}, "n_fft must"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("mdx_net", "tiny", **(TINY | changes))


def test_both_sets_of_published_names_are_renamed():
    training = ["encoding_blocks.0.tfc.H.1.0.weight", "bottleneck_block.tdf.0.weight"]
    training += ["decoding_blocks.2.tfc.H.0.1.bias", "us.0.0.weight", "window"]
    submitted = ["ds_dense.0.H.1.0.weight", "mid_dense.tdf.0.weight"]
    submitted += ["us_dense.2.H.0.1.bias", "us.0.0.weight"]
    ours = ["encoder.0.convolutions.1.0.weight", "middle.tdf.0.weight"]
    ours += ["decoder.2.convolutions.0.1.bias", "up.0.0.weight"]
    for names in (training, submitted):
        assert list(from_kuielab(dict.fromkeys(names, torch.zeros(1)))) == ours


def test_the_mixer_is_sorted_by_stem():
    stems = ("vocals", "drums", "bass", "other")
    published = torch.arange(80.0).reshape(8, 10)
    weight = mixer_from_kuielab(published, stems)
    # vocals from itself, drums from bass, bass from the mixture; left, then right
    assert torch.equal(weight[:2, :2], published[6:, 6:8])
    assert torch.equal(weight[2:4, 4:6], published[2:4, :2])
    assert torch.equal(weight[4:6, 8:], published[:2, 8:])


def test_the_blend_has_a_share_for_each_default_stem():
    assert sorted(BLEND) == sorted(model_config("mdx_net").stems)

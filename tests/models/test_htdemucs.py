"""What is HTDemucs' own; see also tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.inspect.inside import look_inside
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise


def tiny_model(**changes):
    torch.manual_seed(0)
    changes = {"segment": 0.5, "width": 8} | changes
    return create_model("htdemucs", "tiny", **changes)


@pytest.mark.parametrize(
    ("preset", "changes", "n_parameters"),
    [
        ("paper", {}, 41_984_456),  # htdemucs, and each of the four in htdemucs_ft
        ("6s", {}, 27_414_996),
        ("paper", {"bottom_channels": 0, "dconv_mode": 1}, 26_899_536),
    ],
)
def test_published_parameter_counts(preset, changes, n_parameters):
    model = create_model("htdemucs", preset, **changes)
    assert sum(p.numel() for p in model.parameters()) == n_parameters


def test_configs_are_the_published_ones():
    paper, six = model_config("htdemucs"), model_config("htdemucs", "6s")
    assert paper.segment_limit == paper.segment == 7.8
    assert paper.widths == six.widths == (48, 96, 192, 384)
    assert (paper.t_width, six.t_width) == (512, 384)
    assert six.stems == ("drums", "bass", "other", "vocals", "guitar", "piano")


@torch.no_grad()
def test_short_mixtures_are_filled_with_silence():
    model, mixture = tiny_model().eval(), noise(2, 2, 9000)
    filled = torch.nn.functional.pad(mixture, (0, 22050 - 9000))
    assert torch.equal(model(mixture), model(filled)[..., :9000])


@torch.no_grad()
def test_training_takes_the_length_as_it_is():
    model, mixture = tiny_model(), noise(2, 2, 9000)
    trained = model(mixture)
    assert not torch.allclose(trained, model.eval()(mixture))
    other = tiny_model(segment=9000 / 44100).eval()
    torch.testing.assert_close(trained, other(mixture))


@torch.no_grad()
@pytest.mark.parametrize("samples", [22051, 30_000, 40_961])
def test_longer_than_the_segment_works(samples):
    model = tiny_model().eval()
    estimate = model(noise(1, 2, samples))
    assert estimate.shape == (1, 4, 2, samples)
    assert estimate.isfinite().all()


@torch.no_grad()
def test_a_single_sample_of_a_mono_mixture_in_training():
    estimate = tiny_model(channels=1)(torch.ones(1, 1, 1))
    assert estimate.isfinite().all()


@torch.no_grad()
def test_loudness_does_not_matter():
    model, mixture = tiny_model().eval(), noise(1, 2, 22050)
    louder = model(10 * mixture) / 10
    torch.testing.assert_close(louder, model(mixture), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_branches_are_summed():
    mixture = noise(1, 2, 22050)
    both = tiny_model().eval()
    parts = []
    for silent in ("decoder", "tdecoder"):
        model = tiny_model().eval()
        last = getattr(model, silent)[-1].conv_tr
        last.weight.zero_()
        last.bias.zero_()
        parts.append(model(mixture))
    # A silent branch gives the mean of its input, nearly 0 for noise.
    torch.testing.assert_close(sum(parts), both(mixture), rtol=0, atol=1e-2)
    assert all(part.std() > 0.1 * both(mixture).std() for part in parts)


@torch.no_grad()
@pytest.mark.parametrize("bottom_channels", [0, 32])
def test_the_branches_depend_on_each_other(bottom_channels):
    model = tiny_model(bottom_channels=bottom_channels).eval()
    freq, time = noise(1, 64, 8, 5), noise(1, 64, 20)
    x, y = model.relate(freq, time)
    assert (x.shape, y.shape) == (freq.shape, time.shape)
    for parameter in model.crosstransformer.parameters():  # LayerScale, too
        parameter.uniform_(-0.5, 0.5)
    x, y = model.relate(freq, time)
    assert not torch.allclose(model.relate(freq, time + noise(1, 64, 1))[0], x)
    assert not torch.allclose(model.relate(freq + noise(1, 64, 1, 1), time)[1], y)


def test_attention_can_be_looked_at():
    model, mixture = tiny_model(), noise(1, 2, 22050)
    inside = look_inside(model, mixture, "crosstransformer.*.attention")
    frames, steps = 22, 87  # of 1024 and of 256 samples
    shapes = {name: tuple(value.shape[2:]) for name, value in inside.items()}
    assert shapes == {
        "crosstransformer.layers.0.self_attn.attention": (8 * frames, 8 * frames),
        "crosstransformer.layers_t.0.self_attn.attention": (steps, steps),
        "crosstransformer.layers.1.cross_attn.attention": (8 * frames, steps),
        "crosstransformer.layers_t.1.cross_attn.attention": (steps, 8 * frames),
        "crosstransformer.layers.2.self_attn.attention": (8 * frames, 8 * frames),
        "crosstransformer.layers_t.2.self_attn.attention": (steps, steps),
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_fft": 1024}, "n_fft must be a multiple of 512 and at least 1536"),
        ({"n_fft": 2050}, "n_fft must be a multiple of 512"),
        ({"width": 0}, "width"),
        ({"depth": 0}, "depth"),
        ({"segment": 0.0}, "segment"),
        ({"dconv_mode": 4}, "dconv_mode must be from 0 to 3"),
        ({"dconv_depth": 0}, "dconv_depth"),
        ({"dconv_compress": 49}, "dconv_compress must be from 1 to 48"),
        ({"bottom_channels": 510}, "bottom_channels 510 .* t_heads 8"),
        ({"bottom_channels": 0, "depth": 1, "width": 9}, "width 9 .* multiple of 4"),
        ({"bottom_channels": 0, "width": 1}, "dconv_compress"),
        ({"t_heads": 0}, "t_heads"),
        ({"t_heads": 3}, "bottom_channels 512 .* t_heads 3"),
        ({"t_layers": 0}, "t_layers"),
        ({"t_hidden_scale": 0.0}, "t_hidden_scale"),
        ({"dropout": 1.0}, "dropout"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("htdemucs", **changes)

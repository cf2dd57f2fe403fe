"""What is Wave-U-Net's own; see also tests/parity."""

import pytest
import torch

from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model, model_config
from mssedu.models.wave_u_net import load_official, valid_lengths

SMALL = {"n_levels": 4, "filters": 3}
STEP = 2 ** SMALL["n_levels"]


def small_model(**changes):
    """With biases, so that zeros in are no longer zeros out."""
    torch.manual_seed(0)
    model = create_model("wave_u_net", **(SMALL | changes)).double()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.1)
    return model.eval()


def noise(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=dtype) / 8


# ---- size and lengths ---------------------------------------------------------------


def n_parameters(**changes):
    return sum(p.numel() for p in create_model("wave_u_net", **changes).parameters())


def test_published_parameter_counts():
    assert n_parameters() == 10_263_498  # M6
    voice = {"stems": ("accompaniment", "vocals")}
    assert n_parameters(**voice) == 10_263_390  # M4
    assert n_parameters(**voice, channels=1) == 10_263_002  # M3
    assert n_parameters(**voice, channels=1, difference=False) == 10_263_028  # M1


def test_paper_cuts_excerpts_of_147443_samples():
    config = model_config("wave_u_net")
    assert valid_lengths(config, 16_384) == (147_443, 16_389)
    assert valid_lengths(config, 16_389) == (147_443, 16_389)
    assert valid_lengths(config, 16_390) == (147_443 + 4096, 16_389 + 4096)


@pytest.mark.parametrize("kernels", [(15, 5), (1, 1), (3, 7)])
@pytest.mark.parametrize("n_levels", [1, 3])
def test_lengths_are_what_the_convolutions_give(kernels, n_levels):
    changes = dict(zip(("kernel", "merge_kernel"), kernels, strict=True))
    model = small_model(n_levels=n_levels, **changes)
    for samples in (1, 2, 8, 9, 100):
        input_length, output_length = valid_lengths(model.config, samples)
        assert samples <= output_length < samples + 2**n_levels
        assert model.valid(noise(1, 2, input_length)).shape[-1] == output_length


@pytest.mark.parametrize("samples", [50, 500])
def test_other_lengths_are_refused(samples):
    with pytest.raises(InputError, match=r"excerpt .*499 \+ n · 16 samples"):
        small_model().valid(noise(1, 2, samples))


def test_no_output_at_all_is_refused():
    with pytest.raises(InputError, match="samples"):
        valid_lengths(model_config("wave_u_net"), 0)


# ---- context ------------------------------------------------------------------------


@torch.no_grad()
def test_middle_of_a_long_excerpt_has_its_true_context():
    model = small_model()
    input_length, output_length = valid_lengths(model.config, 100)
    context = (input_length - output_length) // 2
    mixture = noise(1, 2, 3000)
    start = 40 * STEP  # the grid of every level begins at the first sample
    excerpt = mixture[..., start - context : start - context + input_length]
    whole = model(mixture)[..., start : start + output_length]
    torch.testing.assert_close(model.valid(excerpt), whole)

    alone = model(mixture[..., start : start + output_length])  # zeros as context
    assert (alone - whole).abs().max() > 1e-3


@torch.no_grad()
def test_zeros_are_beyond_the_ends():
    model = small_model()
    mixture = noise(1, 2, 555)
    wider = torch.nn.functional.pad(mixture, (5 * STEP, 333))
    torch.testing.assert_close(model(wider)[..., 5 * STEP : -333], model(mixture))


def test_one_output_depends_on_its_whole_context():
    model = small_model()
    input_length, output_length = valid_lengths(model.config, 1)
    excerpt = noise(1, 2, input_length).requires_grad_()
    model.valid(excerpt)[..., 0, 0, :].sum().backward()
    is_used = excerpt.grad[0].abs().sum(0) > 0
    assert is_used[0]
    assert is_used[-1]
    assert input_length - output_length == 32 * STEP - 18


@torch.no_grad()
def test_a_shift_by_the_total_stride_shifts_the_estimate():
    model = small_model()
    mixture = noise(1, 2, 2000)
    estimate, later = model(mixture), model(mixture[..., STEP:])
    inner = slice(1000, -1000 + STEP)  # away from the ends
    torch.testing.assert_close(later[..., inner], estimate[..., STEP:][..., inner])
    odd = model(mixture[..., STEP // 2 :])
    by_half = estimate[..., STEP // 2 :][..., 900:1000]
    assert (odd[..., 900:1000] - by_half).abs().max() > 1e-6


# ---- the last stem ------------------------------------------------------------------


@torch.no_grad()
def test_stems_sum_to_the_mixture():
    model, mixture = small_model(), noise(2, 2, 700)
    torch.testing.assert_close(model.train()(mixture).sum(1), mixture)
    model.output.weight.mul_(0.1)  # so that nothing is clipped
    model.output.bias.mul_(0.1)
    torch.testing.assert_close(model.eval()(mixture).sum(1), mixture)


@torch.no_grad()
def test_last_stem_is_clipped_in_eval_mode_only():
    model, mixture = small_model(), 5 * noise(1, 2, 700)
    loud = model.train()(mixture)
    assert loud[:, -1].abs().max() > 1
    assert loud[:, :-1].abs().max() <= 1  # tanh
    torch.testing.assert_close(
        model.eval()(mixture), loud.clamp(-1, 1), rtol=0, atol=1e-12
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("changes", "n_predicted"),
    [
        ({}, 3),
        ({"stems": ("vocals", "other")}, 1),
        ({"stems": ("vocals",)}, 1),
        ({"difference": False}, 4),
    ],
    ids=str,
)
def test_how_many_stems_are_predicted(changes, n_predicted):
    model, mixture = small_model(**changes), noise(1, 2, 300)
    assert model.config.n_predicted == n_predicted
    assert model.output.out_channels == 2 * n_predicted
    estimate = model(mixture)
    assert estimate.shape[1] == len(model.config.stems)
    is_rest = torch.allclose(estimate.sum(1), mixture)
    assert is_rest == (n_predicted < len(model.config.stems))


# ---- weights and config -------------------------------------------------------------


def official_weights(model):
    """As TensorFlow stores them: a convolution per stem, (samples, in, out)."""
    blocks = [*model.encoder, model.bottleneck, *model.decoder]
    pairs = [(block[0].weight, block[0].bias) for block in blocks]
    rows = model.config.channels
    pairs += zip(
        model.output.weight.split(rows), model.output.bias.split(rows), strict=True
    )
    values = {"separator_solver/beta1_power": torch.ones(())}
    for number, (weight, bias) in enumerate(pairs):
        prefix = "separator/conv1d" + (f"_{number}" if number else "")
        values[f"{prefix}/kernel"] = weight.detach().permute(2, 1, 0).numpy()
        values[f"{prefix}/bias"] = bias.detach().numpy()
    return values


@torch.no_grad()
def test_official_weights_find_their_place():
    model, other = small_model(), create_model("wave_u_net", **SMALL).double().eval()
    mixture = noise(1, 2, 300)
    assert not torch.equal(model(mixture), other(mixture))
    load_official(other, official_weights(model))
    assert torch.equal(model(mixture), other(mixture))


def test_official_weights_that_do_not_fit_are_named():
    weights, model = official_weights(small_model()), small_model(filters=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"separator/conv1d/kernel .*\(3, 2, 15\).*\(4, 2, 15\)"
    ):
        load_official(model, weights)
    del weights["separator/conv1d_9/bias"]
    with pytest.raises(CheckpointError, match="no variable separator/conv1d_9/bias"):
        load_official(small_model(), weights)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_levels": 0}, "n_levels"),
        ({"filters": 0}, "filters"),
        ({"kernel": 14}, "kernel must be odd"),
        ({"merge_kernel": -1}, "merge_kernel must be odd"),
        ({"segment": 0.0}, "segment"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("wave_u_net", **changes)


@torch.no_grad()
def test_first_weights_are_those_of_tensorflow():
    model = create_model("wave_u_net")
    deep, output = model.decoder[0][0].weight, model.output.weight
    for weight, fan in ((deep, 5 * (600 + 288)), (output, 26 + 2)):
        bound = (6 / fan) ** 0.5
        assert 0.9 * bound < weight.abs().max() <= bound
    assert not any(p.any() for n, p in model.named_parameters() if n.endswith("bias"))

"""What is Conv-TasNet's own; see also tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.inspect.inside import look_inside
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise

SMALL = {
    "n_filters": 16,
    "filter_length": 80,
    "hop_length": 40,
    "bottleneck": 8,
    "hidden": 12,
    "n_blocks": 3,
    "n_repeats": 2,
    "mask": "relu",
}


def small_model(**changes):
    torch.manual_seed(0)
    return create_model("conv_tasnet", "tiny", **(SMALL | changes)).eval()


def test_published_parameter_count():
    model = create_model("conv_tasnet")
    assert sum(p.numel() for p in model.parameters()) == 10_977_872
    model = create_model("conv_tasnet", n_blocks=8)
    assert sum(p.numel() for p in model.parameters()) == 8_852_032


def test_state_has_the_published_names():
    names = set(create_model("conv_tasnet").state_dict())
    last = "separator.network.2.3.9.net.3.net"
    assert {f"{last}.0.weight", f"{last}.1.weight", f"{last}.3.weight"} <= names
    assert {f"{last}.2.gamma", f"{last}.2.beta"} <= names
    assert {"encoder.conv1d_U.weight", "decoder.basis_signals.weight"} <= names
    assert len(names) == 2 + 4 + 40 * 9


@torch.no_grad()
def test_stems_share_out_the_code_with_softmax():
    model = small_model(mask="softmax")
    inside = look_inside(model, noise(1, 2, 4000), ["mask", "encoder", "decoder"])
    frames = (4000 - 80) // 40 + 1
    assert inside["mask"].shape == (1, 4, 16, frames)
    torch.testing.assert_close(inside["mask"].sum(1), torch.ones(1, 16, frames))
    everything = model.decoder(inside["encoder"].unsqueeze(1))
    torch.testing.assert_close(inside["decoder"].sum(1, keepdim=True), everything)


@torch.no_grad()
def test_masks_and_code_are_never_negative():
    inside = look_inside(small_model(), noise(1, 2, 4000), ["mask", "encoder"])
    for value in inside.values():
        assert value.min() == 0
        assert value.max() > 0


@torch.no_grad()
def test_decoder_can_undo_the_encoder():
    model = small_model(channels=1, n_filters=8, filter_length=4, hop_length=2)
    basis = torch.eye(4)[:, [1, 2, 3, 0]] / 2  # every sample lies in two frames
    model.encoder.conv1d_U.weight.copy_(torch.cat([basis, -basis]).unsqueeze(1) * 2)
    model.decoder.basis_signals.weight.copy_(torch.cat([basis, -basis]).T)
    code = model.encoder(noise(1, 1, 100))  # rectified, hence a filter for each sign
    decoded = model.decoder(code.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(decoded[..., 2:-2], noise(1, 1, 100)[..., 2:-2])


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 79, 80, 81, 119, 121, 1000])
def test_every_sample_is_estimated(samples):
    model = small_model()
    model.decoder.basis_signals.weight.fill_(1)
    torch.nn.init.ones_(model.separator.network[3].weight)
    model.separator.network[1].weight.fill_(1)
    model.separator.network[0].beta.fill_(1)
    assert (model(torch.ones(1, 2, samples)) != 0).all()


@torch.no_grad()
def test_causal_model_knows_nothing_of_the_future():
    mixture = noise(1, 2, 8000)
    changed = mixture.clone()
    changed[..., 5000:] = 0
    before = slice(0, 5000 - 80)  # but for the frame that has begun
    causal = small_model(causal=True)
    torch.testing.assert_close(
        causal(mixture)[..., before], causal(changed)[..., before]
    )
    assert not torch.allclose(causal(mixture), causal(changed))
    other = small_model()
    first = slice(0, 80)  # further away than the convolutions reach: through the norms
    assert not torch.allclose(other(mixture)[..., first], other(changed)[..., first])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"mask": "sigmoid"}, "mask 'sigmoid'.*relu, softmax"),
        ({"filter_length": 0}, "filter_length"),
        ({"hop_length": 21}, "hop_length must be from 1 to 20"),
        ({"n_blocks": 0}, "n_blocks"),
        ({"segment": 0.0}, "segment"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("conv_tasnet", **changes)

"""What is Hybrid Demucs' own; see also tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.inspect.inside import look_inside
from mssedu.models.blocks.hybrid import descend
from mssedu.models.hdemucs import from_torchaudio
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise


def tiny_model(**changes):
    torch.manual_seed(0)
    return create_model("hdemucs", "tiny", **changes)


def test_published_parameter_count():
    with torch.device("meta"):
        four, one = create_model("hdemucs"), create_model("hdemucs", stems=("a",))
    assert sum(p.numel() for p in four.parameters()) == 83_637_832
    # A stem more is a kernel of 8 × 48 and a bias for each of its 4 + 2 channels.
    assert sum(p.numel() for p in one.parameters()) == 83_637_832 - 3 * 6 * 385


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 255, 256, 257, 4096])
def test_branches_meet_with_one_step_a_frame(samples):
    model = tiny_model().eval()
    time = descend(model.tencoder[:-1], noise(2, 2, samples))
    frames = -(-samples // 256)  # the hop
    freq = descend(model.encoder[:3], noise(2, 4, 512, frames))
    assert [level.shape[2] for level in freq] == [512, 128, 32, 8]
    assert [level.shape[2] for level in time] == [
        -(-samples // 4**level) for level in range(4)
    ]
    up = model.merge(freq[-1], time[-1])
    assert [x.shape for x in up] == [freq[-1].shape, time[-1].shape]


@torch.no_grad()
def test_each_branch_depends_on_the_other_where_they_merge():
    model = tiny_model().eval()
    freq, time = noise(1, 32, 8, 9), noise(1, 32, 36)
    for freq_in, time_in in ((freq, 0 * time), (0 * freq, time)):
        for ours, changed in zip(
            model.merge(freq, time), model.merge(freq_in, time_in), strict=True
        ):
            assert not torch.allclose(ours, changed)


@torch.no_grad()
def test_the_estimate_is_the_sum_of_both_branches():
    model, mixture = tiny_model().eval(), noise(1, 2, 8000)

    def without(*branches):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        for branch in branches:
            for parameter in getattr(model, branch)[-1].conv_tr.parameters():
                parameter.zero_()
        estimate = model(mixture)
        model.load_state_dict(state)
        return estimate

    by_freq, by_time = without("tdecoder"), without("decoder")
    neither = without("decoder", "tdecoder")  # the mixture's means, which both have
    for part in (by_freq, by_time):
        assert (part - neither).abs().amax((0, 2, 3)).min() > 1e-3
    torch.testing.assert_close(by_freq + by_time - neither, model(mixture))


@torch.no_grad()
def test_loudness_passes_through():
    model, mixture = tiny_model().eval(), noise(1, 2, 8000)
    torch.testing.assert_close(
        model(10 * mixture), 10 * model(mixture), rtol=1e-3, atol=1e-3
    )


def test_attention_and_lstm_can_be_looked_at():
    model = tiny_model()
    names = ["encoder.3.dconv.layers.1.*", "decoder.0", "tdecoder.0"]
    inside = look_inside(model, noise(1, 2, 6000), names)
    assert inside["encoder.3.dconv.layers.1.4.attention"].shape == (1, 4, 24, 24)
    assert inside["encoder.3.dconv.layers.1.3.lstm.cell"].shape == (4, 1, 16)
    assert inside["decoder.0"].shape == (1, 64, 24)
    assert inside["tdecoder.0"].shape == (1, 32, 94)


def test_names_of_torchaudio_become_ours():
    theirs = {
        "freq_encoder.0.conv.weight": 0,
        "time_encoder.0.conv.weight": 1,
        "time_encoder.0.norm1.weight": 2,
        "time_encoder.1.conv.weight": 3,
        "time_encoder.1.norm1.weight": 4,  # the last one's is never used
        "freq_decoder.0.conv_tr.bias": 5,
        "time_decoder.0.norm2.bias": 6,
        "freq_emb.embedding.weight": 7,
    }
    assert from_torchaudio(theirs) == {
        "encoder.0.conv.weight": 0,
        "tencoder.0.conv.weight": 1,
        "tencoder.0.norm1.weight": 2,
        "tencoder.1.conv.weight": 3,
        "decoder.0.conv_tr.bias": 5,
        "tdecoder.0.norm2.bias": 6,
        "freq_emb.embedding.weight": 7,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"dconv_compress": 4, "width": 8, "norm_starts": 5, "context_starts": 5},
        {"norm_starts": 1, "norm_groups": 8},
        {"depth": 4},
        {"depth": 7, "width": 8},
        {"n_fft": 64, "context_starts": 1},
        {"dconv_depth": 0},
        {"channels": 1, "stems": ("instrumental",)},
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_every_config_that_is_allowed_computes_a_single_sample(changes, training):
    model = tiny_model(**changes).train(training)
    config = model.config
    estimate = model(noise(1, config.channels, 1))
    assert estimate.shape == (1, len(config.stems), config.channels, 1)
    assert estimate.isfinite().all()
    estimate.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_fft": 2048}, "n_fft must be a power of 4 and at least 64, got 2048"),
        ({"n_fft": 16}, "n_fft must be a power of 4"),
        ({"depth": 4}, "depth must be at least 5"),
        ({"width": 0}, "width must be at least 1"),
        ({"norm_starts": 0}, "norm_starts must be at least 1"),
        ({"norm_groups": 5}, "width 48 gives 384 .* level 3: norm_groups 5"),
        ({"dconv_compress": 25}, "width 48 .* at least twice dconv_compress 25"),
        ({"dconv_compress": 5}, "width 48 .* dconv_compress 5 it gives 153 .* 4 heads"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("hdemucs", **changes)

"""The fourteen variants of HTDemucs: sizes and layers of the record, and its flaws."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.blocks.hybrid import hybrid_istft, hybrid_stft
from mssedu.models.htdemucs_resolutions import MixingWeights
from mssedu.models.registry import create_model, model_config
from mssedu.separation.fast import ready
from tests.models.noise import noise

# name: parameters with four stems and with one, of the record's own code
SIZES = {
    "htdemucs": (26_899_536, 26_892_606),
    "htdemucs_p": (58_782_684, 58_776_906),
    "htdemucs_i": (94_985_422, 94_942_780),
    "htdemucs_c": (47_039_240, 47_028_278),
    "htdemucs_s": (33_213_194, 33_185_528),
    "htdemucs_d": (35_627_486, 35_590_604),
    "htdemucs_d2": (77_225_586, 77_194_464),
    "htdemucs_d3": (11_608_974, 11_595_132),
    "htdemucs_d4": (30_047_218, 30_037_984),
    "htdemucs_n": (9_672_811, 9_660_055),
    "htdemucs_nc": (33_127_988, 33_126_830),
    "htdemucs_nf": (27_605_512, 27_574_666),
    "htdemucs_nn": (9_666_623, 9_658_508),
    "htdemucs_dn": (9_727_387, 9_709_483),
    "htdemucs_dnf": (3_450_104, 3_403_190),
}


def levels(widths, kernels, strides, channels):
    """(channels in, channels out, kernel, stride, padding) of each level."""
    rows = zip((channels, *widths), widths, kernels, strides, strict=False)
    return [(*row, (row[2] - row[3]) // 2) for row in rows]


# name: layers of the frequency branch and of the time branch, as the record has them
D = [(16, 8), (8, 4), (8, 4), (4, 2), (4, 2), (2, 1)]
LAYERS = {
    "htdemucs": ((48, 96, 192, 384), [(8, 4)] * 4, 4),
    "htdemucs_p": ((40, 80, 160, 320), [(8, 4)] * 4, 4),
    "htdemucs_i": ((148, 296, 592), [(16, 8)] * 3, 3),
    "htdemucs_c": ((38, 76, 152, 304), [(16, 4)] * 4, 4),
    "htdemucs_s": ((96, 192, 384), [(16, 8)] * 3, 3),
    "htdemucs_d": ((128, 256, 256, 256, 256, 512), D, 6),
    "htdemucs_d2": ((108, 216, 216, 432, 432, 864), [*D[:5], (4, 2)], 6),
    "htdemucs_d3": (
        (24, 60, 120, 240, 360),
        [(32, 4)] * 2 + [(16, 2)] * 2 + [(8, 2)],
        5,
    ),
    "htdemucs_d4": (
        (64, 96, 144, 216, 432),
        [(8, 4)] * 2 + [(16, 4)] * 2 + [(32, 4)],
        5,
    ),
    "htdemucs_n": ((24, 48, 96, 192), [(8, 4)] * 4, 4),
    "htdemucs_nn": ((24, 48, 96, 192), [(8, 4)] * 4, 4),
    "htdemucs_dn": ((24, 48, 96, 192), [(8, 4)] * 4, 4),
    "htdemucs_nf": ((48, 96, 192, 384), [(8, 4)] * 4, 4),
    "htdemucs_dnf": ((16, 32, 64, 128), [(8, 4)] * 4, 4),
    "htdemucs_nc": ((24, 48, 96, 192, 384, 768, 1536), [(8, 2)] * 7, 7),
}
# The levels after those: where the branches merge, and those that both share
MERGED = {
    "htdemucs_p": [(320, 640, 8, 4, 0), (640, 1280, 4, 2, 1)],
    "htdemucs_i": [(592, 592, 8, 8, 0), (592, 592, 4, 1, 1), (592, 592, 4, 1, 1)],
    "htdemucs_c": [(304, 608, 16, 4, 0), (608, 1216, 4, 2, 1)],
}
MERGE_IN_TIME = {
    "htdemucs_p": (320, 640, 8, 4, 2),
    "htdemucs_i": (592, 592, 8, 8, 0),
    "htdemucs_c": (304, 608, 16, 4, 6),
}


def on_meta(name, **changes):
    """A model of the record's size that takes no memory."""
    with torch.device("meta"):
        preset = "lab" if name == "htdemucs" else "paper"
        return create_model(name, preset, **changes)


def convolution(layer):
    conv = layer.conv
    sizes = (conv.kernel_size[0], conv.stride[0], conv.padding[0])
    return (conv.in_channels, conv.out_channels, *sizes)


def tiny(name, **changes):
    torch.manual_seed(0)
    return create_model(f"htdemucs_{name}", "tiny", segment=0.25, **changes)


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts_are_those_of_the_record(name):
    for stems, size in zip((None, ("instrumental",)), SIZES[name], strict=True):
        model = on_meta(name, stems=stems)
        assert sum(p.numel() for p in model.parameters()) == size


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_the_record(name):
    widths, sizes, n_levels = LAYERS[name]
    kernels, strides = zip(*sizes, strict=True)
    model = on_meta(name)
    assert len(widths) == n_levels
    encoders = getattr(model, "encoders", [getattr(model, "encoder", [])])
    for encoder in encoders:
        if name != "htdemucs_nc":  # which has a time branch alone
            expected = levels(widths, kernels, strides, 4) + MERGED.get(name, [])
            assert [convolution(layer) for layer in encoder] == expected
    if hasattr(model, "tencoder"):
        expected = levels(widths, kernels, strides, 2)
        if name in MERGE_IN_TIME:
            expected.append(MERGE_IN_TIME[name])
        assert [convolution(layer) for layer in model.tencoder] == expected
    else:
        assert name in ("htdemucs_nf", "htdemucs_dnf")
    n_spectrograms = {"n": 3, "nn": 3, "dn": 3, "nf": 5, "dnf": 5}
    assert len(encoders) == n_spectrograms.get(name.removeprefix("htdemucs_"), 1)


def test_hops_of_the_record():
    """Eighths of a window in c, s, d3 and d4, halves in i, quarters elsewhere."""
    expected = {"c": 8, "d": 4, "d2": 4, "d3": 8, "d4": 8, "i": 2, "p": 4, "s": 8}
    assert {n: model_config(f"htdemucs_{n}").hops for n in expected} == expected


@pytest.mark.parametrize("hops", [2, 4, 8])
@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1000])
def test_stft_of_other_hops_goes_back(hops, samples):
    smooth = torch.sin(torch.arange(samples, dtype=torch.float64) / 5).expand(1, 1, -1)
    spectrogram = hybrid_stft(smooth, 128, hops)
    assert spectrogram.shape == (1, 1, 64, -(-samples // (128 // hops)))
    back = hybrid_istft(spectrogram, samples, hops)
    assert back.shape == smooth.shape
    if samples == 1000:
        assert (back - smooth)[..., 200:800].abs().max() < 1e-3


@pytest.mark.parametrize("hops", [2, 4, 8])
def test_a_frame_begins_where_the_record_lets_it_begin(hops):
    audio = torch.zeros(1, 1, 1024)
    audio[..., 512] = 1
    energy = hybrid_stft(audio, 128, hops).abs().square().sum((0, 1, 2))
    centroid = (energy * torch.arange(len(energy))).sum() / energy.sum()
    # The middle of a frame is half a hop after its begin, or its begin with 2 hops.
    middle = 512 / (128 // hops) - (0.0 if hops == 2 else 0.5)
    assert abs(float(centroid) - middle) < 0.02


# ---- learned weights ----------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", ["s", "d", "d4"])
def test_mixing_weights_choose_between_input_and_transformer(name):
    model = tiny(name).eval()
    width = model.config.widths[-1]
    freq, time = noise(1, width, 2, 5), noise(1, width, 20)
    model.weight_freq.fill_(-100.0)
    model.weight_time.fill_(100.0)
    x, y = model.relate(freq, time)
    assert torch.equal(x, freq)
    torch.testing.assert_close(y, model.crosstransformer(freq, time)[1])


@pytest.mark.parametrize(("name", "n"), [("s", 0), ("d", 4), ("d2", 4), ("d3", 6)])
def test_weights_that_nothing_reads_are_stored_and_not_trained(name, n):
    unused = tiny(name).unused
    assert (unused.numel(), unused.requires_grad) == (n, False)


@torch.no_grad()
def test_weights_of_the_record_differ_in_training_and_evaluation():
    weights = MixingWeights((3,), mended=False)
    weights.raw.copy_(torch.tensor([2.0, 0.0, 0.0]))
    softmax = weights.raw.softmax(0)
    weights.train()
    average = 0.9 * torch.full((3,), 1 / 3) + 0.1 * softmax
    torch.testing.assert_close(weights(), 0.1 * softmax + 0.9 * average)
    torch.testing.assert_close(weights.average, average)
    assert torch.equal(weights.eval()(), softmax)


@pytest.mark.parametrize("mended", [False, True])
def test_weights_learn_ten_times_slower_in_the_record(mended):
    weights = MixingWeights((3,), mended)
    weights.train()()[0].backward()
    slope = weights.raw.grad.clone()
    weights.raw.grad = None
    weights.raw.softmax(0)[0].backward()
    factor = 1.0 if mended else 0.1
    torch.testing.assert_close(slope, factor * weights.raw.grad)


@torch.no_grad()
@pytest.mark.parametrize("name", ["n", "nn"])
def test_a_mended_model_is_the_same_in_training_and_evaluation(name):
    same = {}
    for mended in (False, True):
        model, mixture = tiny(name, mended=mended), noise(1, 2, 17640)
        model.weights.raw.copy_(torch.tensor([1.0, 0.0, -1.0]))
        trained = model.train()(mixture)
        same[mended] = torch.allclose(trained, model.eval()(mixture), atol=1e-6)
    assert same == {False: False, True: True}


@torch.no_grad()
def test_each_stem_has_weights_of_its_own():
    model, mixture = tiny("nn").eval(), noise(1, 2, 9000)
    before = model(mixture)
    model.fusion.weights.raw[1] += torch.tensor([1.0, 0.0, 0.0])
    changed = (model(mixture) - before).abs().amax((0, 2, 3)) > 0
    assert changed.tolist() == [False, True, False, False]


# ---- parts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p", "i"])
def test_transformers_are_shared_in_p_only(name):
    own = model_config(f"htdemucs_{name}").own_transformers
    assert own == (name == "i")
    sizes = {}
    for wanted in (False, True):
        model = tiny(name, own_transformers=wanted)
        sizes[wanted] = sum(p.numel() for p in model.parameters())
        assert hasattr(model, "cross_up") == wanted
    one = tiny(name)
    twice = [*one.cross_down.parameters(), *one.self_down.parameters()]
    n_norm = 2 * one.config.widths[-2]  # the norm that self-attention does not use
    assert sizes[True] - sizes[False] == sum(p.numel() for p in twice) + n_norm


@torch.no_grad()
@pytest.mark.parametrize("name", ["c", "p", "i"])
def test_branches_depend_on_each_other_where_they_merge(name):
    model = tiny(name).eval()
    n, stride = model.config.n_apart, model.config.stride
    width, bins = model.config.widths[n - 1], model.config.bins_at_merge
    freq, time = noise(1, width, bins, 9), noise(1, width, 9 * stride)
    up = model.merge(freq, time)
    assert [x.shape for x in up] == [freq.shape, time.shape]
    for freq_in, time_in in ((freq, 0 * time), (0 * freq, time)):
        for ours, changed in zip(up, model.merge(freq_in, time_in), strict=True):
            assert not torch.allclose(ours, changed)


@torch.no_grad()
def test_dn_drops_the_waveform_of_its_time_branch_unless_it_is_mended():
    for mended in (False, True):
        model, mixture = tiny("dn", mended=mended).eval(), noise(1, 2, 9000)
        assert model.tdecoder[-1].conv_tr.bias.requires_grad == mended
        before = model(mixture)
        model.tdecoder[-1].conv_tr.weight.mul_(2)
        assert torch.equal(model(mixture), before) != mended


@pytest.mark.parametrize(
    ("name", "mended", "kinds"),
    [
        ("dn", False, (nn.GELU, nn.GELU)),
        ("dnf", False, (nn.Identity, nn.Identity)),
        ("dn", True, (nn.GELU, nn.Identity)),
        ("dnf", True, (nn.GELU, nn.Identity)),
    ],
)
def test_activations_of_the_fusion(name, mended, kinds):
    fusion = tiny(name, mended=mended).fusion
    assert (type(fusion.inner), type(fusion.outer)) == kinds


@torch.no_grad()
@pytest.mark.parametrize("name", ["nf", "n", "dnf"])
def test_a_fusion_has_a_bias_unless_it_is_mended(name):
    silence = torch.zeros(1, 2, 9000)
    assert tiny(name).eval()(silence).abs().max() > 0
    assert tiny(name, mended=True).eval()(silence).abs().max() == 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["s", "d", "c", "i", "nc", "n"])
def test_the_fast_form_gives_the_same(name):
    model, mixture = tiny(name).eval(), noise(1, 2, 9000)
    with ready(model) as forward:
        fast = forward(mixture)
    torch.testing.assert_close(fast, model(mixture), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["d", "i", "nc"])
def test_a_kernel_longer_than_the_signal_gets_zeros(name):
    model = tiny(name, stems=("a",)).train()
    for samples in (1, 2, 5):
        assert model(noise(1, 2, samples)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("s", {"hops": 3}, "hops must be 2, 4 or 8"),
        ("s", {"kernels": (16, 16)}, "widths, kernels and strides must have one"),
        ("s", {"kernels": (16, 15, 16)}, "kernels: 15 does not fit the stride 8"),
        ("s", {"kernels": (16, 4, 16)}, "kernels: 4 does not fit"),
        ("s", {"strides": (8, 0, 8)}, "strides must be at least 1"),
        ("s", {"n_fft": 1000}, "n_fft must be a multiple of 1024"),
        ("s", {"widths": (96, 192, 8)}, "widths must be at least 16"),
        ("d", {"widths": (128, 256, 256, 256, 250, 512)}, "widths: 250 .* 4 groups"),
        ("s", {"widths": (96, 192, 390)}, "widths ends with 390 .* t_heads 8"),
        ("c", {"stride": 3, "kernel_size": 9}, "stride must be even"),
        ("c", {"kernel_size": 15}, "kernel_size must be stride 4 plus an even"),
        ("c", {"shared_stride": 3}, "shared_stride must be 1, 2 or 4"),
        ("c", {"n_fft": 6144}, "n_fft must be 2, 4 or 8 times"),
        ("c", {"widths": (38, 76)}, r"len\(widths\) must be at least 6"),
        ("c", {"widths": (38, 76, 152, 302, 606, 1216)}, "widths: 302 .* 4 groups"),
        ("c", {"dconv_depths": (2, 0)}, "dconv_depths must be two numbers"),
        ("p", {"t_cross_heads": 7}, "widths: 160 .* t_cross_heads 7"),
        ("i", {"t_self_heads": 9}, "widths: 592 .* t_self_heads 9"),
        ("nc", {"kernel_size": 7}, "kernel_size must be stride 2 plus an even"),
        ("nc", {"width": 25, "norm_starts": 1}, "width 25 .* 4 groups"),
        ("n", {"n_ffts": (2048, 1000)}, "n_ffts must be multiples of 512, got 1000"),
        ("n", {"n_ffts": ()}, r"len\(n_ffts\) must be at least 1"),
        ("n", {"width": 25, "norm_starts": 1}, "width 25 .* 4 groups"),
        ("n", {"t_heads": 7}, "width 24 gives .* 192 .* t_heads 7"),
        ("n", {"fusion": "unnet"}, "Did you mean 'unet'"),
    ],
    ids=str,
)
def test_wrong_config_is_named(name, changes, text):
    with pytest.raises(InputError, match=text):
        model_config(f"htdemucs_{name}", **changes)

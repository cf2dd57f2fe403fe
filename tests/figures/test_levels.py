"""Drawings of the HTDemucs variants: what is drawn equals the layers."""

import pytest
import torch

import mssedu as ms
from mssedu.errors import InputError
from mssedu.figures.levels import branches, levels_figure


def new(name):
    with torch.device("meta"):
        return ms.create_model(name, "tiny")


def test_a_bar_and_a_number_for_each_level():
    model = new("htdemucs_nc")
    (axes,) = levels_figure({"nc": model}).axes
    config = model.config
    assert len(axes.patches) == config.depth
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == sorted(widths, reverse=True)
    texts = [text.get_text() for text in axes.texts]
    for level in range(config.depth):
        assert str(config.width * 2**level) in texts
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{config.kernel_size}/{config.stride}"] * config.depth


def test_a_branch_for_each_spectrogram_and_the_waveform():
    model = new("htdemucs_n")
    found = branches(model)
    names = [f"STFT {n_fft}" for n_fft in model.config.n_ffts]
    assert [branch.name for branch in found] == [*names, "waveform"]
    for branch, n_fft in zip(found, model.config.n_ffts, strict=False):
        assert branch.levels[0].positions == n_fft / 2 / 4
        assert tuple(level.width for level in branch.levels) == model.config.widths
    seconds = found[-1].levels[-1].positions
    assert seconds == model.config.sample_rate / 4**model.config.depth


def test_levels_that_both_branches_share_are_a_branch_below():
    model = new("htdemucs_p")
    freq, time, shared = branches(model)
    n_apart = model.config.n_apart
    assert len(freq.levels) == len(time.levels) == shared.first == n_apart
    assert n_apart + len(shared.levels) == len(model.config.widths)
    assert shared.levels[-1].width == model.config.widths[-1]
    alt = levels_figure({"p": model}).alt
    assert "attention: 1 cross, 1 self, both ways" in alt


def test_attention_and_fusion_are_named():
    alt = levels_figure({name: new(f"htdemucs_{name}") for name in ("s", "nn", "d3")})
    of_s, of_nn, of_d3 = alt.alt.split("; ")
    assert of_s.endswith("attention: 2 layers")
    assert of_nn.endswith("linear attention: 2 layers, fusion: weights")
    assert "attention" not in of_d3


def test_another_network_is_refused():
    with pytest.raises(InputError, match="no encoders as HTDemucs has"):
        levels_figure({"u": new("spleeter")})
    with pytest.raises(InputError, match="models is empty"):
        levels_figure({})

"""Figures: what is drawn equals what was measured, and nothing global is touched."""

import subprocess
import sys

import pytest
import torch
from matplotlib.figure import Figure

from mssedu.errors import InputError
from mssedu.figures.sound import mask_figure, spectrogram_figure, waveform_figure
from mssedu.spectral import stft

SAMPLE_RATE = 44100


def tone(hz: float, seconds: float = 0.5, gain: float = 0.5) -> torch.Tensor:
    time = torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return gain * torch.sin(2 * torch.pi * hz * time).repeat(2, 1)


def image_of(figure: Figure, panel: int = 0) -> torch.Tensor:
    return torch.as_tensor(figure.axes[panel].images[0].get_array().copy())


def test_figures_need_no_pyplot():
    code = (
        "import io, sys, torch, mssedu.figures as figures\n"
        "figure = figures.spectrogram_figure(torch.ones(1, 5000), 44100)\n"
        "figure.savefig(io.BytesIO(), format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figures_leave_the_global_style_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    waveform_figure(tone(440), SAMPLE_RATE)
    assert dict(matplotlib.rcParams) == before


def test_linear_spectrogram_shows_the_stft_in_db():
    audio = torch.randn(2, 20000, generator=torch.Generator().manual_seed(0))
    figure = spectrogram_figure(
        audio, SAMPLE_RATE, n_fft=1024, hop_length=256, frequency="linear"
    )
    power = stft(audio, 1024, 256).abs().square().mean(0)
    torch.testing.assert_close(image_of(figure), 10 * torch.log10(power / power.max()))
    left, right, low, high = figure.axes[0].images[0].get_extent()
    assert (right - left) == pytest.approx(power.shape[1] * 256 / SAMPLE_RATE)
    assert left == pytest.approx(-128 / SAMPLE_RATE)  # frame 0 is centered on 0 s
    assert (low + high) / 2 == pytest.approx(SAMPLE_RATE / 4)
    assert figure.axes[0].get_ylim() == (0, SAMPLE_RATE / 2)


@pytest.mark.parametrize("hz", [110.0, 1000.0, 9000.0])
def test_log_spectrogram_puts_a_tone_at_its_frequency(hz):
    figure = spectrogram_figure(tone(hz), SAMPLE_RATE)
    image = image_of(figure)
    _, _, low, high = figure.axes[0].images[0].get_extent()
    row = int(image.mean(1).argmax())
    shown = 2 ** (low + (row + 0.5) / image.shape[0] * (high - low))
    assert shown == pytest.approx(hz, abs=SAMPLE_RATE / 4096)


def test_log_ticks_lie_where_they_say():
    axes = spectrogram_figure(tone(440), SAMPLE_RATE, max_hz=3000).axes[0]
    labels = [float(label.get_text()) for label in axes.get_yticklabels()]
    assert labels == [50, 100, 200, 500, 1000, 2000]
    assert [2**tick for tick in axes.get_yticks()] == pytest.approx(labels, rel=1e-5)


def test_panels_share_one_color_scale():
    quiet, loud = tone(440, gain=0.05), tone(440, gain=0.5)
    figure = spectrogram_figure({"quiet": quiet, "loud": loud}, SAMPLE_RATE)
    assert image_of(figure, 1).max() == pytest.approx(0.0, abs=1e-4)
    assert image_of(figure, 0).max() == pytest.approx(-20.0, abs=1e-3)
    limits = {axes.images[0].get_clim() for axes in figure.axes[:2]}
    assert limits == {(-80.0, 0.0)}


def test_spectrogram_labels_and_units():
    panels = {"a": tone(100), "b": tone(200), "c": tone(300)}
    axes = spectrogram_figure(panels, SAMPLE_RATE, columns=2).axes
    assert [a.get_title(loc="left") for a in axes[:3]] == ["a", "b", "c"]
    assert not axes[3].get_visible()  # two by two, and three panels
    assert axes[0].get_ylabel() == "Frequency (Hz)"
    assert axes[2].get_xlabel() == "Time (seconds)"
    assert axes[4].get_ylabel() == "Level (dB re loudest)"


def test_a_silent_sound_is_drawn_as_the_floor():
    image = image_of(spectrogram_figure(torch.zeros(1, 5000), SAMPLE_RATE))
    assert bool((image < -80).all())


def test_mask_picture_is_the_mask():
    mask = torch.rand(2, 513, 7, generator=torch.Generator().manual_seed(0))
    figure = mask_figure(
        {"drums": mask}, SAMPLE_RATE, hop_length=256, frequency="linear"
    )
    torch.testing.assert_close(image_of(figure), mask.mean(0))
    assert figure.axes[0].images[0].get_clim() == (0.0, 1.0)
    assert figure.axes[1].get_ylabel() == "Mask (share kept)"


def test_a_label_that_ends_in_a_number_is_not_read_with_the_amplitude():
    sound = torch.zeros(1, 100)
    sound[0, 50] = 2.0
    alt = waveform_figure({"hop 256": sound}, 100).alt
    assert alt == "Highest amplitudes: hop 256 reaches 2 at 0.5 s."


def test_long_waveforms_keep_their_extremes():
    audio = torch.zeros(1, 100_000)
    audio[0, 5000], audio[0, 7000] = 0.9, -0.7
    axes = waveform_figure(audio, 1000, start=3.0).axes[0]
    points = axes.collections[0].get_paths()[0].vertices
    assert points[:, 1].max() == pytest.approx(0.9)
    assert points[:, 1].min() == pytest.approx(-0.7)
    assert axes.get_xlim()[0] == pytest.approx(3.0)
    assert axes.get_xlabel() == "Time (seconds)"


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda: spectrogram_figure(torch.zeros(9), 44100), "audio must be"),
        (lambda: spectrogram_figure({"a": torch.zeros(1, 0)}, 44100), "audio.'a'. "),
        (lambda: spectrogram_figure({}, 44100), "audio is empty"),
        (lambda: waveform_figure(torch.full((1, 4), torch.nan), 44100), "NaN"),
        (lambda: spectrogram_figure(tone(9), 44100, frequency="mel"), "frequency"),
        (lambda: spectrogram_figure(tone(9), 44100, max_hz=1e6), "max_hz"),
        (lambda: spectrogram_figure(tone(9), 44100, columns=0), "columns"),
        (lambda: mask_figure({}, 44100), "masks is empty"),
        (lambda: mask_figure({"a": torch.ones(3, 4)}, 44100), r"\(3, 4\)"),
    ],
)
def test_errors_say_what_is_wrong(draw, word):
    with pytest.raises(InputError, match=word):
        draw()

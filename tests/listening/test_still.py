"""The picture of a widget in a saved notebook: small, with its sounds and names."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from mssedu.listening import ABSwitch, MaskLab, Player, StemMixer
from mssedu.listening.widgets.still import WIDTH, Lane, picture_data, wave

RATE = 8000


def noise(seconds=4.0):
    made = torch.Generator().manual_seed(0)
    return 0.6 * torch.rand(2, round(seconds * RATE), generator=made) - 0.3


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_wave_is_the_peak_under_each_column():
    sound = torch.zeros(1, RATE)
    sound[0, RATE // 2] = -0.5
    peaks = wave(sound)
    assert peaks[len(peaks) // 2] == 0.5
    assert np.count_nonzero(peaks) == 1
    assert wave(torch.full((2, 3), 4.0)).max() == 1  # shorter than the picture is wide


def test_a_loud_sound_covers_more_than_a_quiet_one():
    def covered(level):
        lane = Lane("a", wave(level * noise()), "#ff0000")
        pixels = np.asarray(opened(picture_data("x", [lane], [])[0])).astype(int)
        return ((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).sum()

    assert covered(1.0) > 3 * covered(0.25) > 0


def widgets():
    stems = {name: noise() for name in ("vocals", "drums", "bass", "other")}
    names = ["original", "ours", "theirs", *"456789"]
    return {
        "Player": Player(noise(), RATE, "noise"),
        "ABSwitch": ABSwitch(dict.fromkeys(names, noise()), RATE),
        "StemMixer": StemMixer(stems, RATE, sum(stems.values())),
        "MaskLab": MaskLab(noise(), RATE, stems),
    }


@pytest.mark.parametrize("name", ["Player", "ABSwitch", "StemMixer", "MaskLab"])
def test_every_widget_has_a_small_picture(name):
    data, metadata = widgets()[name]._repr_mimebundle_()
    assert len(base64.b64decode(data["image/png"])) < 15_000
    assert metadata["image/png"]["alt"].startswith(f"{name}(")
    assert opened(data["image/png"]).width == WIDTH


@pytest.mark.parametrize(
    "name", ["drums by the GLU network", "drums, true magnitude, true phase", "W" * 40]
)
def test_a_long_name_ends_before_its_waveform(name):
    pixels = np.asarray(opened(picture_data("x", [Lane(name)], [])[0]).convert("L"))
    gap = pixels[1:40, 124:129]  # the waveform begins at 130
    assert (gap == 255).all()
    assert (pixels[1:40, 10:120] < 200).any()


def test_long_names_that_begin_alike_stay_different():
    names = "drums, true magnitude, mixture phase", "drums, true magnitude, true phase"
    one, two = (picture_data("x", [Lane(name)], [])[0] for name in names)
    assert one != two


def test_a_mask_darkens_its_picture():
    lab = MaskLab(noise(), RATE)
    before = lab._lanes()[0].content.sum()
    lab.threshold_db = 0.0
    assert lab._lanes()[0].content.sum() < before


def test_the_picture_is_the_same_each_time():
    lanes = [Lane("a", wave(noise()))]
    assert picture_data("x", lanes, []) == picture_data("x", lanes, [])

"""Checks pass what they should, and else say what is wrong and what to do."""

import math

import numpy as np
import pytest
import torch

from mssedu.errors import (
    AudioFileError,
    CheckpointError,
    DatasetError,
    DiskError,
    InputError,
    MssEduError,
    SetupError,
    check_axes,
    check_finite,
    check_mixture,
    check_name,
    check_range,
    missing_package,
)


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [
        (InputError, ValueError, 2),
        (AudioFileError, OSError, 1),
        (DatasetError, ValueError, 2),
        (CheckpointError, RuntimeError, 2),
        (SetupError, RuntimeError, 3),
        (DiskError, OSError, 1),
    ],
)
def test_errors_are_ours_and_builtin(kind, builtin, exit_code):
    assert issubclass(kind, MssEduError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == exit_code
    assert str(kind("plain words")) == "plain words"


def test_check_name_returns_a_known_name():
    assert check_name("model", "b", iter(["b", "a"])) == "b"


def test_check_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(InputError, match=r"'spleeter'\?.*: open_unmix, spleeter\."):
        check_name("model", "splet", ["spleeter", "open_unmix"])


def test_check_name_says_where_the_name_stands():
    with pytest.raises(InputError, match=r"^song 3: unknown stem 'x'"):
        check_name("stem", "x", ["pipa"], where="song 3")


LOSSES = ["waveform_mse", "waveform_l1", "spectrogram_l1", "thresholded_snr"]


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("l1", LOSSES, "waveform_l1"),  # the shortest that contains it
        ("mse", LOSSES, "waveform_mse"),
        ("L1", LOSSES, "waveform_l1"),
        ("sdr", ["csdr", "nsdr", "si_sdr", "usdr"], "usdr"),
        ("snr_loss", ["snr", "l1"], "snr"),
        ("htdemucs_6s_mine", ["demucs", "htdemucs", "htdemucs_6s"], "htdemucs_6s"),
        ("Dizi", ["pipa", "dizi"], "dizi"),
        ("DIZZI", ["pipa", "dizi"], "dizi"),
        ("dizi", ["Pipa", "Dizi"], "Dizi"),
        ("dizzi", ["PIPA", "DIZI"], "DIZI"),
        ("waveform_l2", LOSSES, "waveform_l1"),  # contains none, is in none
    ],
)
def test_check_name_finds_parts_of_names_in_any_case(name, known, near):
    with pytest.raises(InputError, match=rf"Did you mean '{near}'\?"):
        check_name("loss", name, known)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("", ["ab"]),
        ("b", ["cbahtdemucs"]),
        ("quiet", ["t", "u"]),
        ("zzz", ["spleeter"]),
    ],
)
def test_check_name_suggests_nothing_where_nothing_is_near(name, known):
    with pytest.raises(InputError, match=r"Choose one of: [\w, ]+\.$") as caught:
        check_name("trial", name, known)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_check_range_includes_closed_ends(value):
    check_range("overlap", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_check_range_rejects_outside(value):
    with pytest.raises(InputError, match=r"^overlap must be from 0 to 1, got"):
        check_range("overlap", value, 0, 1)


@pytest.mark.parametrize("value", ["0.5", None, (0.5,)])
def test_check_range_takes_numbers_only(value):
    with pytest.raises(InputError, match="overlap must be a number, got"):
        check_range("overlap", value, 0, 1)


def test_check_range_excludes_open_ends():
    with pytest.raises(InputError, match=r"from 0 to 1 \(1 excluded\), got 1\."):
        check_range("overlap", 1, 0, 1, high_open=True)
    with pytest.raises(InputError, match=r"segment must be greater than 0, got 0\."):
        check_range("segment", 0, 0, low_open=True)
    with pytest.raises(InputError, match=r"shifts must be at least 0, got -1\."):
        check_range("shifts", -1, 0)
    check_range("overlap", 0.5, 0, 1, low_open=True, high_open=True)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 2, 100), r"\(1, 2, 100\)\. Drop the first axis: audio\[0\]"),
        ((100,), r"\(100,\)\. Add the axis channels: audio\[None\]"),
        ((2, 0), "axis samples has no entry"),
        ((1, 1, 2, 3), "Reshape it to 2 axes"),
    ],
)
def test_check_axes_names_the_shape_as_given_and_the_remedy(shape, words):
    with pytest.raises(InputError, match=words):
        check_axes("audio", torch.zeros(shape), ("channels", "samples"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((2, 9)), r"got ndarray\. .*torch\.as_tensor\(mixture\)"),
        ((torch.zeros(2, 9), 44100), "got tuple.*give the audio alone"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_tensor_is_named(value, words):
    with pytest.raises(InputError, match=words):
        check_mixture(value, 2, batch=False)


def test_check_mixture_accepts_any_float_mixture():
    check_mixture(torch.zeros(1, 2, 1), 2)
    check_mixture(torch.zeros(3, 1, 10, dtype=torch.float64), 1)
    check_mixture(torch.zeros(2, 10), 2, batch=False)


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        (torch.zeros(2, 100), r"\(2, 100\)\. Add the axis batch: mixture\[None\]"),
        (torch.zeros(1, 1, 100), r"\(1, 1, 100\) has 1\. Use .*match_channels"),
        (torch.zeros(1, 2, 0), "axis samples has no entry"),
        (torch.zeros(1, 2, 9).short(), r"float type, got torch\.int16"),
    ],
)
def test_check_mixture_names_the_remedy(mixture, words):
    with pytest.raises(InputError, match=words):
        check_mixture(mixture, 2)


def test_check_finite_accepts_finite():
    check_finite("audio", torch.ones(2, 3, 4), 44100)


def test_check_finite_finds_the_first_of_any_channel():
    audio = torch.zeros(2, 44100)
    audio[0, 30000] = math.nan
    audio[1, 22050] = -math.inf
    words = r"audio has 2 NaN or Inf values, the first at sample 22050 \(0\.500 s\)"
    with pytest.raises(InputError, match=words):
        check_finite("audio", audio, 44100)


def test_check_finite_takes_one_axis():
    with pytest.raises(InputError, match=r"has 1 NaN .* at sample 1 \(1\.000 s\)"):
        check_finite("audio", torch.tensor([0.0, math.inf]), 1)


def test_missing_package_gives_the_install_command():
    error = missing_package("reading MP3", "av", "pip install av")
    assert isinstance(error, SetupError)
    assert str(error).endswith("Install it with: pip install av")

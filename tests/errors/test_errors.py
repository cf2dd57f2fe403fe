"""Every check passes what it should and names what, where and the remedy otherwise."""

import math

import pytest
import torch

from mssedu import errors as checks
from mssedu.errors import (
    AudioFileError,
    CheckpointError,
    DatasetError,
    InputError,
    MssEduError,
    SetupError,
    check_finite,
    check_mixture,
    check_name,
    check_range,
)


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [
        (InputError, ValueError, 2),
        (AudioFileError, OSError, 1),
        (DatasetError, ValueError, 2),
        (CheckpointError, RuntimeError, 2),
        (SetupError, RuntimeError, 3),
    ],
)
def test_errors_are_ours_and_builtin(kind, builtin, exit_code):
    assert issubclass(kind, MssEduError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == exit_code
    assert str(kind("plain words")) == "plain words"


def test_message_has_one_form():
    text = checks.message("stft", "an even n_fft ≥ 2", 7, "Add 1 to it.")
    assert text == "stft: expected an even n_fft ≥ 2, got 7. Add 1 to it."


def test_check_name_returns_a_known_name():
    assert check_name("create_model", "model", "b", iter(["b", "a"])) == "b"


def test_check_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"\['open_unmix', 'spleeter'\], got 'splet'"):
        check_name("create_model", "model", "splet", ["spleeter", "open_unmix"])
    with pytest.raises(InputError, match=r"Did you mean 'spleeter'\?"):
        check_name("create_model", "model", "splet", ["spleeter", "open_unmix"])


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
        check_name("loss", "loss", name, known)


@pytest.mark.parametrize(("name", "known"), [("", ["ab"]), ("b", ["cbahtdemucs"])])
def test_a_single_letter_is_no_part_of_a_name(name, known):
    with pytest.raises(InputError, match="Pick one of these"):
        check_name("Design", "trial", name, known)
    with pytest.raises(InputError, match="Pick one of these"):
        check_name("Design", "trial", "quiet", ["t", "u"])


def test_check_name_lists_all_when_nothing_is_near():
    with pytest.raises(InputError, match=r"got 'zzz'\. Pick one of these"):
        check_name("create_model", "model", "zzz", ["spleeter", "open_unmix"])


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_check_range_includes_closed_ends(value):
    check_range("f", "overlap", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_check_range_rejects_outside(value):
    with pytest.raises(InputError, match=r"f: expected overlap in \[0, 1\], got"):
        check_range("f", "overlap", value, 0, 1)


def test_check_range_excludes_open_ends():
    with pytest.raises(InputError, match=r"overlap in \[0, 1\), got 1"):
        check_range("f", "overlap", 1, 0, 1, high_open=True)
    with pytest.raises(InputError, match=r"overlap in \(0, inf\], got 0"):
        check_range("f", "overlap", 0, 0, low_open=True)
    check_range("f", "overlap", 0.5, 0, 1, low_open=True, high_open=True)


def test_check_mixture_accepts_any_float_mixture():
    check_mixture("Model", torch.zeros(1, 2, 1), 2)
    check_mixture("Model", torch.zeros(3, 1, 10, dtype=torch.float64), 1)


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        (torch.zeros(2, 100), r"got \(2, 100\)\. Add or remove axes"),
        (torch.zeros(1, 1, 100), r"\(1, 1, 100\)\. Use .*match_channels\(mixture, 2\)"),
        (torch.zeros(1, 2, 0), r"got \(1, 2, 0\)\. Give at least one sample"),
        (torch.zeros(1, 2, 9).short(), r"mixture\.float\(\); its dtype is torch.int16"),
    ],
)
def test_check_mixture_names_the_remedy(mixture, words):
    with pytest.raises(InputError, match=words):
        check_mixture("Model", mixture, 2)


def test_check_finite_accepts_finite():
    check_finite("save_audio", torch.ones(2, 3, 4), 44100)


def test_check_finite_finds_the_first_of_any_channel():
    audio = torch.zeros(2, 44100)
    audio[0, 30000] = math.nan
    audio[1, 22050] = -math.inf
    words = r"got 2 NaN or Inf values, the first at sample 22050 \(0\.500 s\)"
    with pytest.raises(InputError, match=words):
        check_finite("save_audio", audio, 44100)


def test_check_finite_takes_one_axis():
    with pytest.raises(InputError, match=r"got 1 NaN .* at sample 1 \(1\.000 s\)"):
        check_finite("f", torch.tensor([0.0, math.inf]), 1)


def test_missing_package_gives_the_install_command():
    error = checks.missing_package("load_audio", "av", "pip install av")
    assert isinstance(error, SetupError)
    assert str(error).endswith("none installed. Install it with: pip install av")

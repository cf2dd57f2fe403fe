"""The checks that all configs share; each config is also met in test_contract.py."""

from types import SimpleNamespace

import pytest

from mssedu.errors import InputError
from mssedu.models.blocks import check_config, check_stft

GOOD = {"stems": ("a", "b"), "sample_rate": 8000, "channels": 1, "segment": 0.5}


def test_good_values_pass():
    assert check_config(SimpleNamespace(**GOOD)) is None
    assert check_config(SimpleNamespace(**{**GOOD, "stems": ("雨",)})) is None
    assert check_stft("here", 4096, 2048) is None


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"stems": stems}
            for stems in ("ab", ["a", "b"], (), ("a", "a"), ("",), (1,))
        ),
        *({"sample_rate": 0}, {"channels": 0}, {"segment": 0.0}),
    ],
    ids=str,
)
def test_bad_values_are_named(changes):
    with pytest.raises(InputError, match=f"expected {next(iter(changes))}"):
        check_config(SimpleNamespace(**{**GOOD, **changes}))


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "text"),
    [
        (7, 2, "here: expected an even n_fft"),
        (0, 1, "even n_fft"),
        (8, 0, "hop_length"),
        (8, 5, "hop_length in .1, 4."),
    ],
)
def test_stft_without_an_inverse_is_named(n_fft, hop_length, text):
    with pytest.raises(InputError, match=text):
        check_stft("here", n_fft, hop_length)

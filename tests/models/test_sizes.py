"""Absurd configs end in an error before any layer is built; others cost no memory."""

import dataclasses
import resource

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models import contract
from mssedu.models.contract import shown
from mssedu.models.registry import (
    class_of,
    create_model,
    list_models,
    model_config,
    presets_of,
)
from mssedu.models.sizes import MOST_PARAMETERS, outline

every_model = pytest.mark.parametrize("name", list_models())
NUMBERS = [  # every field of every model that is a number or a tuple of numbers
    (name, field.name, value)
    for name in list_models()
    for field in dataclasses.fields(presets_of(name)["paper"])
    if field.name != "stems"
    and not isinstance(value := getattr(presets_of(name)["paper"], field.name), bool)
    and isinstance(value, int | float | tuple)
]


@every_model
def test_the_outline_has_the_tensors_of_the_model(name):
    for config in presets_of(name).values():
        own, real = outline(class_of(name), config), class_of(name)(config).state_dict()
        assert own.keys() == real.keys()
        assert all(tensor.is_meta for tensor in own.values())
        for key, tensor in own.items():
            assert (tensor.shape, tensor.dtype) == (real[key].shape, real[key].dtype)


@every_model
def test_the_outline_leaves_random_numbers_alone(name):
    torch.manual_seed(3)
    model = create_model(name, "tiny").state_dict()
    torch.manual_seed(3)
    alone = class_of(name)(model_config(name, "tiny")).state_dict()
    assert all(torch.equal(model[key], alone[key]) for key in alone)


@pytest.mark.parametrize(("name", "field", "value"), NUMBERS)
def test_a_number_beyond_all_experiments_is_named(name, field, value):
    for absurd in (10**9, 10**5000, -(10**5000), 1e300, float("inf"), float("nan")):
        wrong = (absurd,) if isinstance(value, tuple) else absurd
        with pytest.raises(InputError, match=rf"\b{field}\b") as caught:
            create_model(name, **{field: wrong})
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("name", "field", "value"), NUMBERS)
def test_what_is_no_number_is_named(name, field, value):
    for wrong in ("4", None, True, [4], {"a": 4}, 3 + 4j):
        with pytest.raises(InputError, match=rf"{field} must be a .*, got"):
            create_model(name, **{field: wrong})


@every_model
def test_fields_of_other_kinds_are_checked_too(name):
    for field in dataclasses.fields(presets_of(name)["paper"]):
        value = getattr(presets_of(name)["paper"], field.name)
        wrong = {bool: [1, "yes", None], str: [1, None, ["relu"], "x" * 10**6]}
        for absurd in wrong.get(type(value), []):
            with pytest.raises(InputError, match=rf"\b{field.name}\b") as caught:
                create_model(name, **{field.name: absurd})
            assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("demucs", {"width": 16384, "growth": 16, "depth": 16}),
        ("conv_tasnet", {"hidden": 16384, "bottleneck": 16384, "n_blocks": 16}),
        ("htdemucs", {"n_fft": 2**20, "width": 16384, "depth": 7}),
        ("htdemucs", {"bottom_channels": 16384, "t_hidden_scale": 99}),
        ("hdemucs", {"width": 16384, "depth": 16}),
        ("open_unmix", {"hidden": 16384, "n_layers": 16}),
        ("bs_roformer", {"width": 16384, "n_layers": 99}),
        ("mel_band_roformer", {"width": 16384, "mask_scale": 99}),
        ("scnet", {"widths": (16384,) * 3, "n_layers": 98}),
        ("spleeter", {"filters": (16384,) * 6}),
        ("wave_u_net", {"n_levels": 24, "filters": 16384}),
    ],
    ids=str,
)
def test_a_model_that_would_not_fit_in_memory_is_refused(name, changes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"more than 1e\+09 parameters"):
        create_model(name, **changes)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000  # kB


def test_tensors_of_other_origin_are_counted_at_the_end():
    class Scales(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.scales = nn.Parameter(torch.ones(config))

    assert outline(Scales, MOST_PARAMETERS)["scales"].is_meta
    with pytest.raises(InputError, match=r"more than 1e\+09"):
        outline(Scales, MOST_PARAMETERS + 1)


# ---- names of stems -----------------------------------------------------------------


@pytest.mark.parametrize(
    "stem",
    [
        "../../x",
        "/etc/x",
        "..",
        ".",
        " . ",
        "a/b",
        "a\\b",
        "C:\\x",
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\u2028b",
        "\ud800",
        "x" * 101,
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["spleeter", "conv_tasnet"])
def test_a_stem_that_cannot_name_files_is_refused(name, stem):
    for stems in ((stem,), ("vocals", stem)):
        with pytest.raises(InputError, match=r"stems: .* cannot name files.*another"):
            create_model(name, "tiny", stems=stems)
        with pytest.raises(InputError, match=r"stems: .* cannot name files"):
            dataclasses.replace(model_config(name, "tiny"), stems=stems)


@pytest.mark.parametrize(
    "stem", ["雨", "Ünï", "x" * 100, "...a", "CON", "mix: 1", "lead vocals (male)"]
)
def test_a_stem_may_have_any_other_name(stem):
    assert model_config("spleeter", stems=(stem,)).stems == (stem,)


def test_stems_have_a_largest_number():
    stems = tuple(map(str, range(contract.MOST_STEMS + 1)))
    assert model_config("spleeter", stems=stems[1:]).stems == stems[1:]
    with pytest.raises(InputError, match=r"len\(stems\) must be from 1 to 100"):
        model_config("spleeter", stems=stems)


# ---- values in messages -------------------------------------------------------------


def test_a_message_shows_a_value_in_short():
    assert shown(3) == "3"
    assert shown("vocals") == "'vocals'"
    assert len(shown("x" * 10**7)) < 100
    assert len(shown([list(range(1000))] * 1000)) < 1000
    assert shown(torch.zeros(3)) == "a Tensor"
    assert shown(10**5000) == "a number of more than 4300 digits"
    deep: list = []
    for _ in range(10**5):
        deep = [deep]
    assert len(shown(deep)) < 100


def test_a_whole_number_will_do_where_a_fraction_is_meant():
    model = create_model("hdemucs", "tiny", segment=6, dconv_init=0, dconv_compress=4)
    assert model.config.segment == 6

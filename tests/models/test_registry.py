import dataclasses
import importlib

import pytest

import mssedu
from mssedu.errors import InputError
from mssedu.models import FILES, MODELS
from mssedu.models.registry import create_model, list_models, model_config, presets_of


def test_list_is_sorted_and_public():
    assert list_models() == sorted(MODELS)
    assert {"demucs", "hdemucs", "htdemucs", "open_unmix"} <= {*list_models()}
    assert mssedu.list_models() == list_models()


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_both_presets(name):
    assert {"paper", "tiny"} <= set(presets_of(name))


@pytest.mark.parametrize("name", list_models())
def test_paper_values_are_the_defaults(name):
    config = model_config(name)
    assert config == type(config)()


@pytest.mark.parametrize("name", list_models())
def test_table_of_the_models_names_each(name):
    assert f"`{name}`" in mssedu.models.__doc__


@pytest.mark.parametrize("name", {FILES.get(name, name): 0 for name in list_models()})
def test_every_file_opens_with_the_same_parts_in_the_same_order(name):
    """Idea, signal path with shapes, paper, origin and license, what is left out."""
    head = importlib.import_module(f"mssedu.models.{name}").__doc__
    parts = [
        "    mixture (batch, channels, ",
        "    estimate (batch, stems, channels, ",
        "\nPaper: ",
        "\nOrigin: ",
        "(MIT",
        "\nLeft out: ",
        "\nNotebook: ",
    ]
    places = [head.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_changes_reach_the_model_and_leave_the_preset_alone():
    model = create_model("open_unmix", "tiny", stems=["a", "b"], hidden=4)
    assert model.config == dataclasses.replace(
        model_config("open_unmix", "tiny"), stems=("a", "b"), hidden=4
    )
    assert model_config("open_unmix", "tiny").hidden == 22


@pytest.mark.parametrize(
    ("arguments", "changes", "text"),
    [
        (("spleter",), {}, "model 'spleter'.*Did you mean 'spleeter'"),
        (("spleeter", "tyni"), {}, "preset .*'tyni'.*Did you mean 'tiny'"),
        (("spleeter",), {"n_ftt": 1024}, "config field .*'n_ftt'.*'n_fft'"),
        (("spleeter",), {"stems": "vocals"}, "stems must"),
        (("spleeter",), {"stems": []}, "stems must"),
        (("htdemucs", "6s"), {"stems": ("a", "b")}, r"'6s' .*6 stems .*got 2 \(a, b\)"),
    ],
    ids=["model", "preset", "field", "string", "no stems", "other stems"],
)
def test_unknown_names_are_named_with_the_nearest(arguments, changes, text):
    with pytest.raises(InputError, match=text):
        create_model(*arguments, **changes)

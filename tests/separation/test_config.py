"""Options: checked before any work, and the same in Python as on the command line."""

import ast
import inspect
import math
import textwrap
from dataclasses import fields

import pytest

from mssedu.errors import InputError
from mssedu.separation.config import (
    FileConfig,
    InputOptions,
    OutputOptions,
    QualityOptions,
    SeparateConfig,
    SpeedOptions,
)
from mssedu.separation.files import separate_file
from mssedu.separation.tensors import separate

GROUPS = (QualityOptions, SpeedOptions, InputOptions, OutputOptions)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overlap": 1.0}, "overlap must be from 0 to 1 .1 excluded., got 1.0"),
        ({"overlap": -0.1}, "overlap must be .*got -0.1"),
        ({"segment": 0.0}, "segment must be greater than 0"),
        ({"segment": -3}, "segment must be greater than 0"),
        ({"context": -1.0}, "context must be finite and at least 0"),
        ({"context": math.inf}, "context must be finite"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"shifts": -1}, "shifts must be at least 0"),
        ({"wiener": -1}, "wiener must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"window": "hanning"}, "window.*Did you mean 'hann'"),
        ({"consistency": "energi"}, "consistency.*Did you mean 'energy'"),
        ({"highs": "zero"}, "highs.*Did you mean 'zeros'"),
        ({"other": "plus"}, "other 'plus'"),
        ({"precision": "float17"}, "precision.*Did you mean 'float16'"),
        ({"stems": ("a",), "two_stems": "a"}, "stems .*and two_stems"),
        ({"stems": ("a", "a")}, "'a'"),
    ],
)
def test_ranges_of_a_separation(options, text):
    with pytest.raises(InputError, match=text):
        SeparateConfig(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ext": "aac"}, "ext 'aac'"),
        ({"subtype": "int32"}, "subtype 'int32'"),
        ({"exists": "replace"}, "exists 'replace'"),
        ({"clip": "rescal"}, "clip.*Did you mean 'rescale'"),
        ({"out_rate": "inputs"}, "out_rate.*Did you mean 'input'"),
        ({"nonfinite": "zeros"}, "nonfinite.*Did you mean 'zero'"),
        ({"start_seconds": -1}, "start_seconds must be finite and at least 0"),
        ({"start_seconds": math.inf}, "start_seconds must be finite"),
        ({"duration_seconds": math.inf}, "duration_seconds must be finite"),
        ({"duration_seconds": 0}, "duration_seconds must be .*greater than 0"),
        ({"bitrate": 0}, "bitrate must be at least 1"),
        ({"bitrate": 320}, "bitrate 320 is for mp3 files only, and ext is wav"),
        ({"ext": "flac", "subtype": "float32"}, "float32 is for wav files only"),
    ],
)
def test_ranges_of_files(options, text):
    with pytest.raises(InputError, match=text):
        FileConfig(**options)


def test_segments_of_fractions_and_of_everything():
    assert SeparateConfig(segment=7.8).segment == 7.8
    assert SeparateConfig(segment=float("inf")).segment == float("inf")


# ---- one place defines each option --------------------------------------------------

DOORS = [
    (separate, [SeparateConfig], ["device", "progress"]),
    (separate_file, [FileConfig, SeparateConfig], ["track", "device", "progress"]),
]


@pytest.mark.parametrize(("function", "configs", "more"), DOORS)
def test_a_signature_has_the_fields_of_the_configs(function, configs, more):
    parameters = inspect.signature(function).parameters.values()
    keyword_only = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    options = keyword_only[: -len(more)]
    expected = [field for config in configs for field in fields(config)]
    assert [p.name for p in keyword_only[-len(more) :]] == more
    assert [(p.name, p.default, p.annotation) for p in options] == [
        (field.name, field.default, field.type) for field in expected
    ]


@pytest.mark.parametrize(("function", "configs", "more"), DOORS)
def test_every_argument_has_a_line_in_the_docstring(function, configs, more):
    lines = [line.strip() for line in function.__doc__.splitlines()]
    for name in inspect.signature(function).parameters:
        assert any(line.startswith(f"{name}: ") for line in lines), name


@pytest.mark.parametrize(("function", "configs", "more"), DOORS)
def test_every_option_is_handed_on(function, configs, more):
    """The source says `segment=segment` for each field; none is missing or swapped."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = {
        node.func.id: [(item.arg, ast.unparse(item.value)) for item in node.keywords]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for config in configs:
        names = [field.name for field in fields(config)]
        assert calls[config.__name__] == list(zip(names, names, strict=True))


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_has_a_help_text_of_its_own(group):
    """A comment right above its field, from which the command line takes it."""
    lines = [line.strip() for line in inspect.getsource(group).splitlines()]
    for field in fields(group):
        place = next(i for i, x in enumerate(lines) if x.startswith(f"{field.name}: "))
        assert lines[place - 1].startswith("# "), field.name

"""The tables of arguments agree with the signatures of the original classes."""

import inspect
from types import ModuleType

import pytest

from mssedu.weights.origins import ORIGINS
from tests.parity.peers import import_reference, load_peer


def original_class(name):
    package, _, klass = name.rpartition(".")
    if package in ("demucs.model", "demucs.tasnet"):
        diffq = ModuleType("diffq")
        diffq.DiffQuantizer = diffq.UniformQuantizer = None
        module = package.partition(".")[2]
        return getattr(
            load_peer("demucs", "2.0.3", [module], {"diffq": diffq})[0], klass
        )
    return getattr(import_reference(package), klass)


@pytest.mark.parity
@pytest.mark.parametrize("name", ORIGINS)
def test_every_argument_of_the_original_has_its_place_and_its_default(name):
    origin = ORIGINS[name]
    parameters = inspect.signature(original_class(name)).parameters
    metadata = {"sources", "segment", "segment_length"} & parameters.keys()
    mapped = {*origin.fields, *origin.fixed, *origin.unused}
    assert mapped | metadata == parameters.keys()
    assert origin.fields.keys() == origin.defaults.keys()
    # What stands fixed is the original's default, or its weights would be unreadable.
    for argument, value in {**origin.defaults, **origin.fixed}.items():
        assert parameters[argument].default == value, argument


def test_an_argument_stands_in_one_place():
    for name, origin in ORIGINS.items():
        places = [{*origin.fields}, {*origin.fixed}, {*origin.unused}]
        assert sum(map(len, places)) == len(set.union(*places)), name
        assert len({*origin.fields.values()}) == len(origin.fields), name

"""Models of the registry in the size for tests that run all of them."""

from mssedu.models.contract import segment_limit
from mssedu.models.registry import create_model, model_config

SEGMENT = 0.3  # seconds


def small_model(name, **changes):
    """A tiny model; one that fills its segment with zeros has a short segment.

    With the 6 s of its preset, it would compute 6 s of music for one sample.
    """
    if segment_limit(model_config(name, "tiny")):
        changes = {"segment": SEGMENT, **changes}
    return create_model(name, "tiny", **changes)

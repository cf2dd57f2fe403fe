"""Look at a model: what its layers compute, what it costs, how much context it uses.

inside       the tensors between the layers of a model, by name
receptive    which samples of the mixture one sample of the estimate depends on
complexity   parameters, FLOPs, latency, memory
"""

import lazy_loader

_NAMES = {
    "inside": ["Visit", "inside_names", "look_inside"],
    "complexity": [
        "Complexity",
        "count_flops",
        "measure",
        "peak_memory",
        "time_forward",
    ],
    "receptive": ["ReceptiveField", "receptive_field"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)

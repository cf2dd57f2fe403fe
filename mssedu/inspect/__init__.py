"""Look at a model: what it computes on the way, what it costs, how far it sees.

inside       the tensors between the layers of a model, by name
complexity   parameters, FLOPs, latency, memory
receptive    how many samples of the mixture reach one sample of the estimate
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

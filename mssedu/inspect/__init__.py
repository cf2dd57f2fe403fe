"""Look at a model: what its layers compute, what it costs, how much context it uses.

inside       the tensors between the layers of a model, by name
receptive    which samples of the mixture one sample of the estimate depends on
complexity   parameters, FLOPs, latency, memory
thop         the counts of the package thop, to read figures of others
costs        counts of several models at one length, beside those of a record
attention    operations and time of attention against the length of a sequence
fusion       which spectrogram a model uses for which stem
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
    "thop": ["thop_counts"],
    "costs": ["RECORD", "Counts", "Quoted", "count_costs", "model_at"],
    "attention": ["AttentionCost", "attention_costs", "exponent"],
    "fusion": ["fusion_shares"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)

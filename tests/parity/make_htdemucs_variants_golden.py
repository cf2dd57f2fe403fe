"""Write htdemucs_variants_golden.json: outputs of the record's fourteen models.

Weights and audio come from a fixed random generator (numpy's RandomState), so only the
outputs are stored. Its code has the sizes of this file where they differ from the paper
preset. To write the file again, in an environment with the record's requirements:

    git clone https://github.com/piusssss/demucs_learn && cd demucs_learn
    git checkout c738da8
    git show 825a227:demucs/htdemucs_nf.py > demucs/htdemucs_nf.py
    PYTHONPATH=.:MSSEDU python MSSEDU/tests/parity/make_htdemucs_variants_golden.py
"""

import contextlib
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mssedu.models.registry import create_model

GOLDEN = Path(__file__).with_name("htdemucs_variants_golden.json")
SAMPLES, SEGMENT = 10_000, 12_000  # of the mixture, and what eval mode fills it up to
# name -> (arguments of the record's model, fields of our config)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "c": ({}, {"widths": (16, 32, 64, 128, 256, 512)}),
    "p": ({}, {"widths": (16, 32, 64, 128, 256, 512)}),
    "i": ({}, {"widths": (16, 32, 64, 64, 64, 64)}),
    "s": ({}, {"widths": (16, 32, 64)}),
    "d": ({}, {"widths": (16, 32, 32, 32, 32, 64)}),
    "d2": ({}, {"widths": (16, 32, 32, 64, 64, 128)}),
    "d3": ({}, {"widths": (16, 40, 80, 160, 240)}),
    "d4": ({}, {"widths": (16, 24, 36, 56, 112)}),
    "nc": ({"depth": 4}, {"width": 16, "depth": 4}),
    "n": ({}, {"width": 16}),
    "nn": ({}, {"width": 16}),
    "dn": ({"t_channels": 6}, {"width": 16, "fusion_width": 6}),
    "nf": ({}, {"width": 16}),
    "dnf": ({"t_channels": 6}, {"width": 16, "fusion_width": 6}),
}
STEMS = ("dizi", "pipa")
# Names of ours that are other ones in the record; "name:0" is the first number of it.
SHARED = {
    "mytransformer_en.": "self_down.",
    "mytransformer_de.": "self_up.",
    "crosstransformer_en.": "cross_down.",
    "crosstransformer_de.": "cross_up.",
    "freq_embeddings.": "freq_embs.",
    "fusion_conv.": "fusion.conv.",
    "fusion_unet.": "fusion.",
}
SINGLE = {
    "residual_weight_freq": "weight_freq",
    "residual_weight_time": "weight_time",
    "residual_weight_cross_en": "mix_freq:0",
    "residual_weight_cross_de": "mix_freq:1",
    "residual_weight_cross_en_t": "mix_time:0",
    "residual_weight_cross_de_t": "mix_time:1",
    "residual_weight_2en": "mix_shared:0",
    "residual_weight_2de": "mix_shared:1",
    "fusion_weights": "weights.raw",
    "weight_ema": "weights.average",
    "final_fusion_weights": "fusion.weights.raw",
    "final_weight_ema": "fusion.weights.average",
}


def our_model(name: str) -> nn.Module:
    """Our model of a case, with a value for every parameter, so that each counts."""
    changes = {"segment": SEGMENT / 44100} | CASES[name][1]
    model = create_model(f"htdemucs_{name}", stems=STEMS, **changes)
    generator = np.random.RandomState(1)
    for key, value in sorted(model.named_parameters()):
        numbers = generator.standard_normal(tuple(value.shape))
        if value.ndim > 1:
            numbers /= np.sqrt(np.prod(value.shape[1:]))
        elif "norm" in key and key.endswith("weight"):
            numbers = 1 + numbers / 5
        else:
            numbers = numbers / 5
        value.data.copy_(torch.as_tensor(numbers))
    return model.eval()


def noise() -> Tensor:
    """(1, 2, SAMPLES), of the level of music."""
    generator = np.random.RandomState(7)
    return torch.from_numpy(generator.standard_normal((1, 2, SAMPLES)) / 5).float()


def outputs(model: nn.Module) -> dict[str, Tensor]:
    """Estimates in evaluation, then in training, which moves averages of weights."""
    with torch.no_grad():
        return {"eval": model.eval()(noise()), "train": model.train()(noise())}


def places() -> np.ndarray:
    """Indices of the samples to store."""
    return np.linspace(0, SAMPLES - 1, 24).astype(int)


def main() -> None:
    stored = {}
    for name, (arguments, changes) in CASES.items():
        module = importlib.import_module(f"demucs.htdemucs_{name}")
        first = changes["widths"][0] if "widths" in changes else changes["width"]
        theirs = getattr(module, f"HTDemucs_{name}")(
            list(STEMS), channels=first, segment=SEGMENT / 44100, **arguments
        )
        # A segment of 0.2721… s has 11,999 samples by its rounding.
        theirs.segment = (SEGMENT + 0.5) / 44100
        own = our_model(name).state_dict()
        state = theirs.state_dict()
        for key, value in state.items():
            value.copy_(_of_ours(own, key, name, value))
        theirs.load_state_dict(state)
        with contextlib.redirect_stdout(io.StringIO()):  # some of them print shapes
            estimates = outputs(theirs)
        stored[name] = {
            mode: estimate[0, :, :, places()].double().tolist()
            for mode, estimate in estimates.items()
        }
    GOLDEN.write_text(json.dumps(stored) + "\n", "utf-8")


def _of_ours(own: dict[str, Tensor], key: str, name: str, value: Tensor) -> Tensor:
    """Our value of a tensor of the record; what it never reads stays as it is."""
    new, _, index = SINGLE.get(key, key).partition(":")
    if name == "p":  # whose transformers have plainer names
        new = new.replace("mytransformer.", "self_down.")
        new = new.replace("crosstransformer.", "cross_down.")
    for before, after in SHARED.items():
        new = new.replace(before, after)
    if new not in own:
        assert "residual_weight" in key or "norm_in_t" in key, key
        return value
    return own[new][int(index)] if index else own[new]


if __name__ == "__main__":
    main()

"""Write mmdenselstm_golden.json: outputs of tky823's MMDenseLSTM with random weights.

Each weight is random with a seed from our name for it, so only outputs are stored. They
are computed in double precision, see make_d3net_golden.py. To write the file again:

    git clone https://github.com/tky823/DNN-based_source_separation && git -C \
        DNN-based_source_separation checkout 8663d6f
    PYTHONPATH=DNN-based_source_separation/src \
        python -m tests.parity.make_mmdenselstm_golden DNN-based_source_separation
"""

import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDEN = Path(__file__).with_name("mmdenselstm_golden.json")
FOLDER = "egs/musdb18/mm-dense-lstm/config"
# Our field `lstm` -> the original's configuration
CASES = {
    "after": "lstm-after-dense",
    "parallel": "parallel",
    "before": "lstm-before-dense",
}
BATCH_NORM = 1e-5  # added to the variance; the original has 1e-12
FRAMES = 19
N_PLACES = 150
RENAMED = [  # in this order: a pattern of the original's names -> ours
    (r"^net\.low\.", "paths.bands.0."),
    (r"^net\.middle\.", "paths.bands.1."),
    (r"^net\.high\.", "paths.bands.2."),
    (r"^net\.full\.", "paths.whole."),
    (r"^paths\.bands\.(\d)\.pointwise_conv2d", r"paths.widen.\1"),
    (r"^(paths\.(?:bands\.\d|whole))\.conv2d", r"\1.first"),
    (r"encoder\.net\.(\d)\.dense_block\.net", r"down.\1.layers"),
    (r"\.bottleneck_conv2d\.(?=net|dense_block|bottleneck|rnn|linear)", ".DEEPEST."),
    (r"decoder\.net\.(\d)\.norm2d", r"upsample.\1.0"),
    (r"decoder\.net\.(\d)\.upsample2d", r"upsample.\1.1"),
    (r"decoder\.net\.(\d)\.dense_block\.net", r"up.\1.layers"),
    (r"decoder\.net\.(\d)\.dense_rnn_block\.dense_block\.net", r"up.\1.dense.layers"),
    (r"decoder\.net\.(\d)\.dense_rnn_block\.bottleneck_conv2d", r"up.\1.lstm.reduce"),
    (r"decoder\.net\.(\d)\.dense_rnn_block\.rnn", r"up.\1.lstm.lstm"),
    (r"decoder\.net\.(\d)\.dense_rnn_block\.linear", r"up.\1.lstm.expand"),
    (r"DEEPEST\.net", "DEEPEST.layers"),
    (r"DEEPEST\.dense_block\.net", "DEEPEST.dense.layers"),
    (r"(bands\.2\.DEEPEST)\.bottleneck_conv2d", r"\1.reduce"),
    (r"(bands\.2\.DEEPEST)\.rnn", r"\1.lstm"),
    (r"(bands\.2\.DEEPEST)\.linear", r"\1.expand"),
    (r"DEEPEST\.bottleneck_conv2d", "DEEPEST.lstm.reduce"),
    (r"DEEPEST\.rnn", "DEEPEST.lstm.lstm"),
    (r"DEEPEST\.linear", "DEEPEST.lstm.expand"),
    (r"bands\.([01])\.DEEPEST", r"bands.\1.down.3"),
    (r"bands\.2\.DEEPEST", "bands.2.down.2"),
    (r"whole\.DEEPEST", "whole.down.4"),
    (r"^dense_block\.net", "final.layers"),
    (r"^norm2d", "output.norm"),
    (r"(layers\.\d)\.norm2d", r"\1.0"),
    (r"(layers\.\d)\.conv2d", r"\1.2"),
    (r"^glu2d\.map_gate", "output.gate"),
    (r"^glu2d\.map", "output.value"),
    (r"^bias_in", "standardize.mean"),
    (r"^scale_in", "standardize.deviation"),
    (r"^bias_out", "output.offset"),
    (r"^scale_out", "output.scale"),
]


def our_name(name: str) -> str:
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight by our name: random, and such that no layer dies or explodes."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    noise = generator.standard_normal(shape)
    if len(shape) > 1:
        noise /= np.sqrt(np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var", "deviation", "scale")):
        noise = 1 + 0.2 * np.tanh(noise)
    else:
        noise *= 0.1
    return noise.astype(np.float32)


def magnitude(frames: int = FRAMES) -> np.ndarray:
    """(batch, channels, bins, frames) ≥ 0; 19 frames are an odd number at each size."""
    generator = np.random.RandomState(7)
    noise = generator.standard_normal((1, 2, 2049, frames))
    return np.abs(noise).astype(np.float32)


def weights_of_sum(shape: tuple[int, ...]) -> np.ndarray:
    """Of the outputs, in the scalar whose gradient is stored."""
    return np.random.RandomState(8).standard_normal(shape).astype(np.float32)


def places(size: int) -> np.ndarray:
    """Indices of the values to store, in the flat output."""
    return np.linspace(0, size - 1, N_PLACES).astype(int)


def separate(path: Path) -> dict:
    from models.mm_dense_lstm import MMDenseLSTM

    network = MMDenseLSTM.build_from_config(str(path))
    network.eps = 0.0  # in the input; the deviations are not near it
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = BATCH_NORM
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(value(our_name(name), tuple(tensor.shape))))
    network = network.double().eval()
    mixture = torch.from_numpy(magnitude()).double().requires_grad_()
    estimate = network(mixture)
    scalar = (estimate * torch.from_numpy(weights_of_sum(estimate.shape))).sum()
    (gradient,) = torch.autograd.grad(scalar, mixture)
    chosen = places(estimate.numel())
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "energy": float(estimate.detach().square().sum()),
        "estimate": estimate.detach().flatten()[chosen].tolist(),
        "gradient": gradient.flatten()[chosen].tolist(),
    }


def main(folder: Path) -> None:
    golden = {
        "DNN-based_source_separation": "8663d6fc5c0a224fb347baf766c313837e457bd8",
        "torch": torch.__version__,
        "cases": {
            name: separate(folder / FOLDER / config / "vocals.yaml")
            for name, config in CASES.items()
        },
    }
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Write scnet_golden.json: outputs of the authors' SCNet with random weights.

The release of pymss-core lacks the norm of the spectrogram that the authors' code has
since September 2024. Weights and audio come from a fixed random generator (numpy's
RandomState), so only the outputs are stored. To write the file again:

    git clone https://github.com/starrytong/SCNet && git -C SCNet checkout 5d95bf9
    PYTHONPATH=SCNet python tests/parity/make_scnet_golden.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDEN = Path(__file__).with_name("scnet_golden.json")
SMALL = {"dims": [4, 8, 12, 16], "num_dplayer": 2}
# name -> (arguments of the original, samples)
CASES = {
    "small": (SMALL, 30_001),
    "even": (SMALL, 8192),
    "large": ({**SMALL, "band_SR": [0.225, 0.372, 0.403]}, 20_000),
}


def noise(samples: int) -> np.ndarray:
    """(2, samples), of the level of music."""
    generator = np.random.RandomState(7)
    return generator.standard_normal((2, samples)).astype(np.float32) / 5


def places(samples: int) -> np.ndarray:
    """Indices of the samples to store."""
    return np.linspace(0, samples - 1, 32).astype(int)


def randomized(network: nn.Module) -> nn.Module:
    """A value for every parameter, such that each scale and bias matters."""
    generator = np.random.RandomState(1)
    for name, value in sorted(network.named_parameters()):
        numbers = generator.standard_normal(tuple(value.shape))
        if value.ndim > 1:
            numbers /= np.sqrt(np.prod(value.shape[1:]))
        elif name.endswith("weight"):  # of a norm
            numbers = 1 + numbers / 5
        else:
            numbers /= 10
        value.data.copy_(torch.from_numpy(numbers))
    return network.eval()


def main() -> None:
    from scnet.SCNet import SCNet

    outputs = {}
    for name, (arguments, samples) in CASES.items():
        network = randomized(SCNet(**arguments))
        with torch.no_grad():
            estimate = network(torch.from_numpy(noise(samples))[None])[0]
        outputs[name] = estimate[:, :, places(samples)].tolist()
    GOLDEN.write_text(json.dumps(outputs), "utf-8")


if __name__ == "__main__":
    main()

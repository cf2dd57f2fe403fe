"""Write wave_u_net_golden.json: outputs of the original Wave-U-Net with random weights.

Weights and audio come from a fixed random generator (numpy's RandomState), so only the
outputs are stored. The original is written for TensorFlow 1, which TensorFlow 2 can
still run. To write the file again, in a separate environment:

    git clone https://github.com/f90/Wave-U-Net && git -C Wave-U-Net checkout 75eeae6
    python3.11 -m venv venv
    venv/bin/pip install tensorflow-cpu==2.15.1 numpy==1.26.4
    PYTHONPATH=Wave-U-Net venv/bin/python tests/parity/make_wave_u_net_golden.py
"""

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

GOLDEN = Path(__file__).with_name("wave_u_net_golden.json")
PAPER = {
    "stems": ("bass", "drums", "other", "vocals"),
    "channels": 2,
    "n_levels": 12,
    "filters": 24,
    "kernel": 15,
    "merge_kernel": 5,
    "difference": True,
}
SMALL = {"n_levels": 4, "filters": 3}
# name -> (what differs from the paper's config, samples wanted, training)
CASES = {
    "paper": ({}, 16384, False),
    "small": (SMALL, 3000, False),
    "small_training": (SMALL, 3000, True),
    "small_direct": (SMALL | {"difference": False}, 200, False),
    "small_mono": (SMALL | {"channels": 1, "stems": ("rest", "vocals")}, 77, False),
    "small_kernels": (
        {"n_levels": 3, "filters": 5, "kernel": 9, "merge_kernel": 3},
        2000,
        False,
    ),
}
LENGTHS = (1, 2, 5, 6, 4095, 4101, 16384, 16389, 16390, 661500)


def noise(channels: int, samples: int) -> np.ndarray:
    """(channels, samples)."""
    generator = np.random.RandomState(7)
    return generator.standard_normal((channels, samples)).astype(np.float32) / 4


def places(samples: int) -> np.ndarray:
    """Indices of the samples to store."""
    return np.linspace(0, samples - 1, 16).astype(int)


def variables(changes: dict) -> dict[str, np.ndarray]:
    """A value for each TensorFlow variable, such that no layer dies or saturates."""
    config = PAPER | changes
    channels, filters = config["channels"], config["filters"]
    widths = [filters * level for level in range(1, config["n_levels"] + 2)]
    down = zip([channels, *widths], widths, strict=False)
    kernels = [(config["kernel"], *pair) for pair in down]
    for width in widths[-2::-1]:
        kernels.append((config["merge_kernel"], 2 * width + filters, width))
    n_predicted = len(config["stems"]) - config["difference"]
    kernels += [(1, filters + channels, channels)] * n_predicted
    generator, values = np.random.RandomState(1), {}
    for number, shape in enumerate(kernels):
        prefix = "separator/conv1d" + (f"_{number}" if number else "")
        scale = math.sqrt(2 / math.prod(shape[:2]))
        kernel = generator.standard_normal(shape) * scale
        bias = generator.standard_normal(shape[-1]) * 0.1
        values[f"{prefix}/kernel"] = kernel.astype(np.float32)
        values[f"{prefix}/bias"] = bias.astype(np.float32)
    return values


def original(changes: dict):
    """The original's network for a config in our words."""
    import tensorflow as tf

    # It imports TensorFlow 1, and librosa for a function that is not called here.
    sys.modules["tensorflow"] = tf.compat.v1
    sys.modules.setdefault("librosa", ModuleType("librosa"))
    from Models.UnetAudioSeparator import UnetAudioSeparator

    config = PAPER | changes
    return UnetAudioSeparator(
        {
            "num_layers": config["n_levels"],
            "num_initial_filters": config["filters"],
            "filter_size": config["kernel"],
            "input_filter_size": config["kernel"],
            "merge_filter_size": config["merge_kernel"],
            "output_filter_size": 1,
            "upsampling": "linear",
            "output_type": "difference" if config["difference"] else "direct",
            "output_activation": "tanh",
            "context": True,
            "source_names": config["stems"],
            "mono_downmix": config["channels"] == 1,
        }
    )


def lengths(network, samples: int) -> list[int]:
    """Input and output length that the original chooses for `samples` of output."""
    return [int(shape[1]) for shape in network.get_padding([1, samples, 0])]


def separate(changes: dict, samples: int, training: bool) -> dict:
    """Run the original graph on an excerpt with its context, and on a mixture."""
    network = original(changes)  # first, so that TensorFlow is there
    v1, config = sys.modules["tensorflow"], PAPER | changes
    input_length, output_length = lengths(network, samples)
    context, channels = (input_length - output_length) // 2, config["channels"]
    padded = np.zeros((channels, input_length), np.float32)
    padded[:, context : context + samples] = noise(channels, samples)
    with v1.Graph().as_default(), v1.Session() as session:
        entry = v1.placeholder(v1.float32, [1, input_length, channels])
        outputs = network.get_output(entry, training, reuse=False)
        values = variables(changes)
        for variable in v1.global_variables():  # load() checks the shape
            variable.load(values.pop(variable.op.name), session)
        assert not values, f"Wave-U-Net has no variables {sorted(values)}"
        parameters = sum(math.prod(v.shape.as_list()) for v in v1.trainable_variables())

        def answer(audio: np.ndarray, length: int) -> dict:
            estimates = session.run(outputs, {entry: audio.T[None]})
            estimate = np.stack([estimates[stem][0].T for stem in config["stems"]])
            estimate = estimate[..., :length]
            return {
                "energy": np.square(estimate.astype(np.float64)).sum(-1).tolist(),
                "samples": estimate[..., places(length)].astype(float).tolist(),
                "clipped": int((np.abs(estimate[-1]) == 1).sum()),
            }

        return {
            "parameters": parameters,
            "excerpt": answer(noise(channels, input_length), output_length),
            "mixture": answer(padded, samples),
        }


def main() -> None:
    paper = original({})
    golden = {
        "wave_u_net": "75eeae69953d6688ae7ec863c69146171accf08c",
        "tensorflow": sys.modules["tensorflow"].__version__,
        "numpy": np.__version__,
        "lengths": {samples: lengths(paper, samples) for samples in LENGTHS},
        "cases": {name: separate(*case) for name, case in CASES.items()},
    }
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write spleeter_golden.json: outputs of the original Spleeter with random weights.

Weights and mixture come from a fixed random generator (numpy's RandomState), so only
the outputs are stored. To write the file again, in a separate environment:

    git clone https://github.com/deezer/spleeter && git -C spleeter checkout 64daa5a
    python3.11 -m venv venv
    venv/bin/pip install tensorflow-cpu==2.15.1 numpy==1.26.4 pandas==2.2.3
    PYTHONPATH=spleeter venv/bin/python tests/parity/make_spleeter_golden.py
"""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("spleeter_golden.json")
PUBLISHED_FILTERS = (16, 32, 64, 128, 256, 512)
SMALL = {"n_fft": 512, "hop_length": 128, "bins": 128, "frames": 64}
SMALL_FILTERS = {"filters": (2, 3, 4, 5, 6, 7)}
# name -> (preset, changes of its config, samples of the mixture)
CASES = {
    "paper_2stems": ("paper_2stems", {}, 44100),
    "small_2stems": ("paper_2stems", SMALL | SMALL_FILTERS, 10_000),
    "small_4stems": ("paper", SMALL | SMALL_FILTERS, 8192),
    "small_4stems_average": (
        "paper",
        SMALL | SMALL_FILTERS | {"mask_extension": "average"},
        100,
    ),
    "small_5stems": ("paper_5stems", SMALL | SMALL_FILTERS, 12_345),
}


def mixture(samples: int) -> np.ndarray:
    """Stereo noise, (2, samples)."""
    return np.random.RandomState(7).standard_normal((2, samples)).astype(np.float32) / 5


def places(samples: int) -> np.ndarray:
    """Indices of the samples to store."""
    return np.linspace(0, samples - 1, 12).astype(int)


def variable_shapes(n_stems: int, filters: tuple[int, ...]) -> dict[str, tuple]:
    """Name -> shape of every variable in a Spleeter checkpoint."""
    narrow = (*filters[-2::-1], 1)
    wide = (filters[-1], *(2 * width for width in narrow[:-1]))
    kernels = [(5, 5, *pair) for pair in pairwise((2, *filters))]
    transposed = [(5, 5, *pair) for pair in zip(narrow, wide, strict=True)]
    shapes = {}
    for stem in range(n_stems):
        for kind, layers in (
            ("conv2d", [*kernels, (4, 4, 1, 2)]),
            ("conv2d_transpose", transposed),
        ):
            for number, kernel in enumerate(layers, stem * len(layers)):
                width = kernel[2] if kind == "conv2d_transpose" else kernel[3]
                prefix = f"{kind}_{number}" if number else kind
                shapes |= {f"{prefix}/kernel": kernel, f"{prefix}/bias": (width,)}
        for number, width in enumerate((*filters, *narrow), stem * 2 * len(filters)):
            prefix = "batch_normalization" + (f"_{number}" if number else "")
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                shapes[f"{prefix}/{part}"] = (width,)
    return shapes


def variables(n_stems: int, filters: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A value for each TensorFlow variable, such that no layer dies or saturates."""
    shapes = variable_shapes(n_stems, filters)
    generator = np.random.RandomState(1)
    values = {}
    for name in sorted(shapes):
        shape, kind = shapes[name], name.rsplit("/")[-1]
        value = generator.standard_normal(shape)
        if kind == "kernel":
            # In a transposed convolution a quarter of the kernel meets each output.
            fan_in = math.prod(shape[:2]) * shape[2]
            if name.startswith("conv2d_transpose"):
                fan_in = math.prod(shape[:2]) * shape[3] / 4
            value *= math.sqrt(2 / fan_in)
        elif kind in ("gamma", "moving_variance"):
            value = 1 + 0.5 * np.tanh(value)
        else:
            value *= 0.1
        values[name] = value.astype(np.float32)
    return values


def spleeter_parameters(preset: str, changes: dict) -> dict:
    """The original's parameter file of a case, as a dict."""
    changes = {"n_fft": 4096, "hop_length": 1024, "bins": 1024, "frames": 512} | changes
    stems, kind, encoder, decoder = {
        "paper": (("vocals", "drums", "bass", "other"), "unet.unet", "ELU", "ELU"),
        "paper_2stems": (("vocals", "accompaniment"), "unet.unet", "LeakyReLU", "ReLU"),
        "paper_5stems": (
            ("vocals", "piano", "drums", "bass", "other"),
            "unet.softmax_unet",
            "ELU",
            "ELU",
        ),
    }[preset]
    network = {"conv_activation": encoder, "deconv_activation": decoder}
    if "filters" in changes:
        network["conv_n_filters"] = list(changes["filters"])
    return {
        "mix_name": "mix",
        "instrument_list": stems,
        "n_channels": 2,
        "frame_length": changes["n_fft"],
        "frame_step": changes["hop_length"],
        "T": changes["frames"],
        "F": changes["bins"],
        "separation_exponent": 2,
        "mask_extension": changes.get("mask_extension", "zeros"),
        "model": {"type": kind, "params": network},
    }


def separate(preset: str, changes: dict, samples: int) -> dict:
    """Run the original graph: parameter count, energies, some samples."""
    import tensorflow as tf
    from spleeter.model import EstimatorSpecBuilder, InputProviderFactory

    v1, parameters = tf.compat.v1, spleeter_parameters(preset, changes)
    with tf.Graph().as_default(), v1.Session() as session:
        provider = InputProviderFactory.get(parameters)
        features = provider.get_input_dict_placeholders()
        waveform = features["waveform"]
        outputs = EstimatorSpecBuilder(features, parameters).outputs
        stems = parameters["instrument_list"]
        values = variables(len(stems), changes.get("filters", PUBLISHED_FILTERS))
        for variable in v1.global_variables():  # load() checks the shape
            variable.load(values.pop(variable.op.name), session)
        assert not values, f"Spleeter has no variables {sorted(values)}"
        feed = {waveform: mixture(samples).T}
        estimates = session.run({stem: outputs[stem] for stem in stems}, feed)
        trainable = sum(math.prod(v.shape.as_list()) for v in v1.trainable_variables())
    estimate = np.stack([estimates[stem].T for stem in stems])
    return {
        "parameters": trainable,
        "energy": np.square(estimate.astype(np.float64)).sum(-1).tolist(),
        "samples": estimate[..., places(samples)].astype(float).tolist(),
    }


def main() -> None:
    import tensorflow as tf

    golden = {
        "spleeter": "64daa5a9172aa33ba155f051184528c4e969ad8e",
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "cases": {name: separate(*case) for name, case in CASES.items()},
    }
    GOLDEN.write_text(json.dumps(golden), encoding="utf-8")


if __name__ == "__main__":
    main()

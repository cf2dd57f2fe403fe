"""The architectures, one file each; `mssedu.create_model` builds them by name.

| file          | year | domain                     | parameters, "paper" | notebook |
|---------------|------|----------------------------|---------------------|----------|
| `spleeter`    | 2019 | magnitude, U-Net           | 4 × 9,823,749       | 06       |
| `d3net`       | 2021 | magnitude, dense nets + EM | 11,227,920          | 15       |
| `open_unmix`  | 2019 | magnitude, LSTM + EM       | 4 × 8,893,348       | 08       |
| `wave_u_net`  | 2018 | waveform, U-Net            | 10,263,498          | 09       |
| `conv_tasnet` | 2019 | waveform, learned mask     | 10,977,872          | 09       |
| `demucs`      | 2019 | waveform, U-Net + LSTM     | 265,679,496         | 09       |
| `hdemucs`     | 2021 | both, U-Nets + LSTM        | 83,637,832          | 10       |
| `htdemucs`    | 2022 | both, U-Nets + transformer | 41,984,456          | 11       |
| `resunet_decouple_plus` | 2021 | magnitude and phase, U-Net | 4 × 102,571,278 | 15 |
| `mdx_net`     | 2021 | complex, U-Net + mixer     | 4 × 7,423,236 + 80  | 15       |
| `bs_roformer` | 2023 | mask, bands, transformer   | 219,976,500         | 15       |
| `mel_band_roformer` | 2023 | mask, as above, mel    | 263,639,772         | 15       |
| `scnet`       | 2024 | complex, 3 bands, LSTM     | 10,578,768          | 15       |
| `bsrnn`       | 2023 | mask, bands, LSTM          | 146,655,904         | 15       |
| `mmdenselstm` | 2018 | magnitude, the same + LSTM | 4 × 1,370,784       | 15       |

Fourteen variants of HTDemucs, as a student's record describes them; all are of 2025, of
both domains unless noted, and in notebook 16:

| variant        | file                   | what differs                | parameters |
|----------------|------------------------|-----------------------------|------------|
| `htdemucs_s`   | `htdemucs_levels`      | 3 levels, wide transformer  | 33,213,194 |
| `htdemucs_d`   | `htdemucs_levels`      | kernels that halve          | 35,627,486 |
| `htdemucs_d2`  | `htdemucs_levels`      | wide kernels that halve     | 77,225,586 |
| `htdemucs_d3`  | `htdemucs_levels`      | very wide kernels           | 11,608,974 |
| `htdemucs_d4`  | `htdemucs_levels`      | kernels that double         | 30,047,218 |
| `htdemucs_c`   | `htdemucs_merged`      | merged, convolutions        | 47,039,240 |
| `htdemucs_p`   | `htdemucs_merged`      | merged, 2 transformers      | 58,782,684 |
| `htdemucs_i`   | `htdemucs_merged`      | merged, 4 transformers      | 94,985,422 |
| `htdemucs_n`   | `htdemucs_resolutions` | 3 spectrograms, waveform    | 9,672,811  |
| `htdemucs_nn`  | `htdemucs_resolutions` | as n, a weight per stem     | 9,666,623  |
| `htdemucs_dn`  | `htdemucs_resolutions` | as n, fused by a U-Net      | 9,727,387  |
| `htdemucs_nf`  | `htdemucs_resolutions` | 5 spectrograms, no waveform | 27,605,512 |
| `htdemucs_dnf` | `htdemucs_resolutions` | as nf, fused by a U-Net     | 3,450,104  |
| `htdemucs_nc`  | `htdemucs_nc`          | the waveform alone          | 33,127,988 |

The parameters are those of four stems. Every model maps a mixture (batch, channels,
samples) to an estimate (batch, stems, channels, samples) of the same length and carries
its frozen `config`; no other folder of the package names an architecture.

Read contract.py first: what every model promises, and the checks of their configs. Then
one architecture. stems.py says how stems are named, registry.py builds a model from its
name, sizes.py finds out how large it is before it takes memory, and blocks/ holds the
parts that two architectures share.
"""

import lazy_loader

# name: class. The file of that name holds the class, its config and its PRESETS.
MODELS = {
    "bsrnn": "BSRNN",
    "bs_roformer": "BSRoformer",
    "conv_tasnet": "ConvTasNet",
    "d3net": "D3Net",
    "demucs": "Demucs",
    "hdemucs": "HDemucs",
    "htdemucs": "HTDemucs",
    "htdemucs_c": "HTDemucsC",
    "htdemucs_d": "HTDemucsD",
    "htdemucs_d2": "HTDemucsD2",
    "htdemucs_d3": "HTDemucsD3",
    "htdemucs_d4": "HTDemucsD4",
    "htdemucs_dn": "HTDemucsDN",
    "htdemucs_dnf": "HTDemucsDNF",
    "htdemucs_i": "HTDemucsI",
    "htdemucs_n": "HTDemucsN",
    "htdemucs_nc": "HTDemucsNC",
    "htdemucs_nf": "HTDemucsNF",
    "htdemucs_nn": "HTDemucsNN",
    "htdemucs_p": "HTDemucsP",
    "htdemucs_s": "HTDemucsS",
    "mdx_net": "MDXNet",
    "mel_band_roformer": "MelBandRoformer",
    "mmdenselstm": "MMDenseLSTM",
    "open_unmix": "OpenUnmix",
    "resunet_decouple_plus": "ResUNetDecouplePlus",
    "scnet": "SCNet",
    "spleeter": "Spleeter",
    "wave_u_net": "WaveUNet",
}
# Variants that are one idea share a file: name: file. Its PRESETS has them by name.
FILES = {f"htdemucs_{name}": "htdemucs_levels" for name in ("s", "d", "d2", "d3", "d4")}
FILES |= {f"htdemucs_{name}": "htdemucs_merged" for name in ("c", "p", "i")}
_SPECTROGRAMS = ("n", "nn", "dn", "nf", "dnf")
FILES |= {f"htdemucs_{name}": "htdemucs_resolutions" for name in _SPECTROGRAMS}
_NAMES: dict[str, list[str]] = {FILES.get(name, name): [] for name in MODELS}
for _name, _model in MODELS.items():
    _NAMES[FILES.get(_name, _name)] += [_model, f"{_model}Config"]
_NAMES |= {
    "contract": [
        "ModelConfig",
        "check_config",
        "check_odd",
        "check_stft",
        "chunk_seconds",
        "config_of",
        "device_of",
        "eval_mode",
        "grouping_of",
        "pick_device",
        "prepare",
        "segment_limit",
        "shown",
        "stem_bandwidth_hz",
    ],
    "registry": [
        "class_of",
        "create_model",
        "list_models",
        "model_config",
        "presets_of",
    ],
    "sizes": ["outline"],
    "stems": ["StemRule", "parse_stem", "resolve", "stem_names"],
    "blocks": [],
}
__getattr__, _, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
__all__ += ["FILES", "MODELS"]


def __dir__() -> list[str]:
    return __all__

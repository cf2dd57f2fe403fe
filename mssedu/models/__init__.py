"""The architectures, one file each; `mssedu.create_model` builds them by name.

| file          | year | domain                     | parameters, "paper" | notebook |
|---------------|------|----------------------------|---------------------|----------|
| `spleeter`    | 2019 | magnitude, U-Net           | 4 × 9,823,749       | 06       |
| `open_unmix`  | 2019 | magnitude, LSTM + EM       | 4 × 8,893,348       | 08       |
| `wave_u_net`  | 2018 | waveform, U-Net            | 10,263,498          | 09       |
| `conv_tasnet` | 2019 | waveform, learned mask     | 10,977,872          | 09       |
| `demucs`      | 2019 | waveform, U-Net + LSTM     | 265,679,496         | 09       |
| `hdemucs`     | 2021 | both, U-Nets + LSTM        | 83,637,832          | 10       |
| `htdemucs`    | 2022 | both, U-Nets + transformer | 41,984,456          | 11       |

The parameters are those of four stems. Every model maps a mixture (batch, channels,
samples) to an estimate (batch, stems, channels, samples) of the same length and carries
its frozen `config`; nothing else in the package needs to know which one it is.

contract.py says what every model promises, stems.py how stems are named, registry.py
builds a model from its name; blocks/ holds the parts that two of them share.
"""

import lazy_loader

# name: the class; the file of that name holds it, and PRESETS beside it
MODELS = {
    "conv_tasnet": "ConvTasNet",
    "demucs": "Demucs",
    "hdemucs": "HDemucs",
    "htdemucs": "HTDemucs",
    "open_unmix": "OpenUnmix",
    "spleeter": "Spleeter",
    "wave_u_net": "WaveUNet",
}
_NAMES = {
    **{name: [model, f"{model}Config"] for name, model in MODELS.items()},
    "contract": ["ModelConfig", "config_of", "device_of", "eval_mode", "grouping_of"],
    "registry": ["create_model", "list_models", "model_config"],
    "stems": ["StemRule", "parse_stem", "stem_names"],
    "blocks": [],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
__all__ += ["MODELS"]

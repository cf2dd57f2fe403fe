"""How the constructors of the original classes become configs of ours, table by table.

Each argument stands in one of three places: it is a field of our config, perhaps under
another name; it has one value that our model is built for, and any other is refused; or
it matters only before and during training. The defaults are those of the originals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Origin:
    """How the arguments of an original class become our config."""

    model: str  # registry name
    fields: Mapping[str, str]  # argument -> field, with the same meaning
    defaults: Mapping[str, Any]  # of these arguments, where they are not given
    fixed: Mapping[str, Any] = field(default_factory=dict)  # the one value we have
    unused: frozenset[str] = frozenset()  # matter before or during training only
    derive: Callable[[dict[str, Any]], dict[str, Any]] = (
        lambda config: {}
    )  # more fields


def _same(*names: str) -> dict[str, str]:
    """Arguments that our fields are called after."""
    return {name: name for name in names}


COMMON = {"audio_channels": "channels", "samplerate": "sample_rate"}
COMMON_DEFAULTS = {"audio_channels": 2, "samplerate": 44100}

TASNET = Origin(
    "conv_tasnet",
    fields={
        **COMMON,
        "N": "n_filters",
        "L": "filter_length",
        "B": "bottleneck",
        "H": "hidden",
        "P": "kernel_size",
        "X": "n_blocks",
        "R": "n_repeats",
        "mask_nonlinear": "mask",
    },
    defaults={
        **COMMON_DEFAULTS,
        **{"N": 256, "L": 20, "B": 256, "H": 512, "P": 3, "X": 8, "R": 4},
        "mask_nonlinear": "relu",
    },
    # Our causal variant normalizes otherwise.
    fixed={"norm_type": "gLN", "causal": False},
    derive=lambda config: {"hop_length": config["filter_length"] // 2},
)
DEMUCS_2 = Origin(
    "demucs",
    fields={
        **COMMON,
        "channels": "width",
        **_same("growth", "depth", "kernel_size", "stride", "context", "glu"),
        **_same("lstm_layers", "resample", "normalize"),
    },
    defaults={
        **COMMON_DEFAULTS,
        **{"channels": 64, "growth": 2.0, "depth": 6, "kernel_size": 8, "stride": 4},
        **{"context": 3, "glu": True, "lstm_layers": 2},
        **{"resample": True, "normalize": False},
    },
    fixed={"rewrite": True},
    unused=frozenset({"rescale"}),
)
# Spectrogram as complex channels, one band, no Wiener filter: as all published hybrids.
HYBRID: dict[str, Any] = {
    **{"channels_time": None, "wiener_iters": 0, "end_iters": 0, "cac": True},
    **{"wiener_residual": False, "rewrite": True, "multi_freqs": None},
    **{"growth": 2, "freq_emb": 0.2, "emb_scale": 10},
}
IN_TRAINING = {"multi_freqs_depth", "emb_smooth", "dconv_init", "rescale"}

HTDEMUCS = Origin(
    "htdemucs",
    fields={
        **COMMON,
        **{"channels": "width", "nfft": "n_fft", "dconv_comp": "dconv_compress"},
        **_same("depth", "dconv_mode", "dconv_depth", "bottom_channels"),
        **_same("t_layers", "t_heads", "t_hidden_scale"),
        "t_dropout": "dropout",
    },
    defaults={
        **COMMON_DEFAULTS,
        **{"channels": 48, "nfft": 4096, "depth": 4, "dconv_mode": 1},
        **{"dconv_depth": 2, "dconv_comp": 8, "bottom_channels": 0, "t_layers": 5},
        **{"t_heads": 8, "t_hidden_scale": 4.0, "t_dropout": 0.0},
    },
    fixed={
        **HYBRID,
        **{"kernel_size": 8, "stride": 4, "context": 1, "context_enc": 0},
        **{"norm_starts": 4, "t_emb": "sin", "t_norm_in": True, "t_norm_out": True},
        **{"t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True},
        **{"t_max_period": 10000.0, "t_weight_pos_embed": 1.0, "t_gelu": True},
        **{"t_layer_scale": True, "t_cross_first": False, "use_train_segment": True},
        **{"t_sparse_self_attn": False, "t_sparse_cross_attn": False},
        "t_auto_sparsity": False,
    },
    unused=frozenset(
        IN_TRAINING
        | {"time_stride", "norm_groups", "t_max_positions", "t_weight_decay", "t_lr"}
        | {"t_sin_random_shift", "t_cape_mean_normalize", "t_cape_augment"}
        | {"t_cape_glob_loc_scale", "t_mask_type", "t_mask_random_seed"}
        | {"t_sparse_attn_window", "t_global_window", "t_sparsity"}
    ),
)
HDEMUCS = Origin(
    "hdemucs",
    fields={
        **COMMON,
        **{"channels": "width", "nfft": "n_fft", "dconv_comp": "dconv_compress"},
        **_same("depth", "norm_starts", "norm_groups", "dconv_depth"),
    },
    defaults={
        **COMMON_DEFAULTS,
        **{"channels": 48, "nfft": 4096, "dconv_comp": 4, "depth": 6},
        **{"norm_starts": 4, "norm_groups": 4, "dconv_depth": 2},
    },
    fixed={
        **HYBRID,
        **{"hybrid": True, "hybrid_old": False, "kernel_size": 8},
        **{"stride": 4, "time_stride": 2, "context": 1, "context_enc": 0},
        **{"dconv_mode": 1, "dconv_attn": 4, "dconv_lstm": 4},
    },
    unused=frozenset(IN_TRAINING),
)
ORIGINS = {
    "demucs.hdemucs.HDemucs": HDEMUCS,
    "demucs.htdemucs.HTDemucs": HTDEMUCS,
    "demucs.model.Demucs": DEMUCS_2,
    "demucs.tasnet.ConvTasNet": TASNET,
}

"""Parts that two or more architectures share.

dconv         BiLSTM, local attention and DConv: the Demucs family
hybrid        encoder and decoder layers, and the STFT of the two-branch models
transformer   the cross-domain transformer of HTDemucs
dense         dense blocks, and paths of them: MMDenseLSTM and D3Net
magnitude     STFT, statistics and Wiener filter around networks of magnitudes
bands         band split, band merge, complex masks: Band-Split RNN and the RoFormers
rotary        attention with rotary positions, along two axes: the RoFormers
tensorflow    variables of a TensorFlow or NNabla checkpoint into parameters of PyTorch

Letters of all einops patterns: b batch, s stem, c channel, t sample, f bin, m frame,
k band, h head, d feature, r (re, im).
"""

import lazy_loader

_NAMES = {
    "dconv": [
        "BiLSTM",
        "DConv",
        "LayerScale",
        "LocalAttention",
        "cut",
        "join",
        "rescale_",
    ],
    "hybrid": [
        "DecoderLayer",
        "EncoderLayer",
        "FirstConvolution",
        "FrequencyEmbedding",
        "LastConvolution",
        "along_time",
        "climb",
        "descend",
        "fill_segment",
        "hybrid_istft",
        "hybrid_stft",
        "normalize",
    ],
    "transformer": [
        "Attention",
        "CrossAttentionLayer",
        "CrossDomainTransformer",
        "LinearAttention",
        "SelfAttentionLayer",
        "SelfTransformer",
        "sines_1d",
        "sines_2d",
    ],
    "dense": [
        "BandsAndWhole",
        "DenseBlock",
        "DenseConfig",
        "DenseSeparator",
        "GatedOutput",
        "MultiScalePath",
        "NestedDenseBlock",
        "Standardize",
        "connect",
        "norm_convolution",
    ],
    "magnitude": ["any_stft", "bin_statistics", "filter_windows"],
    "bands": [
        "BandMerge",
        "BandSplit",
        "as_features",
        "as_mask",
        "check_bands",
        "mask_network",
    ],
    "rotary": [
        "AxialTransformer",
        "RMSNorm",
        "RotaryAttention",
        "RotaryLayer",
        "RotaryPositions",
        "check_axial",
        "rotate",
    ],
    "tensorflow": ["copy_variables", "from_tensorflow"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)

"""Parts that two or more architectures share.

dconv         BiLSTM, local attention and DConv: the Demucs family
hybrid        encoder and decoder layers, and the STFT of the two-branch models
transformer   the cross-domain transformer of HTDemucs
tensorflow    variables of a TensorFlow checkpoint into parameters of PyTorch

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
        "hybrid_istft",
        "hybrid_stft",
        "normalize",
    ],
    "transformer": [
        "Attention",
        "CrossAttentionLayer",
        "CrossDomainTransformer",
        "SelfAttentionLayer",
        "sines_1d",
        "sines_2d",
    ],
    "tensorflow": ["copy_variables"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)

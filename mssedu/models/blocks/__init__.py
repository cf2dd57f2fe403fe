"""Parts that two or more architectures share.

Letters of all einops patterns: b batch, s stem, c channel, t sample, f bin, m frame,
k band, h head, d feature, r (re, im).
"""

from mssedu.errors import InputError, check_range, message
from mssedu.models.contract import ModelConfig


def check_config(config: ModelConfig) -> None:
    """Raise InputError unless the fields that all models share make sense.

    Stems must be a tuple of different, non-empty names; a single name is a tuple too.
    """
    where, stems = type(config).__name__, config.stems
    is_names = isinstance(stems, tuple) and all(isinstance(s, str) and s for s in stems)
    if not is_names or not stems or len(set(stems)) < len(stems):
        wanted = "stems, a tuple of different names"
        remedy = 'Write ("vocals", "other"), or ("vocals",) for a single stem.'
        raise InputError(message(where, wanted, repr(stems), remedy))
    check_range("sample_rate", config.sample_rate, 1, where=where)
    check_range("channels", config.channels, 1, where=where)
    check_range("segment", config.segment, 0, low_open=True, where=where)


def check_stft(where: str, n_fft: int, hop_length: int) -> None:
    """Raise InputError unless an STFT of these sizes has an inverse.

    A Hann window is zero at its ends, so every sample needs to lie under two windows.
    """
    if n_fft < 2 or n_fft % 2:
        raise InputError(message(where, "an even n_fft ≥ 2", n_fft, "Add 1 to it."))
    check_range("hop_length", hop_length, 1, n_fft // 2, where=where)

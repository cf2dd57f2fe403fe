"""Equal loudness for all versions of an excerpt, and the gain of each version.

    sounds ──BS.1770──▶ LUFS ──to that of the reference──▶ gains ──one joint gain──▶ out

Listeners prefer the louder of two versions, so match them before a comparison, as
listening tests do. Matching hides errors of level: hence the gains are logged, and it
can be turned off. A sound that cannot be measured does not change, and the log says so.

Source: ITU-R BS.1770-4. Notebooks: 01, 13.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mssedu.audio.tensors import loudness_lufs
from mssedu.errors import InputError, check_name

MOST_DB = 20.0  # limit, so that the noise floor of a silent stem is not amplified
PEAK_DB = -1.0  # highest peak of all sounds, dBFS
SHORTEST_SECONDS = 0.4  # one measuring block of the standard


@dataclass(frozen=True)
class Gain:
    """The gain of one sound, and its reason."""

    gain_db: float
    note: str  # why, in a few words


def measured_lufs(sound: Tensor, sample_rate: int) -> tuple[float | None, str]:
    """Loudness of (channels, samples), or None and why it cannot be measured.

    Example:
        >>> measured_lufs(torch.zeros(1, 44100), 44100)
        (None, 'silent')
    """
    if sound.shape[-1] < SHORTEST_SECONDS * sample_rate:
        return None, f"shorter than {SHORTEST_SECONDS} s"
    lufs = loudness_lufs(sound, sample_rate)
    return (lufs, "") if math.isfinite(lufs) else (None, "silent")


def matching_gain(sound: Tensor, target_lufs: float, sample_rate: int) -> Gain:
    """The gain that brings (channels, samples) to a loudness, at most ±20 dB."""
    lufs, reason = measured_lufs(sound, sample_rate)
    if lufs is None:
        return Gain(0.0, f"not matched: {reason}")
    needed_db = target_lufs - lufs
    gain_db = max(-MOST_DB, min(MOST_DB, needed_db))
    if gain_db != needed_db:
        return Gain(gain_db, f"not matched: {needed_db:+.1f} dB would be needed")
    return Gain(gain_db, f"matched from {lufs:.1f} LUFS")


def match_loudness(
    sounds: Mapping[str, Tensor], sample_rate: int, to: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Gain]]:
    """Bring all sounds to one loudness.

    Args:
        sounds: name -> (channels, samples).
        sample_rate: Hz.
        to: label of the sound that gives the target; None, or if it cannot be measured:
            the target is the median of all sounds.

    Returns:
        The sounds, and the gain of each.

    Raises:
        InputError: `to` is not among the sounds.

    Example:
        >>> noise = 0.1 * torch.randn(1, 44100)
        >>> _, gains = match_loudness({"a": noise, "b": noise / 2}, 44100, to="a")
        >>> round(gains["b"].gain_db, 2)
        6.02
    """
    if to is not None:
        check_name("sound", to, sounds)
    measured = {k: measured_lufs(s, sample_rate)[0] for k, s in sounds.items()}
    known = [lufs for lufs in measured.values() if lufs is not None]
    if not known:
        note = Gain(0.0, "not matched: nothing can be measured")
        return dict(sounds), dict.fromkeys(sounds, note)
    own = measured.get(to or "")
    target = statistics.median(known) if own is None else own
    gains = {k: matching_gain(s, target, sample_rate) for k, s in sounds.items()}
    matched = {k: s * 10 ** (gains[k].gain_db / 20) for k, s in sounds.items()}
    return matched, gains


def with_headroom(
    sounds: Mapping[str, Tensor], peak_db: float = PEAK_DB
) -> tuple[dict[str, Tensor], float]:
    """Apply one gain to all sounds, so that none of them clips; it is at most 0 dB.

    Args:
        sounds: name -> (channels, samples).
        peak_db: highest peak allowed, dBFS.

    Returns:
        The sounds, and the gain in dB.

    Raises:
        InputError: peak_db is above full scale.
    """
    if peak_db > 0:
        raise InputError(f"peak_db must be at most 0 dBFS (full scale), got {peak_db}.")
    peak = max(float(sound.abs().max()) for sound in sounds.values())
    gain = min(1.0, 10 ** (peak_db / 20) / peak) if peak else 1.0
    return {k: s * gain for k, s in sounds.items()}, 20 * math.log10(gain)

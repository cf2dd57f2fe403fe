"""Equal loudness for all versions of an excerpt, and what was done to each.

    sounds ──BS.1770──▶ LUFS ──to that of the reference──▶ gains ──one joint gain──▶ out

The louder of two versions is taken for the better one, so tests match them. But level
errors are errors too, which matching hides: the gains are logged, and it can be turned
off. What cannot be measured stays as it is, and the log says so.

Source: ITU-R BS.1770-4. Notebooks: 01, 13.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mssedu.audio.tensors import loudness_lufs
from mssedu.errors import InputError, check_name, message

MOST_DB = 20.0  # more would make a concert of the faint noise of an empty stem
PEAK_DB = -1.0  # highest peak of all sounds, dBFS
SHORTEST_SECONDS = 0.4  # one measuring block of the standard


@dataclass(frozen=True)
class Gain:
    """What was done to the level of one sound."""

    gain_db: float
    note: str  # why, in a few words


def measured_lufs(sound: Tensor, sample_rate: int) -> tuple[float | None, str]:
    """Loudness, or None and the reason why there is none.

    Args:
        sound: (channels, samples).
        sample_rate: Hz.

    Example:
        >>> measured_lufs(torch.zeros(1, 44100), 44100)
        (None, 'silent')
    """
    if sound.shape[-1] < SHORTEST_SECONDS * sample_rate:
        return None, f"shorter than {SHORTEST_SECONDS} s"
    found = loudness_lufs(sound, sample_rate)
    return (found, "") if math.isfinite(found) else (None, "silent")


def matching_gain(sound: Tensor, target_lufs: float, sample_rate: int) -> Gain:
    """The gain that brings a sound to a loudness, at most ±20 dB.

    Args:
        sound: (channels, samples).
        target_lufs: wanted loudness.
        sample_rate: Hz.
    """
    found, reason = measured_lufs(sound, sample_rate)
    if found is None:
        return Gain(0.0, f"not matched: {reason}")
    wanted = target_lufs - found
    gain_db = max(-MOST_DB, min(MOST_DB, wanted))
    if gain_db != wanted:
        return Gain(gain_db, f"not matched: {wanted:+.1f} dB would be needed")
    return Gain(gain_db, f"matched from {found:.1f} LUFS")


def match_loudness(
    sounds: Mapping[str, Tensor], sample_rate: int, to: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Gain]]:
    """Bring all sounds to one loudness.

    Args:
        sounds: name -> (channels, samples).
        sample_rate: Hz.
        to: the sound that stays as it is; None, or where it cannot be measured: the
            median of all.

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
    return {k: s * _factor(gains[k].gain_db) for k, s in sounds.items()}, gains


def with_headroom(
    sounds: Mapping[str, Tensor], peak_db: float = PEAK_DB
) -> tuple[dict[str, Tensor], float]:
    """One gain for all, so that none of them clips; never above 0 dB.

    Args:
        sounds: name -> (channels, samples).
        peak_db: highest peak that may stay, dBFS.

    Returns:
        The sounds, and the gain in dB.

    Raises:
        InputError: a peak above full scale is asked for.
    """
    if peak_db > 0:
        remedy = "Choose a level below full scale."
        raise InputError(message("with_headroom", "peak_db ≤ 0", peak_db, remedy))
    peak = max(float(sound.abs().max()) for sound in sounds.values())
    gain = min(1.0, _factor(peak_db) / peak) if peak else 1.0
    return {k: s * gain for k, s in sounds.items()}, 20 * math.log10(gain)


def _factor(gain_db: float) -> float:
    return float(10 ** (gain_db / 20))

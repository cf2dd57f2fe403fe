"""How each stem fits into a mixture that has a file of its own: lag, sign and gain.

    mixture − all other stems = the stem, as it is in the mixture
    the stem as it is in the mixture ──cross-correlation──▶ lag and sign of the stem
    mixture ≈ Σ gain · stem, by least squares ──────────────▶ gain of each stem

A stem that is late by a few milliseconds sounds right and ruins training: the model is
asked for a sound that is not in the mixture at this time. Each change is proposed only
if it lowers the energy of the residual, mixture − sum of stems, or if the correlation
has one clear peak and none where the stem is now.

Source of the whitened correlation: Knapp, Carter 1976, "The generalized correlation
method for estimation of time delay". Notebook: 05.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

LAG_SECONDS = 10.0  # a lag is looked for up to this length
BETTER_DB = 1.0  # a change must lower the residual by this much
GAIN_DB = 0.5  # a gain is wrong from this difference on
# Of a whitened correlation, relative to the spread of all its values; chance reaches 7.
_CLEAR = 14.0
_NOW = 3  # samples: a peak this near to lag 0 means that the stem is where it should be
_FLAT = 16  # samples
_LEAST_GAIN = 0.2  # a stem with a smaller best gain is not found: -14 dB
_QUIET = 1e-7  # a stem with this part of the mixture's energy is not judged: -70 dB


@dataclass(frozen=True)
class Fit:
    """What to change at one stem, or at all stems alike, so that the mixture fits."""

    stems: tuple[str, ...]  # one stem, or all of them: then the mixture is different
    late: int  # samples by which the stem is behind the mixture; negative: ahead
    inverted: bool
    # factor that the stem needs, after the sign; 1.0: none; about 0: the stem is not in
    # the mixture
    gain: float
    before_db: float  # residual relative to the mixture, with the stems as they are
    after_db: float  # the same after this change and those before it in the list


def fit_stems(
    mixture: NDArray[Any], stems: Mapping[str, NDArray[Any]], sample_rate: int
) -> list[Fit]:
    """The changes that make the stems fit into the mixture; empty if they fit.

    Args:
        mixture: (channels, samples), float.
        stems: name -> the same shape.
        sample_rate: Hz.

    Example:
        >>> drums, voice = np.random.default_rng(0).standard_normal((2, 1, 9000))
        >>> late = {"drums": drums, "voice": np.roll(voice, 30)}
        >>> [(fit.stems, fit.late) for fit in fit_stems(drums + voice, late, 1000)]
        [(('voice',), 30)]
    """
    search = _Search(mixture, stems, sample_rate)
    fits = search.moves()
    return fits + search.gains()


class _Search:
    """The residual of a mixture while its stems are moved, one after the other.

    All sounds are kept as spectra, in which a lag is a product.
    """

    def __init__(
        self, mixture: NDArray[Any], stems: Mapping[str, NDArray[Any]], sample_rate: int
    ) -> None:
        n_samples = mixture.shape[-1]
        self._reach = min(round(LAG_SECONDS * sample_rate), n_samples // 2)
        self._size = fft.next_fast_len(n_samples + self._reach, real=True)
        # One channel of two, so that no usual stereo image cancels itself
        weights = 0.6 ** np.arange(mixture.shape[0], dtype=np.float32)
        total = self._spectrum(weights @ mixture)
        self._mixture_energy = self._energy(total)
        self._stems = {
            name: spectrum
            for name, sound in stems.items()
            if self._energy(spectrum := self._spectrum(weights @ sound))
            > _QUIET * self._mixture_energy
        }
        # What is subtracted from the mixture: each stem, moved and perhaps inverted
        self._placed = dict(self._stems)
        self._residual = total - sum(self._placed.values())

    def _spectrum(self, sound: NDArray[Any]) -> NDArray[Any]:
        centered = sound - sound.mean()  # an offset would fit at every lag
        return fft.rfft(centered.astype(np.float32), self._size)

    def _energy(self, spectrum: NDArray[Any]) -> float:
        return self._product(spectrum, spectrum)

    def _product(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """The sum over all samples of the product of two sounds."""
        both = float(np.vdot(a, b).real) * 2 - float((a[0].conj() * b[0]).real)
        if self._size % 2 == 0:
            both -= float((a[-1].conj() * b[-1]).real)
        return both / self._size

    def _db(self, energy: float) -> float:
        return 10 * math.log10(max(energy / self._mixture_energy, 1e-12))

    # ---- lag and sign ---------------------------------------------------------------

    def moves(self) -> list[Fit]:
        """Move or invert one stem at a time, first the one that helps most."""
        fits: list[Fit] = []
        left = set(self._stems)
        while left:
            now = self._energy(self._residual)
            groups: list[tuple[str, ...]] = [(n,) for n in self._stems if n in left]
            if len(self._stems) > 1 and left == set(self._stems):
                groups.append(tuple(self._stems))
            found = [move for group in groups if (move := self._move(group, now))]
            if not found:
                return fits
            after, stems, lag, sign = min(found, key=lambda move: move[0])
            for name in stems:
                moved = sign * self._moved(self._stems[name], lag)
                self._residual += self._placed[name] - moved
                self._placed[name] = moved
                left.discard(name)
            fits.append(Fit(stems, -lag, sign < 0, 1.0, self._db(now), self._db(after)))
        return fits

    def _move(
        self, stems: Sequence[str], now: float
    ) -> tuple[float, tuple[str, ...], int, int] | None:
        """The best lag and sign of some stems together, and the residual's energy."""
        stem: NDArray[Any] = np.sum([self._placed[name] for name in stems], 0)
        target = self._residual + stem  # the stem as it is in the mixture
        curve = self._correlation(target, stem)
        middle = self._reach
        best = int(abs(curve).argmax())
        lag, sign = best - middle, 1 if curve[best] > 0 else -1
        # Without high frequencies, the peak is flat and its place is a few samples off.
        if abs(lag) <= _FLAT and sign * curve[middle] > 0.8 * sign * curve[best]:
            lag = 0
        if lag == 0 and sign == 1:
            return None
        moved = sign * self._moved(stem, lag)
        if self._product(target, moved) < _LEAST_GAIN * self._energy(moved):
            return None  # it is nowhere in the mixture
        after = self._energy(target - moved)
        here = curve[middle - _NOW : middle + _NOW + 1]
        spread = float(np.median(abs(curve))) + 1e-12
        rival = here.max() if abs(lag) <= _NOW else abs(here).max()
        clear = abs(curve[best]) > max(_CLEAR * spread, 2 * rival) and after < now
        if clear or self._db(now) - self._db(after) >= BETTER_DB:
            return after, tuple(stems), lag, sign
        return None

    def _moved(self, spectrum: NDArray[Any], lag: int) -> NDArray[Any]:
        """A sound that comes `lag` samples later."""
        if not lag:
            return spectrum
        turns = np.arange(len(spectrum)) * (lag % self._size) % self._size
        return spectrum * np.exp(-2j * np.pi * turns / self._size).astype(np.complex64)

    def _correlation(self, target: NDArray[Any], stem: NDArray[Any]) -> NDArray[Any]:
        """Whitened correlation at the lags -reach … reach, in samples."""
        cross = target * stem.conj()
        weight = np.sqrt(abs(cross))
        cross /= weight + 1e-3 * weight.max() + 1e-20
        curve = fft.irfft(cross, self._size)
        return np.concatenate([curve[-self._reach :], curve[: self._reach + 1]])

    # ---- gain -----------------------------------------------------------------------

    def gains(self) -> list[Fit]:
        """The gains of the placed stems that a least-squares fit changes clearly."""
        names = list(self._placed)
        if not names:
            return []
        total = self._residual + sum(self._placed.values())
        placed = [self._placed[name] for name in names]
        gram = np.array([[self._product(a, b) for b in placed] for a in placed])
        shared = np.array([self._product(one, total) for one in placed])
        best = np.linalg.lstsq(gram, shared, rcond=1e-9)[0]
        whole = self._energy(total)

        def energy(gains: NDArray[Any]) -> float:
            fitted = 2 * gains @ shared - gains @ gram @ gains
            return max(whole - float(fitted), 1e-12 * whole)

        def wrong(gain: float) -> bool:
            return gain <= 0 or abs(20 * math.log10(gain)) >= GAIN_DB

        now = energy(np.ones(len(names)))
        common = float(shared.sum() / gram.sum())
        alike = energy(np.full(len(names), common))
        one_gain = wrong(common) and not self._better(alike, energy(best))
        if len(names) > 1 and one_gain and self._better(now, alike):
            before, after = self._db(now), self._db(alike)
            return [Fit(tuple(names), 0, False, common, before, after)]
        fits = []
        for index, name in enumerate(names):
            without = self._refitted(gram, shared, index)
            if wrong(best[index]) and self._better(energy(without), energy(best)):
                before, after = self._db(now), self._db(energy(best))
                fits.append(Fit((name,), 0, False, float(best[index]), before, after))
        return fits

    def _better(self, before: float, after: float) -> bool:
        return self._db(before) - self._db(after) >= BETTER_DB

    @staticmethod
    def _refitted(
        gram: NDArray[Any], shared: NDArray[Any], index: int
    ) -> NDArray[np.float64]:
        """The best gains if the stem of this index keeps the gain 1."""
        others = [i for i in range(len(shared)) if i != index]
        gains = np.ones(len(shared))
        if others:
            rest = shared[others] - gram[others, index]
            kept = gram[np.ix_(others, others)]
            gains[others] = np.linalg.lstsq(kept, rest, rcond=1e-9)[0]
        return gains

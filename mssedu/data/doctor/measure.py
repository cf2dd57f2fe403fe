"""Measure the files of a song in one pass: all that the checks of a data set need.

    files ──blocks, side by side──▶ per file: level, peak, offset, clipping, spectrum
                                ──▶ of all stems: products of each with each (`gram`)
                                ──▶ landmarks of the mixture and of each stem
    mixture ≠ sum of stems ──one minute is read again──▶ lag, sign, gain of each stem

From the products of each stem with each other follow the residual, equal stems and
stems that are the sum of others, for every choice of stems, without reading again. Only
one block of each file is in memory. A file that cannot be read is left out of the sums.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mssedu.audio.containers import opened, probe
from mssedu.audio.tensors import AudioInfo
from mssedu.data.doctor.alignment import Fit, fit_stems
from mssedu.data.doctor.fingerprints import Landmarks, Listener
from mssedu.data.folders import check_file
from mssedu.data.track import MIXTURE, StemFile
from mssedu.errors import AudioFileError

BLOCK = 2**17  # samples that are read at once
SILENT_DB = -70.0  # fainter than this is silence; the noise of a codec is fainter
ALIKE_DB = -40.0  # two sounds are the same if their difference is below this level
ROUNDED_DB = -60.0  # a residual below this level, relative to the mixture, is rounding
STEP_DB = -80.0  # the same relative to full scale: 16 bits leave less, also in 10 files
FIT_SECONDS = 60.0  # length of the part in which the stems are compared to the mixture
MOST_STEMS = 10  # more stems than this are not searched for sums

_FULL, _FLAT = 0.9998, 2e-5  # full scale; equal samples differ by less than a step
_RUN, _EDGE = 3, 1e-3  # samples of a clipped run; the step at its beginning or end
_FFT = 4096  # samples of a frame of the spectrum
# A natural sound has no step in its spectrum; encoders and resamplers leave one.
_STEP_DB, _BELOW_HZ, _GAP_HZ = 25.0, 1500.0, 300.0
_BAND = 8  # bins of the spectrum that are taken together: 86 Hz at 44.1 kHz
_AUDIBLE_HZ = 20600.0  # that a sound ends above this frequency is no fault
_NOTHING_DB = -112.0  # of a bin of the spectrum; the noise of any recording is louder
_LOSSLESS = ("pcm", "flac", "alac", "float", "double", "wavpack", "ape", "tta")


@dataclass(eq=False)
class FileMeasures:
    """What one file holds; numbers are of the samples that could be read."""

    file: StemFile
    info: AudioInfo | None = None  # None: the header cannot be read
    error: str = ""  # why it cannot be read, or not to its end
    damage: tuple[str, ...] = ()  # what was lost of a file that can be read
    samples: int = 0
    peak: float = 0.0
    dc: tuple[float, ...] = ()  # mean of each channel
    rms_db: tuple[float, ...] = ()  # of each channel; -inf for zeros
    side_db: float = -math.inf  # left − right, relative to both
    n_nonfinite: int = 0  # NaN and Inf values
    first_nonfinite: int | None = None  # sample
    n_clipped_runs: int = 0
    cut_hz: float | None = None  # the spectrum ends here with a step

    @property
    def is_lossless(self) -> bool:
        """Whether the format of the file keeps every sample."""
        return self.info is not None and self.info.codec.startswith(_LOSSLESS)

    @property
    def level_db(self) -> float:
        """Level of the loudest channel; -inf for zeros."""
        return max(self.rms_db, default=-math.inf)


@dataclass
class SongMeasures:
    """What the files of a song hold, and how they fit together."""

    name: str
    split: str | None
    files: list[FileMeasures]
    parts: tuple[str, ...] = ()  # the mixture and the stems in `gram`
    gram: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 0)))
    n_samples: int = 0  # of the longest file
    landmarks: dict[str, Landmarks] = field(default_factory=dict)
    fits: list[Fit] = field(default_factory=list)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems that could be read and compared."""
        return tuple(part for part in self.parts if part != MIXTURE)

    @property
    def sample_rate(self) -> int:
        """Of the files that were compared, in Hz; 0 if none could be read."""
        infos = [each.info for each in self.files if each.info]
        return _usual([info.sample_rate for info in infos]) if infos else 0

    @property
    def is_lossless(self) -> bool:
        """Whether the formats of all files keep every sample."""
        return all(each.is_lossless for each in self.files)

    def energy(self, gains: dict[str, float]) -> NDArray[np.float64]:
        """Energy of a sum of parts with gains, of each channel."""
        vector = np.array([gains.get(part, 0.0) for part in self.parts])
        return np.maximum(np.einsum("i,cij,j->c", vector, self.gram, vector), 0.0)

    def level_db(self, part: str) -> float:
        """Level of the loudest channel of a part; -inf for zeros.

        The mixture is the sum of the stems if it has no file.
        """
        gains = {part: 1.0}
        if part == MIXTURE and MIXTURE not in self.parts:
            gains = dict.fromkeys(self.stems, 1.0)
        energy = float(self.energy(gains).max(initial=0.0))
        return _db(energy / max(self.n_samples, 1))

    def sounding(self) -> list[str]:
        """The stems that are not silent."""
        return [stem for stem in self.stems if self.level_db(stem) > SILENT_DB]

    def residual_db(self) -> list[float] | None:
        """mixture − sum of stems, relative to the mixture: all, then each channel.

        None if there is no mixture file, no stem, or the mixture is silent, or if a
        file is not in the sums.
        """
        complete = {each.file.stem for each in self.files} == {*self.parts}
        if MIXTURE not in self.parts or not self.stems or not complete:
            return None
        mixture = self.energy({MIXTURE: 1.0})
        if self.level_db(MIXTURE) <= SILENT_DB:
            return None
        rest = self.energy({MIXTURE: 1.0} | dict.fromkeys(self.stems, -1.0))
        whole = float(rest.sum() / mixture.sum())
        channels = zip(rest, mixture, strict=True)
        return [_db(whole), *(_db(r / max(m, 1e-12)) for r, m in channels)]

    def is_sum(self) -> bool:
        """Whether the mixture is the sum of the stems up to rounding, or not known."""
        residual = self.residual_db()
        if residual is None or residual[0] < ROUNDED_DB:
            return True
        return residual[0] + self.level_db(MIXTURE) < STEP_DB

    def sums(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each stem that equals another one or a sum of others, with the others."""
        sounding = self.sounding()[: MOST_STEMS + 1]
        for part in sounding:
            if found := self._smallest_sum(part, [p for p in sounding if p != part]):
                yield part, found

    def is_mixture(self, stem: str) -> bool:
        """Whether a stem is the mixture, up to what is hardly audible."""
        if self.level_db(MIXTURE) <= SILENT_DB:
            return False
        return self._smallest_sum(MIXTURE, [stem]) is not None

    def _smallest_sum(self, part: str, others: list[str]) -> tuple[str, ...] | None:
        """The fewest of the other stems whose sum is a part; None if there are none."""
        limit = 10 ** (ALIKE_DB / 10) * float(self.energy({part: 1.0}).sum())
        for count in range(1, len(others) + 1):
            for chosen in combinations(others, count):
                rest = self.energy({part: 1.0} | dict.fromkeys(chosen, -1.0))
                if float(rest.sum()) < limit:
                    return chosen
        return None

    def correlation(self, a: str, b: str) -> float:
        """Of two stems, -1 to 1; 0 if one is silent."""
        i, j = self.parts.index(a), self.parts.index(b)
        total = self.gram.sum(0)
        both = math.sqrt(total[i, i] * total[j, j])
        return float(total[i, j]) / both if both else 0.0


def _db(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def _usual(values: Sequence[int]) -> int:
    """The most frequent value."""
    return max(dict.fromkeys(values), key=values.count)


# ---- one pass over all files --------------------------------------------------------


def measure_song(
    name: str,
    split: str | None,
    files: Iterable[StemFile],
    *,
    fingerprint: bool = True,
) -> SongMeasures:
    """Read all files of a song once and measure them; errors become measures.

    Args:
        name, split: of the song.
        files: of the mixture and the stems; files that share a stem are summed.
        fingerprint: also find the landmarks of the mixture and of each stem.
    """
    measures = [FileMeasures(file) for file in files]
    for each in measures:
        try:
            check_file(each.file.path)
            found = probe(each.file.path, each.file.stream)
            each.info, each.damage = AudioInfo(*found[:4]), found[4]
            if each.file.n_samples is not None:  # an excerpt
                each.info = replace(each.info, samples=each.file.n_samples)
        except Exception as error:  # of any library: a bad file is a finding
            each.error = _reason(error)
    song = SongMeasures(name, split, measures)
    alike = _comparable(measures)
    for each in measures:
        if each.info and each not in alike:
            _Pass([each], fingerprint).run()
    while alike:
        run = _Pass(alike, fingerprint)
        broken = run.run()
        if broken is None:
            run.into(song)
            break
        alike.remove(broken)
    if not song.is_sum() and alike:
        with suppress(AudioFileError):
            song.fits = _fits(song, alike)
    return song


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _comparable(measures: list[FileMeasures]) -> list[FileMeasures]:
    """The readable files that have the rate and the channels of most."""
    forms = [(m.info.sample_rate, m.info.channels) for m in measures if m.info]
    if not forms:
        return []
    usual = max(dict.fromkeys(forms), key=forms.count)
    return [
        m for m in measures if m.info and (m.info.sample_rate, m.info.channels) == usual
    ]


class _Pass:
    """Read files of one rate and number of channels side by side, block by block."""

    def __init__(self, measures: list[FileMeasures], fingerprint: bool) -> None:
        self._meters = [_Meter(each) for each in measures]
        self._parts = list(dict.fromkeys(each.file.stem for each in measures))
        info = measures[0].info
        assert info is not None
        self._channels, self._rate = info.channels, info.sample_rate
        self._gram = np.zeros((info.channels, len(self._parts), len(self._parts)))
        self._sums = np.zeros((info.channels, len(self._parts)))
        self._fingerprint = fingerprint
        self._listened = list(dict.fromkeys([MIXTURE, *self._parts]))
        self._listeners = [Listener(info.sample_rate) for _ in self._listened]
        self._n_samples = 0

    def run(self) -> FileMeasures | None:
        """Read to the end; the first file that fails, which has its error then."""
        while True:
            blocks = []
            for meter in self._meters:
                try:
                    blocks.append(meter.next_block())
                except Exception as error:  # of any library
                    meter.measures.error = _reason(error)
                    meter.close()
                    return meter.measures
            length = max(block.shape[-1] for block in blocks)
            if not length:
                break
            self._add(blocks, length)
        for meter in self._meters:
            meter.close()
        return None

    def _add(self, blocks: list[NDArray[Any]], length: int) -> None:
        sounds = np.zeros((len(self._parts), self._channels, length))
        for meter, block in zip(self._meters, blocks, strict=True):
            part = self._parts.index(meter.measures.file.stem)
            sounds[part, :, : block.shape[-1]] += block
        self._gram += np.einsum("icn,jcn->cij", sounds, sounds, optimize=True)
        self._sums += sounds.sum(-1).T
        self._n_samples += length
        if self._fingerprint:
            mono = dict(zip(self._parts, sounds.mean(1), strict=True))
            mono.setdefault(MIXTURE, sounds.mean(1).sum(0))
            for listener, name in zip(self._listeners, self._listened, strict=True):
                listener.add(mono[name])

    def into(self, song: SongMeasures) -> None:
        """Store the sums and the landmarks in a song."""
        song.parts, song.n_samples = tuple(self._parts), self._n_samples
        # An offset is a fault of its own and says nothing about how stems fit together.
        offsets = self._sums[:, :, None] * self._sums[:, None] / self._n_samples
        song.gram = self._gram - offsets
        if self._fingerprint:
            song.landmarks = {
                part: listener.landmarks()
                for part, listener in zip(self._listened, self._listeners, strict=True)
                if song.level_db(part) > SILENT_DB
            }


def _blocks(measures: FileMeasures) -> Generator[NDArray[np.float32], None, None]:
    """The blocks of a file; at its end, what was lost is known."""
    file, info = measures.file, measures.info
    assert info is not None
    start, duration = file.start / info.sample_rate, None
    if file.n_samples is not None:
        duration = file.n_samples / info.sample_rate
    with opened(file.path, start, duration, file.stream, BLOCK) as part:
        yield from (block * np.float32(file.gain) for block in part.blocks)
        measures.damage = part.notes


class _Meter:
    """Measure one file while its blocks are read."""

    def __init__(self, measures: FileMeasures) -> None:
        self.measures = measures
        info = measures.info
        assert info is not None
        self._blocks = _blocks(measures)
        self._rate = info.sample_rate
        measures.samples, measures.peak, measures.n_clipped_runs = 0, 0.0, 0
        measures.n_nonfinite, measures.first_nonfinite = 0, None
        self._sum = np.zeros(info.channels)
        self._squares = np.zeros(info.channels)
        self._side = 0.0
        self._power = np.zeros(_FFT // 2 + 1)
        self._n_frames = 0

    def next_block(self) -> NDArray[np.float32]:
        """The next block without NaN and Inf; an empty one after the end."""
        block, each = next(self._blocks, None), self.measures
        if block is None:
            return np.zeros((len(self._sum), 0), np.float32)
        finite = np.isfinite(block)
        if not finite.all():
            if each.first_nonfinite is None:
                each.first_nonfinite = each.samples + int(finite.all(0).argmin())
            each.n_nonfinite += int((~finite).sum())
            block = np.where(finite, block, 0)
        each.samples += block.shape[-1]
        each.peak = max(each.peak, float(abs(block).max()))
        each.n_clipped_runs += clipped_runs(block)
        exact = block.astype(np.float64)
        self._sum += exact.sum(-1)
        self._squares += np.square(exact).sum(-1)
        if len(block) == 2:
            self._side += float(np.square(exact[0] - exact[1]).sum())
        if each.is_lossless and (n_frames := block.shape[-1] // _FFT):
            frames = block[:, : n_frames * _FFT].reshape(-1, _FFT)
            spectra = np.fft.rfft(frames * np.hanning(_FFT).astype(np.float32))
            self._power += np.square(abs(spectra)).sum(0)
            self._n_frames += len(frames)
        return block

    def close(self) -> None:
        """Close the file and complete the measures."""
        self._blocks.close()
        each, count = self.measures, max(self.measures.samples, 1)
        each.dc = tuple((self._sum / count).tolist())
        each.rms_db = tuple(_db(energy / count) for energy in self._squares)
        both = float(self._squares.sum())
        each.side_db = _db(self._side / both) if both and len(self._sum) == 2 else 0.0
        if self._n_frames and each.level_db > SILENT_DB:
            power = self._power / self._n_frames / (_FFT * 3 / 8) / (_FFT / 2)
            each.cut_hz = spectrum_end(power, self._rate)


# ---- single measures ----------------------------------------------------------------


def clipped_runs(block: NDArray[Any]) -> int:
    """Runs of 3 equal samples or more at full scale, where a wave was cut off.

    A wave that touches full scale has equal samples there, too, if it is slow. So a run
    counts only if it begins or ends with a step, as no slow wave does.

    Args:
        block: (channels, samples).

    Example:
        >>> sine = 1.5 * np.sin(np.arange(44100) * 440 * 2 * np.pi / 44100)[None]
        >>> clipped_runs(sine.clip(-1, 1)), clipped_runs(sine / 1.5)
        (880, 0)
    """
    total = 0
    for channel in block:
        full = abs(channel) >= _FULL
        if not full.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], full, [0]])))
        for start, end in edges.reshape(-1, 2):
            run = channel[start:end]
            if len(run) < _RUN or abs(np.diff(run)).max() > _FLAT:
                continue
            around = [channel[i] for i in (start - 1, end) if 0 <= i < len(channel)]
            total += any(abs(value - run[0]) > _EDGE for value in around)
    return total


def spectrum_end(power: NDArray[Any], sample_rate: int) -> float | None:
    """The frequency in Hz at which a spectrum ends with a step; None without a step.

    Args:
        power: mean power of the bins 0 Hz … half the sample rate.
        sample_rate: Hz.
    """
    width = sample_rate / 2 / (len(power) - 1) * _BAND
    bands = power[: len(power) // _BAND * _BAND].reshape(-1, _BAND)
    level = 10 * np.log10(np.median(bands, 1) + 1e-14)
    gap, below = round(_GAP_HZ / width), round(_BELOW_HZ / width)
    # The loudest band from each one on; the last bands hold what a converter left.
    above = np.maximum.accumulate(level[: round(0.99 * len(level))][::-1])[::-1]
    best, found = _STEP_DB, None
    # The filters of good converters end at 0.94 of half the rate, and higher.
    highest = min(round(0.93 * len(level)), round(_AUDIBLE_HZ / width))
    highest = min(highest, len(above) - gap)
    for end in range(round(3000 / width), highest):
        low, high = np.median(level[end - below : end - gap]), above[end + gap]
        if low - high > best and high < _NOTHING_DB:
            best, found = low - high, end * width
    return found


# ---- the stems in the mixture -------------------------------------------------------


def _fits(song: SongMeasures, measures: list[FileMeasures]) -> list[Fit]:
    """`fit_stems` in the middle minute of a song."""
    rate = song.sample_rate
    length = min(round(FIT_SECONDS * rate), song.n_samples)
    first = (song.n_samples - length) // 2
    sounds: dict[str, NDArray[Any]] = {}
    for each in measures:
        sound = _excerpt(each.file, first, length)
        stem = each.file.stem
        sounds[stem] = sounds[stem] + sound if stem in sounds else sound
    mixture = sounds.pop(MIXTURE)
    return fit_stems(mixture, sounds, rate)


def _excerpt(file: StemFile, first: int, length: int) -> NDArray[np.float32]:
    """Samples of a file, with zeros after its end and in place of NaN and Inf."""
    with opened(file.path, 0.0, None, file.stream, BLOCK) as part:
        sound, at = np.zeros((part.channels, length), np.float32), 0
        for block in part.blocks:
            start, end = max(first - at, 0), min(first + length - at, block.shape[-1])
            if start < end:
                sound[:, at + start - first : at + end - first] = block[:, start:end]
            at += block.shape[-1]
            if at >= first + length:
                break
    return np.nan_to_num(sound, copy=False, nan=0, posinf=0, neginf=0)

"""From a music file to one file per stem, and a report of what was done to it.

    song ─Reader─▶ estimate_blocks ─▶ at the song's rate and channels ─┐
    song, read again in step ─▶ mixture ─ stem ▸ the rest ─────────────┤
                                                                  LevelMeter
    {track}/{stem}.wav ◀── dither, AudioWriter ◀── gain ◀── Spool ◀────┘
    {track}/separation.json, written last

Everything flows in blocks: hours of music take the memory of a few seconds. The stems
come out at the input's sample rate, channels and exact length. Integer formats cannot
hold values beyond ±1: if a stem needs it, all stems of the track are lowered by one
joint gain, so that they still add up. It is known when the last block is; until then
the blocks wait in a temporary file. Notebook: 12.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.audio.stream import Reader, Spool, resample_blocks
from mssedu.audio.tensors import match_channels
from mssedu.audio.writer import AudioWriter
from mssedu.errors import MssEduWarning
from mssedu.models.contract import config_of, device_of, stem_bandwidth_hz
from mssedu.separation.config import SeparateConfig
from mssedu.separation.fallback import with_fallback
from mssedu.separation.file_config import FileConfig
from mssedu.separation.overlap_add import Progress
from mssedu.separation.record import LevelMeter, SeamMeter, Separation, peak_memory_mb
from mssedu.separation.refine import output_names
from mssedu.separation.song import Song
from mssedu.separation.song_files import fill, is_finished, track_name
from mssedu.separation.tensors import estimate_blocks, plan_chunks, settled
from mssedu.weights.checkpoint import weights_sha256

ZEROS = 2**16  # samples of a block of silence


def separate_file(
    model: nn.Module,
    path: str | Path,
    out_dir: str | Path,
    *,
    track: str | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Separation | None:
    """Separate a file and write its stems below `out_dir`, and what was done.

    The numbers are those of `mssedu.separate` for the whole song; the memory is that of
    a few chunks.

    Args:
        track: name for the template; the file's name without suffix if None.
        device, progress: as in `separate`.
        **settings: all fields of `FileConfig` and `SeparateConfig`.

    Returns:
        what separation.json holds; None if the track was skipped.

    Raises:
        AudioFileError: unreadable input, or output that exists.
        InputError: more than two channels, NaN in the file, a bad setting.
    """
    started, path, out_dir = time.perf_counter(), Path(path), Path(out_dir)
    files, config = split_settings(settings)
    if device is not None:
        model.to(device)
    job = Job.of(model, path, out_dir, files, config, track)
    if is_finished([*job.outputs.values(), job.report], files.exists):
        return None
    song = Song.open(path, files)
    if song.scan.peak == 0:
        warnings.warn(f"{path}: the input is silent", MssEduWarning, stacklevel=2)
    model_config = config_of(model)
    samples = song.length(model_config.sample_rate)
    config = settled(song.seeded(config), model_config, samples)
    job.report.unlink(missing_ok=True)  # the mark of completeness is written last

    def run(config: SeparateConfig) -> _Done:
        return _separate(model, song, job, config, progress)

    done = with_fallback(run, model, config)
    report = _report(model, song, job, done, time.perf_counter() - started)
    report.save(job.report)
    return report


def split_settings(settings: dict[str, Any]) -> tuple[FileConfig, SeparateConfig]:
    """The settings of the file and those of the separation, by their names."""
    names = {field.name for field in fields(FileConfig)}
    files = FileConfig(**{k: v for k, v in settings.items() if k in names})
    rest = {k: v for k, v in settings.items() if k not in names}
    return files, SeparateConfig.of(rest)


@dataclass(frozen=True)
class Job:
    """Where the stems of one song go."""

    track: str
    out_dir: Path
    files: FileConfig
    outputs: dict[str, Path]  # stem -> file
    report: Path

    @classmethod
    def of(
        cls,
        model: nn.Module,
        path: Path,
        out_dir: Path,
        files: FileConfig,
        config: SeparateConfig,
        track: str | None,
    ) -> "Job":
        """The job for a file; an InputError for a template that names no place."""
        track = track or track_name(path)
        names = {"track": track, "trackext": path.suffix[1:]}
        names["model"] = type(model).__name__.lower()
        stems = output_names(config, tuple(config_of(model).stems))

        def place(stem: str, ext: str) -> Path:
            return out_dir / fill(files.template, stem=stem, ext=ext, **names)

        outputs = {stem: place(stem, files.ext) for stem in stems}
        return cls(track, out_dir, files, outputs, place("separation", "json"))


@dataclass
class _Done:
    """What is known when the stems are written."""

    config: SeparateConfig  # as used in the end
    sample_rate: int
    channels: int
    seams: SeamMeter
    levels: LevelMeter = field(default_factory=LevelMeter)
    gain: float = 1.0


def _separate(
    model: nn.Module,
    song: Song,
    job: Job,
    config: SeparateConfig,
    progress: Progress | None,
) -> _Done:
    """Separate a song and write its stems, all of them or none."""
    model_config, files = config_of(model), job.files
    rate = song.scan.sample_rate
    if files.out_rate == "model":
        rate = model_config.sample_rate
    channels = song.channels
    if files.keep_stereo:
        channels = max(channels, model_config.channels)
    chunks = plan_chunks(model_config, song.length(model_config.sample_rate), config)
    done = _Done(config, rate, channels, SeamMeter(chunks.seams))
    if song.scan.peak == 0:
        blocks = _silence(song.length(rate), len(job.outputs), channels)
    else:
        blocks = _estimates(model, song, done, progress)
    blocks = _completed(blocks, song, done, len(job.outputs))
    _write(blocks, song.length(rate), job, done)
    return done


def _silence(samples: int, n_stems: int, channels: int) -> Iterator[Tensor]:
    for start in range(0, samples, ZEROS):
        yield torch.zeros(n_stems, channels, min(ZEROS, samples - start))


def _estimates(
    model: nn.Module, song: Song, done: _Done, progress: Progress | None
) -> Iterator[Tensor]:
    """The model's stems, at the rate and channels they are written with."""
    model_config, left = config_of(model), song.length(done.sample_rate)
    rate, samples = model_config.sample_rate, song.length(model_config.sample_rate)
    read = Reader(song.blocks(rate, model_config.channels)).read
    blocks = estimate_blocks(model, read, samples, done.config, progress)
    watched = _watched(blocks, done.seams.add)
    for block in resample_blocks(watched, rate, done.sample_rate, samples):
        part = match_channels(block, done.channels)[..., :left]
        left -= part.shape[-1]
        if part.shape[-1]:
            yield part
    if left:  # the rates round: a sample at the most
        yield torch.zeros(*part.shape[:-1], left)


def _watched(
    blocks: Iterable[Tensor], watch: Callable[[Tensor], None]
) -> Iterator[Tensor]:
    for block in blocks:
        watch(block)
        yield block


def _completed(
    blocks: Iterable[Tensor], song: Song, done: _Done, n_stems: int
) -> Iterator[Tensor]:
    """With the rest of two stems, mixture - stem; the levels are taken on the way."""
    mixture = Reader(song.blocks(done.sample_rate, done.channels))
    position = 0
    for block in blocks:
        end = position + block.shape[-1]
        original = mixture.read(position, end)
        if len(block) < n_stems:
            block = torch.cat([block, original - block])
        done.levels.add(block, original)
        yield block
        position = end


def _write(blocks: Iterable[Tensor], samples: int, job: Job, done: _Done) -> None:
    """Write the stems, lowered together if an integer format needs it."""
    files, divisor = job.files, 1.0
    options: dict[str, Any] = {"subtype": files.subtype, "bitrate": files.bitrate}
    writers = []  # before the long work: they refuse what a format cannot hold
    for number, path in enumerate(job.outputs.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Noise of its own for each stem, or it would add up in their sum.
        seed = done.config.seed + number if files.dither else None
        size = (done.sample_rate, done.channels, samples)
        writers.append(AudioWriter(path, *size, dither_seed=seed, **options))
    job.report.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if files.clip == "rescale" and files.subtype != "float32":
            axes = (len(job.outputs), done.channels)
            spool = stack.enter_context(Spool(job.report.parent, axes))
            for block in blocks:
                spool.write(block)
            blocks, divisor = spool.blocks(), max(done.levels.peak, 1.0)
        done.gain = 1 / divisor
        for writer in writers:
            stack.enter_context(writer)
        for block in blocks:
            block = _clipped(block / divisor, files.clip)
            for writer, stem in zip(writers, block, strict=True):
                writer.write(stem)


def _clipped(block: Tensor, clip: str) -> Tensor:
    if clip == "clamp":
        return block.clamp(-1, 1)
    return block.tanh() if clip == "tanh" else block


def _report(
    model: nn.Module, song: Song, job: Job, done: _Done, seconds: float
) -> Separation:
    config, files, found = done.config, job.files, song.scan
    samples = song.length(done.sample_rate)
    settings = asdict(config) | asdict(files)
    device = device_of(model)
    clips = files.clip in ("clamp", "tanh")
    return Separation(
        track=job.track,
        input=str(song.path),
        input_sha256=found.sha256,
        model=type(model).__name__,
        weights_sha256=weights_sha256(model),
        stems={
            stem: path.relative_to(job.out_dir).as_posix()
            for stem, path in job.outputs.items()
        },
        sample_rate=done.sample_rate,
        channels=done.channels,
        samples=samples,
        song_seconds=round(found.total_samples / found.sample_rate, 3),
        segment=config.segment or 0.0,
        settings={k: v for k, v in settings.items() if k not in ("segment", "seed")},
        device=str(device),
        gain_db=round(20 * math.log10(done.gain), 3),
        input_peak=found.peak,
        peak=done.levels.peak,
        n_clipped=done.levels.n_over if clips else 0,
        sum_residual_db=None if config.stems else done.levels.residual_db,
        seam_db=done.seams.db,
        bandwidth_hz=min(stem_bandwidth_hz(config_of(model)), done.sample_rate / 2),
        speed=round(samples / done.sample_rate / seconds, 2),
        peak_memory_mb=peak_memory_mb(device),
        seed=config.seed,
    )

"""From a music file to one file per stem, and separation.json, which describes them.

    song ─Reader─▶ estimate_blocks ─▶ at the song's rate and channels ─┐
    song, read again in step ─▶ mixture ─ stem ▸ the remainder ────────┤
                                                                  LevelMeter
    {track}/{stem}.wav ◀── dither, AudioWriter ◀── gain ◀── Spool ◀────┘
    {track}/separation.json, written last

Every step works on blocks: hours of music need the memory of a few seconds. The stems
have the input's sample rate, channels and exact length. Integer formats cannot hold
values beyond ±1: if a stem needs it, all stems of the track are scaled by one gain, so
that they still sum to the scaled mixture. The gain is known after the last block; until
then the blocks wait in a temporary file. Notebook: 12.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mssedu.audio.stream import Reader, Spool, resample_blocks
from mssedu.audio.tensors import match_channels
from mssedu.audio.writer import AudioWriter
from mssedu.errors import MssEduWarning
from mssedu.models.contract import ModelConfig, config_of, device_of, stem_bandwidth_hz
from mssedu.separation.chunks import Progress, plan_chunks, with_segment
from mssedu.separation.config import (
    Clip,
    Consistency,
    Exists,
    Ext,
    FileConfig,
    Highs,
    Nonfinite,
    Other,
    Precision,
    Rate,
    SeparateConfig,
    Subtype,
    Window,
)
from mssedu.separation.record import LevelMeter, SeamMeter, Separation, peak_memory_mb
from mssedu.separation.refine import output_names
from mssedu.separation.song import Song, fill, is_finished, track_name
from mssedu.separation.tensors import estimate_blocks, with_fallback
from mssedu.weights.checkpoint import weights_sha256

ZEROS = 2**16  # samples of a block of silence


def separate_file(
    model: nn.Module,
    path: str | Path,
    out_dir: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channels: tuple[int, ...] = (),
    downmix: bool = False,
    nonfinite: Nonfinite = "refuse",
    template: str = "{track}/{stem}.{ext}",
    ext: Ext = "wav",
    subtype: Subtype = "int16",
    bitrate: int | None = None,
    exists: Exists = "refuse",
    clip: Clip = "rescale",
    dither: bool = True,
    keep_stereo: bool = False,
    out_rate: Rate = "input",
    segment: float | None = None,
    overlap: float = 0.25,
    window: Window = "triangle",
    context: float = 0.0,
    shifts: int = 0,
    tta: bool = False,
    wiener: int = 0,
    highs: Highs = "zeros",
    consistency: Consistency = "none",
    stems: tuple[str, ...] = (),
    two_stems: str | None = None,
    other: Other = "minus",
    strict_segment: bool = False,
    seed: int = 0,
    batch_size: int = 1,
    precision: Precision = "float32",
    compile: bool = False,
    track: str | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Separation | None:
    """Separate a file, and write its stems and separation.json below a folder.

    The numbers are those of `mssedu.separate` for the whole song; the memory is that of
    a few chunks.

    Args:
        model: follows the model contract.
        path: the song.
        out_dir: folder of the results.
        start_seconds: where to start in the song, in seconds.
        duration_seconds: how much to separate, in seconds; None: to the end.
        channels: channels of the file to use, counted from 0; empty: all.
        downmix: mix all channels down to one, their mean.
        nonfinite: NaN and Inf in the song: "refuse" it, or replace them by "zero".
        template: path of each stem, with {track}, {stem}, {ext}, {trackext}, {model}.
        ext: file format of the stems: "wav", "flac", "ogg" or "mp3".
        subtype: number format: "int16", "int24", or "float32" in wav files.
        bitrate: bit rate of mp3 in kbit/s; None: variable, about 250.
        exists: if stems exist: "refuse" with an error, "skip", or "overwrite" them.
        clip: beyond ±1: "rescale" all stems, "clamp", "tanh"; "none": an error.
        dither: add noise of one step before rounding to int16.
        keep_stereo: write stereo stems for a mono song, if the model is stereo.
        out_rate: sample rate of the stems: of the "input" song, or of the "model".
        segment: chunk length in seconds, as all arguments below in `separate`.
        overlap: share of a chunk that the next chunk covers too, 0 ≤ overlap < 1.
        window: weight over a chunk: "triangle", "hann", or "rectangle": no fading.
        context: seconds around a chunk that the model reads too, and that are cut off.
        shifts: number of passes with chunks moved by up to 0.5 s, which are averaged.
        tta: average over swapped channels and inverted polarity: 3 times as long.
        wiener: number of EM steps of a multichannel Wiener filter; 0: no filter.
        highs: above the model's bandwidth: "zeros", "average" or "mix_ratio".
        consistency: shares the remainder among the stems: "uniform" or by "energy".
        stems: only these, also sums such as "instrumental=-vocals"; empty: all.
        two_stems: one stem to write, together with the remainder, named no_STEM.
        other: that remainder: mixture - stem ("minus"), or the other stems ("add").
        strict_segment: a segment beyond the model's limit is an error, not shortened.
        seed: of the random shifts and the dither; it is mixed with the song's hash.
        batch_size: number of chunks that are computed at once.
        precision: of matrix products: "float32", "bfloat16" or "float16" (GPU only).
        compile: compile the model with torch.compile, which takes minutes at first.
        track: name for the template; None: the file's name without suffix.
        device: where to compute; None: where the model is.
        progress: is called with chunks done and chunks in all after each batch.

    Returns:
        the content of separation.json; None if the track was skipped.

    Raises:
        AudioFileError: the input cannot be read, or output exists.
        InputError: more than two channels, NaN in the file, an option out of its range.
    """
    files = FileConfig(
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        channels=channels,
        downmix=downmix,
        nonfinite=nonfinite,
        template=template,
        ext=ext,
        subtype=subtype,
        bitrate=bitrate,
        exists=exists,
        clip=clip,
        dither=dither,
        keep_stereo=keep_stereo,
        out_rate=out_rate,
    )
    config = SeparateConfig(
        segment=segment,
        overlap=overlap,
        window=window,
        context=context,
        shifts=shifts,
        tta=tta,
        wiener=wiener,
        highs=highs,
        consistency=consistency,
        stems=stems,
        two_stems=two_stems,
        other=other,
        strict_segment=strict_segment,
        seed=seed,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
    )
    job = Job.of(model, Path(path), Path(out_dir), files, config, track)
    return run_job(model, job, device=device, progress=progress)


@dataclass(frozen=True)
class Job:
    """One song to separate, and where its stems are written."""

    track: str
    path: Path
    out_dir: Path
    files: FileConfig
    config: SeparateConfig
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
        track: str | None = None,
    ) -> "Job":
        """The job for a file; an InputError for a template that is no path.

        Args:
            track: name for the template; None: the file's name without suffix.
        """
        track = track or track_name(path)
        names = {"track": track, "trackext": path.suffix[1:]}
        names["model"] = type(model).__name__.lower()
        stems = output_names(config, tuple(config_of(model).stems))

        def place(stem: str, ext: str) -> Path:
            return out_dir / fill(files.template, stem=stem, ext=ext, **names)

        outputs = {stem: place(stem, files.ext) for stem in stems}
        report = place("separation", "json")
        return cls(track, path, out_dir, files, config, outputs, report)

    def is_finished(self) -> bool:
        """Whether to skip it; an AudioFileError if output exists that must stay."""
        return is_finished([*self.outputs.values(), self.report], self.files.exists)

    def open(self, model_config: ModelConfig) -> tuple[Song, SeparateConfig]:
        """The song, checked, and the config with its own seed and chunk length."""
        song = Song.open(self.path, self.files)
        samples = song.length(model_config.sample_rate)
        return song, with_segment(song.seeded(self.config), model_config, samples)


def run_job(
    model: nn.Module,
    job: Job,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Separation | None:
    """Do the work of `separate_file`, with all options in a job."""
    started = time.perf_counter()
    if device is not None:
        model.to(device)
    if job.is_finished():
        return None
    song, config = job.open(config_of(model))
    if song.scan.peak == 0:
        warnings.warn(f"{job.path}: the input is silent", MssEduWarning, stacklevel=3)
    job.report.unlink(missing_ok=True)  # it is the sign that all stems are complete

    def run(config: SeparateConfig) -> _Done:
        return _separate(model, song, job, config, progress)

    done = with_fallback(run, model, config)
    report = _report(model, song, job, done, time.perf_counter() - started)
    report.save(job.report)
    return report


@dataclass
class _Done:
    """Measurements of a separation, complete when the stems are written."""

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
    """The model's stems, at the rate and channels of the output files."""
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
    if left:  # both lengths are rounded, so one sample may be missing
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
    """The blocks, measured; with two_stems, mixture - stem is added as the second."""
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
    """Write the stems, all with one gain if an integer format needs it."""
    files, divisor = job.files, 1.0
    writers = []  # opened before the long work: they check what the format can hold
    for number, path in enumerate(job.outputs.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = AudioWriter(
            path,
            done.sample_rate,
            done.channels,
            samples,
            subtype=files.subtype,
            bitrate=files.bitrate,
            # Each stem has noise of its own; equal noise would add up in their sum.
            dither_seed=done.config.seed + number if files.dither else None,
        )
        writers.append(writer)
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
    config, files, scan = done.config, job.files, song.scan
    samples = song.length(done.sample_rate)
    settings = asdict(config) | asdict(files)
    device = device_of(model)
    clips = files.clip in ("clamp", "tanh")
    return Separation(
        track=job.track,
        input=str(song.path),
        input_sha256=scan.sha256,
        model=type(model).__name__,
        weights_sha256=weights_sha256(model),
        stems={
            stem: path.relative_to(job.out_dir).as_posix()
            for stem, path in job.outputs.items()
        },
        sample_rate=done.sample_rate,
        channels=done.channels,
        samples=samples,
        song_seconds=round(scan.total_samples / scan.sample_rate, 3),
        segment=config.segment or 0.0,
        settings={k: v for k, v in settings.items() if k not in ("segment", "seed")},
        device=str(device),
        gain_db=round(20 * math.log10(done.gain), 3),
        input_peak=scan.peak,
        peak=done.levels.peak,
        n_clipped=done.levels.n_over if clips else 0,
        sum_residual_db=None if config.stems else done.levels.residual_db,
        seam_db=done.seams.db,
        bandwidth_hz=min(stem_bandwidth_hz(config_of(model)), done.sample_rate / 2),
        speed=round(samples / done.sample_rate / seconds, 2),
        peak_memory_mb=peak_memory_mb(device),
        seed=config.seed,
    )

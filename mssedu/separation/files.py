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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from mssedu.audio.disk import room_for
from mssedu.audio.files import Staged, json_bytes
from mssedu.audio.names import check_creatable
from mssedu.audio.stream import Reader, Spool, resample_blocks
from mssedu.audio.tensors import match_channels
from mssedu.audio.writer import AudioWriter
from mssedu.errors import MssEduWarning
from mssedu.models.contract import config_of, device_of, stem_bandwidth_hz
from mssedu.separation.chunks import Progress, plan_chunks
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
from mssedu.separation.song import Song
from mssedu.separation.tensors import estimate_blocks, with_fallback
from mssedu.weights.checkpoint import weights_sha256


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
    song = Song(model, Path(path), Path(out_dir), files, config, track)
    return separate_song(model, song, device=device, progress=progress)


def separate_song(
    model: nn.Module,
    song: Song,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Separation | None:
    """Do the work of `separate_file`, with all options in a song."""
    started = time.perf_counter()
    if device is not None:
        model.to(device)
    if song.is_finished():
        return None
    if song.scan.peak == 0:
        warnings.warn(f"{song.path}: the input is silent", MssEduWarning, stacklevel=3)
    for note in song.scan.damage:
        warnings.warn(f"{song.path}: {note}", MssEduWarning, stacklevel=3)
    for path in (*song.outputs.values(), song.record):  # before the long work
        check_creatable(path)

    def run(config: SeparateConfig) -> Separation:
        with Staged() as staged:
            record = _separate(model, song, config, progress, started, staged)
            # The record is the sign that all stems are complete: it goes first, and
            # comes last.
            song.record.unlink(missing_ok=True)
            staged.add(song.record).write_bytes(json_bytes(asdict(record)))
        return record

    with room_for(song.record.parent, song.n_bytes, f"the stems of {song.track}"):
        return with_fallback(run, model, song.settings())


def _separate(
    model: nn.Module,
    song: Song,
    config: SeparateConfig,
    progress: Progress | None,
    started: float,
    staged: Staged,
) -> Separation:
    """Separate a song and write its stems, which get their names at the end."""
    model_config, scan = config_of(model), song.scan
    chunks = plan_chunks(model_config, song.length(model_config.sample_rate), config)
    seams, levels = SeamMeter(chunks.seams), LevelMeter()
    blocks = _estimates(model, song, config, seams, progress)
    if scan.peak == 0:
        silence = song.blocks(song.sample_rate, song.channels)
        blocks = (block.expand(len(song.outputs), -1, -1) for block in silence)
    blocks = _completed(blocks, song, levels)
    gain = _write(blocks, song, config.seed, levels, staged)
    samples, device = song.length(song.sample_rate), device_of(model)
    paths = song.outputs.items()
    settings = asdict(config) | asdict(song.files)
    seconds = samples / song.sample_rate
    return Separation(
        track=song.track,
        input=str(song.path),
        input_sha256=scan.sha256,
        model=type(model).__name__,
        weights_sha256=weights_sha256(model),
        stems={stem: path.relative_to(song.out_dir).as_posix() for stem, path in paths},
        sample_rate=song.sample_rate,
        channels=song.channels,
        samples=samples,
        song_seconds=round(scan.total_samples / scan.sample_rate, 3),
        segment=settings.pop("segment") or 0.0,
        seed=settings.pop("seed"),
        settings=settings,
        device=str(device),
        gain_db=round(20 * math.log10(gain), 3),
        input_peak=scan.peak,
        damage=scan.damage,
        peak=levels.peak,
        n_clipped=levels.n_over if song.files.clip in ("clamp", "tanh") else 0,
        sum_residual_db=None if config.stems else levels.residual_db,
        seam_db=seams.db,
        bandwidth_hz=min(stem_bandwidth_hz(model_config), song.sample_rate / 2),
        speed=round(seconds / (time.perf_counter() - started), 2),
        peak_memory_mb=peak_memory_mb(device),
    )


def _estimates(
    model: nn.Module,
    song: Song,
    config: SeparateConfig,
    seams: SeamMeter,
    progress: Progress | None,
) -> Iterator[Tensor]:
    """The model's stems, at the rate and channels of the output files."""
    model_config, left = config_of(model), song.length(song.sample_rate)
    rate, samples = model_config.sample_rate, song.length(model_config.sample_rate)

    def measured() -> Iterator[Tensor]:
        read = Reader(song.blocks(rate, model_config.channels)).read
        for block in estimate_blocks(model, read, samples, config, progress):
            seams.add(block)
            yield block

    for block in resample_blocks(measured(), rate, song.sample_rate, samples):
        part = match_channels(block, song.channels)[..., :left]
        left -= part.shape[-1]
        if part.shape[-1]:
            yield part
    if left:  # both lengths are rounded, so one sample may be missing
        yield torch.zeros(*part.shape[:-1], left)


def _completed(
    blocks: Iterable[Tensor], song: Song, levels: LevelMeter
) -> Iterator[Tensor]:
    """The blocks, measured; with two_stems, mixture - stem is added as the second."""
    mixture = Reader(song.blocks(song.sample_rate, song.channels))
    position = 0
    for block in blocks:
        end = position + block.shape[-1]
        original = mixture.read(position, end)
        if len(block) < len(song.outputs):
            block = torch.cat([block, original - block])
        levels.add(block, original)
        yield block
        position = end


def _write(
    blocks: Iterable[Tensor],
    song: Song,
    seed: int,
    levels: LevelMeter,
    staged: Staged,
) -> float:
    """Write the stems, and return their gain: below 1 if an integer format needs it."""
    files, samples = song.files, song.length(song.sample_rate)
    writers = []  # opened before the long work: they check what the format can hold
    for number, path in enumerate(song.outputs.values()):
        writer = AudioWriter(
            path,
            song.sample_rate,
            song.channels,
            samples,
            subtype=files.subtype,
            bitrate=files.bitrate,
            # Each stem has noise of its own; equal noise would add up in their sum.
            dither_seed=seed + number if files.dither else None,
            staged=staged,
        )
        writers.append(writer)
    divisor = 1.0
    with ExitStack() as stack:
        if song.is_spooled:
            axes = (len(song.outputs), song.channels)
            spool = stack.enter_context(Spool(song.record.parent, axes))
            for block in blocks:
                spool.write(block)
            blocks, divisor = spool.blocks(), max(levels.peak, 1.0)
        for writer in writers:
            stack.enter_context(writer)
        for block in blocks:
            block = block / divisor
            if files.clip == "clamp":
                block = block.clamp(-1, 1)
            elif files.clip == "tanh":
                block = block.tanh()
            for writer, stem in zip(writers, block, strict=True):
                writer.write(stem)
    return 1 / divisor

"""The command `mssedu separate`: songs in, stems out, or only a plan of the work.

mssedu separate SONGS -m htdemucs                      a folder of stems per song
mssedu separate SONG --two-stems vocals --ext mp3      karaoke
mssedu separate SONGS --dry-run                        files, time and memory

The plan takes no number from a table: the model itself separates a chunk of noise, with
all options, on the device that will be used. A song takes that time per chunk.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mssedu.cli.console import bar, err, load_shown, out, report_failure, say
from mssedu.errors import InputError, MssEduError
from mssedu.separation.config import (
    FileConfig,
    InputOptions,
    OutputOptions,
    QualityOptions,
    SeparateConfig,
    SpeedOptions,
)

if TYPE_CHECKING:
    from torch import nn

    from mssedu.separation.files import Job
    from mssedu.separation.record import Separation

Model = Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")]
Files = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="FILES", help_behavior_hint=""),
]
DEMO_MODEL = str(Path("runs/demo/training"))


def separate(
    files: Files,
    input: tyro.conf.OmitArgPrefixes[InputOptions],
    output: tyro.conf.OmitArgPrefixes[OutputOptions],
    quality: tyro.conf.OmitArgPrefixes[QualityOptions],
    speed: tyro.conf.OmitArgPrefixes[SpeedOptions],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated"),
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto",
    threads: Annotated[int, tyro.conf.arg(aliases=["-j"])] = 0,
    dry_run: bool = False,
) -> int:
    """Separate songs: one file per stem, at the sample rate and length of the song.

    Args:
        files: songs, folders (searched with all subfolders) or patterns such as *.mp3
        input: Options for reading the song.
        output: Options for writing the stems.
        quality: Options that change the estimate.
        speed: Options that change time and memory, and the estimate by rounding only.
        model: published name, checkpoint file or run folder; otherwise the model of
            the demo
        weights: local file of weights; with a published name, it replaces the download
        out_dir: folder of the results
        device: where to compute: auto, cpu, cuda or mps
        threads: number of CPU threads (0: the default of PyTorch)
        dry_run: only show what would be done, and the time and memory it would take
    """
    from mssedu.separation.song import find_files, track_names

    file_config = FileConfig(**vars(input), **vars(output))
    config = SeparateConfig(**vars(quality), **vars(speed))
    if not files:
        raise InputError("FILES is empty. Name at least one song, folder or pattern.")
    songs, missing = find_files(files)
    for name in missing:
        report_failure("missing", f"{name}: no such file, and no music below it")
    if threads:
        import torch

        torch.set_num_threads(threads)
    network = load_shown(*source(model, weights), device)
    batch = Batch(network, out_dir, file_config, config)
    names = track_names(songs)
    if dry_run:
        failed = batch.plan(names)
        return 1 if failed or missing else 0
    failed = len(missing)
    try:
        for file, track in names.items():
            failed += not batch.separate(file, track)
    except KeyboardInterrupt:
        err.print("interrupted; to continue: the same command with --exists skip")
        return 130
    total = len(songs) + len(missing)
    out.print(f"{total - failed} of {total} done")
    return 1 if failed else 0


def source(model: str, weights: Path | None) -> tuple[str | Path, Path | None]:
    """What to load: only the weights, if the user gave them without a model."""
    return (weights, None) if weights and model == DEMO_MODEL else (model, weights)


@dataclass(frozen=True)
class Batch:
    """Songs that are separated with the same options, one after the other."""

    model: "nn.Module"
    out_dir: Path
    file_config: FileConfig
    config: SeparateConfig

    def job(self, file: Path, track: str) -> "Job":
        """The work for one song."""
        from mssedu.separation.files import Job

        return Job.of(
            self.model, file, self.out_dir, self.file_config, self.config, track
        )

    def separate(self, file: Path, track: str) -> bool:
        """Separate a file and print the outcome; False if it failed."""
        from mssedu.separation.files import run_job

        try:
            with bar(track) as update:
                done = run_job(self.model, self.job(file, track), progress=update)
        except (MssEduError, OSError) as error:
            report_failure("failed", f"{file}: {error}")
            return False
        say(outcome(track, done))
        return True

    def plan(self, names: dict[Path, str]) -> int:
        """Print what would be done with each file; return how many would fail."""
        out.print("measuring one chunk …")
        cost = measure(self.model, self.config)
        seconds, failed = 0.0, 0
        for file, track in names.items():
            try:
                job = self.job(file, track)
                song_seconds, n_chunks = workload(self.model, job)
            except (MssEduError, OSError) as error:
                report_failure("failed", f"{file}: {error}")
                failed += 1
                continue
            seconds += n_chunks * cost.chunk_seconds
            if n_chunks:
                say(f"{track}: {clock(song_seconds)} in {n_chunks} chunks")
            else:
                say(f"{track}: finished before, skipped")
            for path in [*job.outputs.values(), job.report]:
                say(f"    {path}")
        memory = cost.memory_bytes / 1e9
        out.print(f"about {clock(seconds)} and {memory:.1f} GB on {cost.device}")
        return failed


# ---- the plan -----------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Of separating one chunk."""

    chunk_seconds: float  # computing time
    memory_bytes: int  # weights, and all tensors at once of a batch of chunks
    device: str


def measure(model: "nn.Module", config: SeparateConfig) -> Cost:
    """Separate a batch of chunks of noise, once to warm up and once to measure."""
    import torch

    from mssedu.inspect.complexity import peak_memory
    from mssedu.models.contract import config_of, device_of
    from mssedu.separation.chunks import with_segment
    from mssedu.separation.tensors import separate_with

    model_config = config_of(model)
    rate = model_config.sample_rate
    config = with_segment(replace(config, shifts=0), model_config, 60 * rate)
    # The noise fills one batch of chunks that do not overlap.
    samples = config.batch_size * round((config.segment or 0) * rate)
    config = replace(config, overlap=0.0)
    noise = 0.1 * torch.randn(
        model_config.channels, samples, generator=torch.Generator().manual_seed(0)
    )
    device = device_of(model)
    with peak_memory(device) as peak:
        separate_with(model, noise, config)
        memory = peak()
    started = time.perf_counter()
    separate_with(model, noise, config)
    seconds = (time.perf_counter() - started) / config.batch_size
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return Cost(seconds, memory + weights, str(device))


def workload(model: "nn.Module", job: "Job") -> tuple[float, int]:
    """Seconds of a song, and its number of chunks; 0 and 0 if it would be skipped.

    Raises:
        AudioFileError, InputError: as `mssedu.separate_file`.
    """
    from mssedu.models.contract import config_of
    from mssedu.separation.chunks import plan_chunks

    if job.is_finished():
        return 0.0, 0
    model_config = config_of(model)
    song, config = job.open(model_config)
    chunks = plan_chunks(model_config, song.length(model_config.sample_rate), config)
    return song.scan.samples / song.scan.sample_rate, len(chunks.starts)


# ---- what is printed ----------------------------------------------------------------


def outcome(track: str, done: "Separation | None") -> str:
    """One line about a separated file, and one for each fact its user should know."""
    if done is None:
        return f"skipped  {track}: finished before"
    line = f"done     {track}: {done.speed:.1f} x real time"
    if done.gain_db:
        line += f", all stems {done.gain_db:.1f} dB"
    if done.n_clipped:
        line += f", {done.n_clipped} samples clipped"
    seconds = done.samples / done.sample_rate
    if seconds + 0.001 < done.song_seconds:
        line += f"\nnote     separated {seconds:.3f} of {done.song_seconds:.3f} s"
    if done.bandwidth_hz < done.sample_rate / 2:
        highs = done.settings["highs"]
        content = "nothing" if highs == "zeros" else f"a share of the mixture ({highs})"
        line += f"\nnote     above {done.bandwidth_hz:.0f} Hz the stems hold {content}"
    return line


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, without those that do not matter.

    Example:
        >>> clock(3.2), clock(75), clock(3 * 3600 + 5)
        ('3 s', '1 min 15 s', '3 h 0 min')
    """
    parts = time.gmtime(round(seconds))
    hours = round(seconds) // 3600
    if hours:
        return f"{hours} h {parts.tm_min} min"
    if parts.tm_min:
        return f"{parts.tm_min} min {parts.tm_sec} s"
    return f"{parts.tm_sec} s"

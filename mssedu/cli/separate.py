"""The command `mssedu separate`: songs in, stems out, or only a plan of the work.

mssedu separate SONGS                                  a folder of stems per song
mssedu separate SONGS -m htdemucs                      the same, by published weights
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

from mssedu.audio.disk import check_folder, size_text
from mssedu.audio.files import sweep
from mssedu.audio.words import counted
from mssedu.cli.console import bar, err, load_shown, out, reason, report_failure, say
from mssedu.errors import InputError, MssEduError, check_range
from mssedu.separation.config import (
    FileConfig,
    InputOptions,
    OutputOptions,
    QualityOptions,
    SeparateConfig,
    SpeedOptions,
)
from mssedu.weights.published import SHIPPED

if TYPE_CHECKING:
    from torch import nn

    from mssedu.separation.record import Separation
    from mssedu.separation.song import Song

FILES = tyro.conf.arg(metavar="FILES", help_behavior_hint="")


@dataclass(frozen=True)
class ModelOptions:
    """Options for choosing the model."""

    # published name, checkpoint, run folder or .onnx file
    model: Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")] = SHIPPED
    # local file of weights; with a published name, it replaces the download
    weights: Path | None = None
    # file with the class of your own model, which is run to load a checkpoint of it
    model_file: Path | None = None
    # where to compute: auto, cpu, cuda or mps
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto"

    @property
    def source(self) -> tuple[str | Path, Path | None, Path | None]:
        """What to load: only the weights, if the user gave them without a model."""
        if self.weights and self.model == SHIPPED:
            return self.weights, None, self.model_file
        return self.model, self.weights, self.model_file


def separate(
    files: Annotated[tuple[str, ...], tyro.conf.Positional, FILES],
    model: tyro.conf.OmitArgPrefixes[ModelOptions],
    input: tyro.conf.OmitArgPrefixes[InputOptions],
    output: tyro.conf.OmitArgPrefixes[OutputOptions],
    quality: tyro.conf.OmitArgPrefixes[QualityOptions],
    speed: tyro.conf.OmitArgPrefixes[SpeedOptions],
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated"),
    threads: Annotated[int, tyro.conf.arg(aliases=["-j"])] = 0,
    dry_run: bool = False,
) -> int:
    """Separate songs: one file per stem, at the sample rate and length of the song.

    Args:
        files: songs, folders (searched with all subfolders) or patterns such as *.mp3
        model: Options for choosing the model.
        input: Options for reading the song.
        output: Options for writing the stems.
        quality: Options that change the estimate.
        speed: Options that change time and memory, and the estimate by rounding only.
        out_dir: folder of the results
        threads: number of CPU threads (0: the default of PyTorch)
        dry_run: only show what would be done, and the time and memory it would take
    """
    from mssedu.models.contract import device_of
    from mssedu.separation.files import separate_song
    from mssedu.separation.song import Song, track_names

    check_range("threads", threads, 0)
    file_config = FileConfig(**vars(input), **vars(output))
    config = SeparateConfig(**vars(quality), **vars(speed))
    if not files:
        raise InputError("FILES is empty. Name at least one song, folder or pattern.")
    songs, n_missing = find_songs(files, out_dir)
    if output.exists != "skip":  # finished songs may be in a folder that is read-only
        check_folder(out_dir)
    if threads:
        import torch

        torch.set_num_threads(threads)
    network = load_shown(*model.source, model.device)
    # A stem or template that is wrong for every song is one error, before the work.
    Song(network, Path(f"song.{file_config.ext}"), out_dir, file_config, config)
    if dry_run:
        out.print("measuring one chunk …")
        chunk_seconds, memory = measure(network, config)
    else:
        sweep(out_dir, below=True)
    failed, n_chunks, places = n_missing, 0, dict[Path, Path]()
    for file, track in track_names(songs).items():
        try:
            song = Song(network, file, out_dir, file_config, config, track)
            check_place(song, places)
            if dry_run:
                n_chunks += show_plan(song)
                continue
            with bar(track) as update:
                record = separate_song(network, song, progress=update)
            say(outcome(track, record))
        except BrokenPipeError:  # of the output, whose reader has gone
            raise
        except (MssEduError, OSError) as error:
            report_failure("failed", f"{file}: {reason(error)}")
            failed += 1
        except Exception as error:  # one bad song never ends a batch
            report_failure("failed", f"{file}: {type(error).__name__}: {error}")
            failed += 1
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM
            if not dry_run:
                err.print("to continue: the same command with --exists skip")
            raise
    if dry_run:
        needs = f"{clock(n_chunks * chunk_seconds)} and {memory / 1e9:.1f} GB"
        out.print(f"about {needs} on {device_of(network)}")
    else:
        total = len(songs) + n_missing
        out.print(f"{total - failed} of {total} done")
    return 1 if failed else 0


def find_songs(files: tuple[str, ...], out_dir: Path) -> tuple[list[Path], int]:
    """The songs behind names, and how many names lead to none; both are printed."""
    from mssedu.separation.song import find_files

    songs, missing, left_out = find_files(files, out_dir)
    for kind, paths in left_out.items():
        say(f"left out {kind}: {len(paths)}, such as {paths[0]}")
    for name in missing:
        report_failure("missing", f"{name}: no such file, and no music below it")
    return songs, len(missing)


def check_place(song: "Song", places: dict[Path, Path]) -> None:
    """Raise InputError if the stems of an earlier song have the same paths.

    Args:
        places: record -> file of each song before, to which this song is added.
    """
    first = places.setdefault(song.record, song.path)
    if first != song.path:
        raise InputError(
            f"its stems would have the same paths as those of {first}. Add {{track}} "
            "to --template."
        )


# ---- the plan -----------------------------------------------------------------------


def show_plan(song: "Song") -> int:
    """Print what would be done with a song; return its number of chunks."""
    from mssedu.separation.chunks import plan_chunks

    n_chunks = 0
    if song.is_finished():
        say(f"{song.track}: finished before, skipped")
    else:
        check_folder(song.out_dir)
        samples = song.length(song.model_config.sample_rate)
        n_chunks = len(plan_chunks(song.model_config, samples, song.settings()).starts)
        length = clock(song.scan.samples / song.scan.sample_rate)
        room = size_text(song.n_bytes)
        chunks = counted(n_chunks, "chunk")
        say(f"{song.track}: {length} in {chunks}, up to {room} on the disk")
    for path in [*song.outputs.values(), song.record]:
        say(f"    {path}")
    return n_chunks


def measure(model: "nn.Module", config: SeparateConfig) -> tuple[float, int]:
    """Seconds for a chunk, and bytes for the weights and a batch of chunks.

    A batch of noise is separated, once to warm up and once to measure.
    """
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
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(model_config.channels, samples, generator=generator)
    with peak_memory(device_of(model)) as peak:
        separate_with(model, noise, config)
        memory = peak()
    started = time.perf_counter()
    separate_with(model, noise, config)
    seconds = (time.perf_counter() - started) / config.batch_size
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return seconds, memory + weights


# ---- what is printed ----------------------------------------------------------------


def outcome(track: str, done: "Separation | None") -> str:
    """One line about a separated file, and one for each fact its user should know."""
    if done is None:
        return f"skipped  {track}: finished before"
    line = f"done     {track}: {done.speed:.1f} x real time"
    if done.gain_db:
        line += f", all stems {done.gain_db:.1f} dB"
    if done.n_clipped:
        line += f", {counted(done.n_clipped, 'sample')} clipped"
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
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

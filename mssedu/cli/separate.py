"""The command `mssedu separate`: songs in, stems out, and a plan before if wanted.

mssedu separate SONGS -m htdemucs                      a folder of stems per song
mssedu separate SONG --two-stems vocals --ext mp3      karaoke
mssedu separate SONGS --dry-run                        what, how long, how much
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mssedu.cli.console import bar, err, load_shown, out, report_failure
from mssedu.errors import InputError, MssEduError, message
from mssedu.separation.config import SeparateConfig
from mssedu.separation.file_config import FileConfig

if TYPE_CHECKING:
    from torch import nn

    from mssedu.separation.record import Separation

Model = Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")]
Files = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
DEMO_MODEL = str(Path("runs/demo/training"))


def separate(
    files: Files,
    config: Annotated[SeparateConfig, tyro.conf.arg(name="")],
    file_config: Annotated[FileConfig, tyro.conf.arg(name="")],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated"),
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto",
    threads: Annotated[int, tyro.conf.arg(aliases=["-j"])] = 0,
    dry_run: bool = False,
) -> int:
    """Take songs apart: a file per stem, at the rate and length of the song.

    Args:
        files: songs, folders (searched to the bottom) or patterns.
        config: how to separate.
        file_config: how to read and write.
        model: published name, checkpoint file or run folder; the demo's model if not
            given.
        weights: a local file of weights; with a published name, in place of its own.
        out_dir: folder of the results.
        device: auto, cpu, cuda, mps.
        threads: of the CPU; 0: as many as PyTorch takes.
        dry_run: only tell what would be done, how long it takes and the memory.
    """
    from mssedu.separation.song_files import find_files, track_names

    if not files:
        raise InputError(
            message("separate", "files", "none", "Name at least one song.")
        )
    found, missing = find_files(files)
    for name in missing:
        report_failure("missing", f"{name}: no such file, and no music below it")
    if threads:
        import torch

        torch.set_num_threads(threads)
    network = load_shown(*source(model, weights), device)
    batch = Batch(network, out_dir, asdict(config) | asdict(file_config))
    names = track_names(found)
    if dry_run:
        failed = batch.plan(names)
        return 1 if failed or missing else 0
    failed = len(missing)
    try:
        for file, track in names.items():
            failed += not batch.separate(file, track)
    except KeyboardInterrupt:
        err.print("interrupted; to go on: the same command with --exists skip")
        return 130
    total = len(found) + len(missing)
    out.print(f"{total - failed} of {total} done")
    return 1 if failed else 0


def source(model: str, weights: Path | None) -> tuple[str | Path, Path | None]:
    """What to load: weights alone, if no model was named with them."""
    return (weights, None) if weights and model == DEMO_MODEL else (model, weights)


@dataclass(frozen=True)
class Batch:
    """Songs that are separated alike, one after the other."""

    model: "nn.Module"
    out_dir: Path
    settings: dict[str, Any]

    def separate(self, file: Path, track: str) -> bool:
        """Separate a file and say how it went; True unless it failed."""
        from mssedu.separation.files import separate_file

        try:
            with bar(track) as update:
                done = separate_file(
                    *(self.model, file, self.out_dir),
                    track=track,
                    progress=update,
                    **self.settings,
                )
        except (MssEduError, OSError) as error:
            report_failure("failed", f"{file}: {error}")
            return False
        out.print(outcome(track, done), markup=False, highlight=False)
        return True

    def plan(self, names: dict[Path, str]) -> int:
        """Print what would be done with each file; how many would fail."""
        from mssedu.cli.plan import measure, plan_file

        out.print("measuring one chunk …")
        cost = measure(self.model, self.settings)
        seconds, failed = 0.0, 0
        for file, track in names.items():
            try:
                plan = plan_file(self.model, file, self.out_dir, track, self.settings)
            except (MssEduError, OSError) as error:
                report_failure("failed", f"{file}: {error}")
                failed += 1
                continue
            seconds += plan.n_chunks * cost.chunk_seconds
            line = f"{track}: {clock(plan.song_seconds)} in {plan.n_chunks} chunks"
            if not plan.n_chunks:
                line = f"{track}: finished before, skipped"
            out.print(line, markup=False, highlight=False)
            for path in plan.outputs:
                out.print(f"    {path}", markup=False, highlight=False)
        memory = cost.memory_bytes / 1e9
        out.print(f"about {clock(seconds)} and {memory:.1f} GB on {cost.device}")
        return failed


def outcome(track: str, done: "Separation | None") -> str:
    """One line about a separated file, and one for whatever its user should know."""
    if done is None:
        return f"skipped  {track}: finished before"
    line = f"done     {track}: {done.speed:.1f} x real time"
    if done.gain_db:
        line += f", all stems {done.gain_db:.1f} dB"
    if done.n_clipped:
        line += f", {done.n_clipped} samples clipped"
    kept = done.samples / done.sample_rate
    if kept + 0.001 < done.song_seconds:
        line += f"\nnote     kept {kept:.3f} of {done.song_seconds:.3f} s"
    if done.bandwidth_hz < done.sample_rate / 2:
        what = done.settings["highs"]
        fill = "nothing" if what == "zeros" else f"a share of the mixture ({what})"
        line += f"\nnote     above {done.bandwidth_hz:.0f} Hz the stems hold {fill}"
    return line


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, those that matter.

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

"""How fast training examples are read, ours and open-unmix's, from the same songs.

    python benchmarks/loading.py                        two songs of two minutes
    python benchmarks/loading.py --seconds 240 --songs 4 --rounds 9

An example is four stereo stems of six seconds, each from a random place of a random
song, with random gain and channel swap; ours also has random signs. The songs are the
CC0 songs of data/, repeated to length, as wav, mp3 and .stem.mp4. All sides read in one
thread, as a worker does, and take turns; the table has the median of the rounds.
Processor time is that of this process and of the programs that it starts (musdb starts
ffmpeg), and hardly depends on what else the machine does. open-unmix's functions that
read a wav are replaced by the same with soundfile, as torchaudio has lost them.

Then a tiny open_unmix is trained; how long it waits for data is in its history.
Rewrites its section of RESULTS.md. Needs openunmix==1.3.0 and musdb==0.4.3 (extra:
parity).
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import av
import numpy as np
import soundfile as sf
import torch
from results import processor, write_section

import mssedu
from mssedu.audio.tensors import save_audio
from mssedu.data.cache import cached
from mssedu.data.loading import demo_data
from mssedu.data.segments import RandomSegments
from mssedu.data.track import Track
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit

RATE, SEGMENT = 44100, 6.0
STEMS = ("vocals", "drums", "bass", "other")
STREAMS = ("mixture", "drums", "bass", "other", "vocals")  # of a .stem.mp4
PEERS = ("openunmix, wav", "openunmix, .stem.mp4")
Read = Callable[[int], Any]  # takes the number of an example


# ---- the songs ----------------------------------------------------------------------


def write_songs(folder: Path, n_songs: int, seconds: float) -> None:
    """The same songs in folder/wav, folder/mp3 and folder/mp4, in the split train."""
    tracks = mssedu.load_dataset(demo_data(), "train")[:n_songs]
    for number, track in enumerate(tracks):
        sources = track.sources()
        samples = round(seconds * RATE)
        repeats = -(-samples // sources.shape[-1])
        sources = sources.repeat(1, 1, repeats)[..., :samples]
        sources = sources / max(1.0, float(sources.abs().max()))
        parts = dict(zip(STEMS, sources, strict=True))
        for kind in ("wav", "mp3"):
            song = folder / kind / "train" / f"song {number}"
            song.mkdir(parents=True)
            for stem, audio in parts.items():
                save_audio(song / f"{stem}.{kind}", audio, RATE)
        parts["mixture"] = sources.sum(0)
        (folder / "mp4" / "train").mkdir(parents=True, exist_ok=True)
        path = folder / "mp4" / "train" / f"song {number}.stem.mp4"
        write_stem_mp4(path, [parts[name] for name in STREAMS])


def write_stem_mp4(path: Path, streams: list[torch.Tensor]) -> None:
    """One AAC stream of 256 kbit/s for each waveform (channels, samples)."""
    with av.open(str(path), "w", format="mp4") as container:
        encoders = []
        for _ in streams:
            encoder = container.add_stream("aac", rate=RATE, layout="stereo")
            encoder.bit_rate = 256_000
            encoders.append(encoder)
        for first in range(0, streams[0].shape[-1], 1024):
            for encoder, audio in zip(encoders, streams, strict=True):
                block = np.ascontiguousarray(audio[:, first : first + 1024].numpy())
                frame = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
                frame.sample_rate, frame.pts = RATE, first
                container.mux(encoder.encode(frame))
        for encoder in encoders:
            container.mux(encoder.encode(None))


# ---- the sides ----------------------------------------------------------------------


def our_sides(folder: Path) -> dict[str, Read]:
    """Ours, by what is read; the copies of the caches are made here."""
    songs = {kind: mssedu.load_dataset(folder / kind) for kind in ("wav", "mp3", "mp4")}
    copies = {kind: cached(songs[kind], folder / "cache") for kind in songs}
    halves = cached(songs["mp4"], folder / "cache", dtype="float16")
    kinds = {
        "memory": [song.in_memory() for song in songs["wav"]],
        "wav": songs["wav"],
        "wav, cached": copies["wav"],
        "mp3": songs["mp3"],
        "mp3, cached": copies["mp3"],
        ".stem.mp4": songs["mp4"],
        ".stem.mp4, cached": copies["mp4"],
        ".stem.mp4, cached as float16": halves,
    }
    return {f"mssedu, {name}": reader(tracks) for name, tracks in kinds.items()}


def reader(tracks: list[Track]) -> Read:
    # The rest of a .stem.mp4, what its codec changed, is no part of these examples:
    # open-unmix has none. So the mixture is left out of the files.
    tracks = [without_mixture(track) for track in tracks]
    return RandomSegments(tracks, STEMS, SEGMENT, 10**6, seed=0).__getitem__


def without_mixture(track: Track) -> Track:
    if track.audio is not None:
        return track
    files = {file.stem: file for file in track.files if file.stem != "mixture"}
    return Track(
        track.name,
        STEMS,
        track.sample_rate,
        track.channels,
        track.n_samples,
        files=tuple(files[stem] for stem in STEMS),
    )


def peer_sides(folder: Path) -> dict[str, Read]:
    """Those of open-unmix that can be had; a line says why one cannot."""
    sides: dict[str, Read] = {}
    for name, make in zip(PEERS, (peer_wav, peer_mp4), strict=True):
        try:
            read = make(folder)
            read(0)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            print(f"{name} is left out, because {type(error).__name__}: {error}")
        else:
            sides[name] = read
    return sides


def peer_wav(folder: Path) -> Read:
    from openunmix import data

    def load_info(path: Path) -> dict[str, float]:
        with sf.SoundFile(path) as sound:
            length, rate = sound.frames, sound.samplerate
        return {"samplerate": rate, "samples": length, "duration": length / rate}

    def load_audio(path: Path, start: float, dur: float) -> tuple[torch.Tensor, int]:
        with sf.SoundFile(path) as sound:
            sound.seek(int(start * sound.samplerate))
            count = int(dur * sound.samplerate)
            samples = sound.read(count, dtype="float32", always_2d=True)
            return torch.from_numpy(samples).t(), sound.samplerate

    data.load_info, data.load_audio = load_info, load_audio
    dataset = data.FixedSourcesTrackFolderDataset(
        folder / "wav",
        target_file="vocals.wav",
        interferer_files=["drums.wav", "bass.wav", "other.wav"],
        seq_duration=SEGMENT,
        random_chunks=True,
        random_track_mix=True,
        source_augmentations=data.aug_from_str(["gain", "channelswap"]),
    )
    return lambda item: dataset[item % len(dataset)]


def peer_mp4(folder: Path) -> Read:
    from openunmix import data

    dataset = data.MUSDBDataset(
        root=str(folder / "mp4"),
        seq_duration=SEGMENT,
        random_track_mix=True,
        source_augmentations=data.aug_from_str(["gain", "channelswap"]),
        split=None,
    )
    dataset.split = "train"  # so that all songs are in it, and excerpts are drawn
    return lambda item: dataset[item % len(dataset)]


# ---- measuring ----------------------------------------------------------------------


def processor_seconds() -> float:
    """Of this process and of the processes that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(
    sides: dict[str, Read], options: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Median seconds by the clock, and of the processors, for an example."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    item = 0
    for number in range(options.rounds + 1):
        for name, read in sides.items():
            # So many examples that a round takes a second or two
            slow = name in ("mssedu, mp3", "mssedu, .stem.mp4", PEERS[1])
            n = 1 if slow else options.examples
            clock, cpu = time.perf_counter(), processor_seconds()
            for _ in range(n):
                read(item)
                item += 1
            spent = time.perf_counter() - clock, processor_seconds() - cpu
            if number:  # the first round warms up
                rounds[name].append((spent[0] / n, spent[1] / n))
    return {
        name: tuple(statistics.median(times) for times in zip(*each, strict=True))
        for name, each in rounds.items()
    }


def waiting(folder: Path, steps: int) -> list[str]:
    """Rows: the share of the time that a training waits for data."""
    songs = {kind: mssedu.load_dataset(folder / kind) for kind in ("mp3", "wav")}
    kinds = {"mp3": songs["mp3"], "wav": songs["wav"]}
    kinds["mp3, cached"] = cached(songs["mp3"], folder / "cache")
    kinds["memory"] = [song.in_memory() for song in songs["wav"]]
    rows = []
    for name, tracks in kinds.items():
        shares = []
        for n_workers in (0, 2):
            n = min(steps, 4) if name == "mp3" else steps
            config = TrainConfig(
                model="open_unmix",
                preset="tiny",
                steps=n,
                valid_every=n,
                device="cpu",
                n_workers=n_workers,
            )
            torch.manual_seed(0)
            model = create_model("open_unmix", "tiny", STEMS)
            with tempfile.TemporaryDirectory() as run_dir:
                entry = fit(model, tracks, None, config, run_dir).history[-1]
            wait, work = entry["waiting_seconds"], entry["computing_seconds"]
            shares.append(f"{wait / n:.2f} s, {wait / (wait + work):.0%}")
        rows.append(f"| {name} | {' | '.join(shares)} |")
        print(rows[-1], flush=True)
    return rows


def section(options: argparse.Namespace, folder: Path) -> str:
    """Measure everything; the text of the section."""
    load = os.getloadavg()[0]
    write_songs(folder, options.songs, options.seconds)
    times = measure(our_sides(folder) | peer_sides(folder), options)
    rows = ["| | examples/s | CPU ms | examples/s of openunmix | by CPU time |"]
    rows.append("| --- |" + 4 * " ---: |")
    for name, (wall, cpu) in times.items():
        peer = times.get(PEERS["mp4" in name])
        against = "| | |"
        if peer and name not in PEERS and ("wav" in name or "mp4" in name):
            against = f"| {peer[0] / wall:.1f} × | {peer[1] / cpu:.1f} × |"
        rows.append(f"| {name} | {1 / wall:.1f} | {1000 * cpu:.1f} {against}")
        print(rows[-1], flush=True)
    words = " ".join(["python benchmarks/loading.py", *sys.argv[1:]])
    about = [
        "## Training examples: mssedu and open-unmix",
        "",
        f"`{words}`,",
        f"{processor()}, {os.cpu_count()} cores, one thread a side, torch",
        f"{version('torch')}, openunmix {version('openunmix')}, musdb",
        f"{version('musdb')}, {time.strftime('%Y-%m-%d')}, load average {load:.1f} at",
        f"the beginning. Four stereo stems of {SEGMENT:g} s; {options.songs} songs of",
        f"{options.seconds:g} s; median of {options.rounds} rounds.",
        "",
    ]
    torch.set_num_threads(os.cpu_count() or 1)
    more = [
        "",
        "Waiting for data in a training of open_unmix (tiny), batches of 4 × 6 s: of a",
        "step, and as a share of the time; the start of the workers is counted:",
        "",
        "| read from | no workers | 2 workers |",
        "| --- | ---: | ---: |",
    ]
    return "\n".join([*about, *rows, *more, *waiting(folder, options.steps)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--songs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120.0, help="of a song")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=20, help="a round, if fast")
    parser.add_argument("--steps", type=int, default=20, help="of a training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        text = section(options, Path(folder))
    write_section("loading", text)
    print(text)


if __name__ == "__main__":
    main()

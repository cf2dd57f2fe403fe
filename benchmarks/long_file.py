"""A song of hours through `mssedu.separate_file`: does memory stay where it is?

    python benchmarks/long_file.py [--hours 3] [--model spleeter] [--preset tiny]

writes music of that length (the CC0 stems of data/, over and over), separates it from
disk to disk in a process of its own, and does the same with a minute of it. Prints a
Markdown table: peak memory of the process, time, and what was written. The models are
untrained: neither memory nor time depends on the weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded; the processes that separate inherit it

from mssedu.audio.tensors import load_audio
from mssedu.audio.writer import AudioWriter

DATA = Path(__file__).parents[1] / "data"
CHILD = """
import json, sys, torch, mssedu
from mssedu.separation.record import peak_memory_mb
model = mssedu.create_model(sys.argv[3], sys.argv[4])
before = peak_memory_mb(torch.device("cpu"))
done = mssedu.separate_file(model, sys.argv[1], sys.argv[2], subtype=sys.argv[5])
print(json.dumps([before, done.peak_memory_mb, done.speed, done.samples,
                  done.sum_residual_db, done.stems]))
"""


def write_music(path: Path, seconds: float) -> None:
    """The stems of data/, over and over, as a FLAC file."""
    songs = sorted(DATA.glob("*/*/*.ogg"))
    samples = round(seconds * 44100)
    with AudioWriter(path, 44100, 2, samples) as writer:
        while samples:
            for song in songs:
                audio, rate = load_audio(song)
                assert (rate, len(audio)) == (44100, 2)
                block = audio[:, :samples].clamp(-1, 1)
                writer.write(block)
                samples -= block.shape[1]


def separate(path: Path, out: Path, *options: str) -> list:
    """Separate in a new process: memory in MB before and after, speed, samples …"""
    command = [sys.executable, "-c", CHILD, str(path), str(out), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--model", default="spleeter")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--subtype", default="int16")
    parser.add_argument("--folder", type=Path, help="where there is room")
    arguments = parser.parse_args()
    print("| length | stems | MB before | MB at most | times real time | on disk, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seconds in (60, 3600 * arguments.hours):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            song, out = Path(folder) / "song.flac", Path(folder) / "out"
            write_music(song, seconds)
            options = (arguments.model, arguments.preset, arguments.subtype)
            before, peak, speed, samples, _, stems = separate(song, out, *options)
            assert samples == round(seconds * 44100)
            size = sum((out / path).stat().st_size for path in stems.values()) / 1e6
        length = f"{seconds / 60:g} min"
        row = (length, len(stems), f"{before:.0f}", f"{peak:.0f}", speed, f"{size:.0f}")
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()

"""What the spinning of waiting threads costs: on an idle machine and on a busy one.

    python benchmarks/load.py                       27 measurements, at most 70 minutes
    python benchmarks/load.py --steps 1 --seconds 1 --busy 0 2 --limit 60    a quick try

Measures a training step of the demo, htdemucs (paper) on noise, and BSS Eval on four
stems of noise: alone, and beside processes that keep a core busy; with each setting of
OpenMP in `mssedu.separation.threads`. A measurement is a new process, as OpenMP reads
its settings once; its first step warms up and is not counted. Processor seconds add up
over threads. A measurement that takes longer than the limit is "not done". Rewrites its
section of RESULTS.md. Run it while the machine does nothing else, without
OMP_NUM_THREADS: a single thread waits for no other.

Whatever happens to this script, the busy processes end: it kills them after each
measurement, and without it they end by themselves, at the latest after the limit.
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

from results import processor, write_section

from mssedu.separation.threads import SETTINGS, SHORT

CASES = {
    "unset": {},
    "GOMP_SPINCOUNT=1000": SHORT,
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
BUSY = """
import os, sys, time
parent, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while os.getppid() == parent and time.monotonic() < end:
    sum(range(100_000))
"""
Clock = tuple[float, float]  # seconds by the clock, and of this process on all cores


# ---- what is measured, in a process of its own --------------------------------------


def now() -> Clock:
    return time.perf_counter(), time.process_time()


def demo_step(steps: int, seconds: float) -> tuple[Clock, Clock]:
    """Begin and end of so many steps of the demo's training."""
    import torch

    from mssedu.cli.demo import CONFIG
    from mssedu.data.loading import demo_data, load_dataset
    from mssedu.models.registry import create_model
    from mssedu.training.loop import fit

    # One step more to warm up, and one that may save and validate
    total = steps + 2
    config = dataclasses.replace(CONFIG, steps=total, valid_every=total)
    songs = [song.in_memory() for song in load_dataset(demo_data(), "train")]
    torch.manual_seed(config.seed)
    model = create_model(config.model, config.preset, stems=config.stems)
    after: list[Clock] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(model, songs, None, config, folder, progress=lambda *_: after.append(now()))
    return after[0], after[steps]


def htdemucs(steps: int, seconds: float) -> tuple[Clock, Clock]:
    """Begin and end of separating noise so many times."""
    import torch

    from mssedu.models.registry import create_model
    from mssedu.separation.tensors import separate

    torch.manual_seed(0)
    model = create_model("htdemucs", "paper")
    mixture = torch.randn(2, round(seconds * model.config.sample_rate)) / 10
    return repeated(lambda: separate(model, mixture), steps)


def scores(steps: int, seconds: float) -> tuple[Clock, Clock]:
    """Begin and end of so many evaluations of four stereo stems."""
    import torch

    from mssedu.metrics.bss import bss_eval

    torch.manual_seed(0)
    references = torch.randn(4, 2, round(seconds * 44100)) / 10
    estimates = references + torch.randn_like(references) / 50
    signals = {"references": references, "estimates": estimates}
    return repeated(lambda: bss_eval(**signals, window_length=44100), steps)


def repeated(work: Callable[[], object], steps: int) -> tuple[Clock, Clock]:
    work()
    began = now()
    for _ in range(steps):
        work()
    return began, now()


WORKS = {"demo_step": demo_step, "htdemucs": htdemucs, "bss_eval": scores}


# ---- measuring ----------------------------------------------------------------------


@contextmanager
def busy(count: int, limit: float) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy."""
    words = [sys.executable, "-c", BUSY, str(os.getpid()), str(limit)]
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen(words)
            stack.callback(process.wait)
            stack.callback(process.kill)  # first: the last one in
        yield


def measure(
    work: str, settings: dict[str, str], count: int, options: argparse.Namespace
) -> str:
    """Seconds and processor seconds a step, as a cell of the table."""
    steps = options.steps if work == "demo_step" else options.rounds
    words = [sys.executable, __file__, "--serve", work, "--steps", str(steps)]
    words += ["--seconds", str(options.seconds)]
    plain = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    with busy(count, options.limit + 10):
        try:
            done = subprocess.run(
                words,
                env=plain | settings,
                stdout=subprocess.PIPE,
                timeout=options.limit,
                text=True,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return "not done"
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return f"{wall:.2f} / {cpu:.2f}"


def section(options: argparse.Namespace) -> str:
    """Measure everything, row by row; the text of the section."""
    load = os.getloadavg()[0]
    threads = os.environ.get("OMP_NUM_THREADS")
    command = f"OMP_NUM_THREADS={threads} " if threads else ""
    command += " ".join(["python benchmarks/load.py", *sys.argv[1:]])
    rows = [f"| | busy processes | {' | '.join(CASES)} |", "| --- |" + 4 * " ---: |"]
    labels = {
        "demo_step": "a training step of the demo",
        "htdemucs": f"htdemucs, {options.seconds:g} s of noise",
        "bss_eval": f"BSS Eval, {options.seconds:g} s of four stereo stems",
    }
    for work, label in labels.items():
        for count in options.busy:
            cells = [measure(work, case, count, options) for case in CASES.values()]
            rows.append(f"| {label} | {count} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    about = [
        "## Threads that wait, on a busy machine",
        "",
        f"`{command}`,",
        f"{processor()}, {os.cpu_count()} cores, torch {version('torch')},",
        f"{time.strftime('%Y-%m-%d')}, load average {load:.1f} at the beginning.",
        f"Seconds / processor seconds a step, mean of {options.steps} training steps",
        f'and of {options.rounds} of the others; "not done": in {options.limit:g} s.',
        "",
    ]
    return "\n".join([*about, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20, help="of the training")
    parser.add_argument("--rounds", type=int, default=3, help="of the others")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 6])
    parser.add_argument("--limit", type=float, default=150.0, help="s a measurement")
    parser.add_argument("--serve", choices=WORKS, help="used by the command itself")
    options = parser.parse_args()
    if options.serve:
        began, ended = WORKS[options.serve](options.steps, options.seconds)
        spent = [end - begin for begin, end in zip(began, ended, strict=True)]
        print(json.dumps([seconds / options.steps for seconds in spent]))
        return
    # As Ctrl-C does: leave by way of the with statements, which end what runs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    text = section(options)
    write_section("load", text)
    print(text)


if __name__ == "__main__":
    main()

"""All that this package promises for a graphics card, in one script of ten minutes.

    python benchmarks/gpu.py --minutes 10 --weights HTDEMUCS.safetensors
    python benchmarks/gpu.py --tiny --device cpu        a minute: does the script work?
    python benchmarks/report.py gpu.json                the section of RESULTS.md

    products     matrix products: what the card reaches, beside its data sheet
    step …       a training step, and that of demucs or open-unmix, in turns
    separation … three minutes of music by htdemucs, and by demucs, in turns
    bss_eval     scores on the card and on the processor
    tests        the tests marked gpu
    … compiled   the same steps with compiled blocks: last, as compiling takes minutes

The result is written after every part, so a script that is killed loses one part. The
same command goes on: with the parts that are missing, then with those that were left
out. At the time limit it stops. A part that cannot be done here is left out, with the
reason. Memory is the peak of all tensors of a side, weights and moments included, which
PyTorch counts on a card only. FLOPs are those of matrix products and convolutions; the
backward of a step costs twice its forward.

Needs a CUDA device, demucs==4.1.0 and openunmix==1.3.0 (extra: parity). Without
--weights, a file of mssedu.load_model("htdemucs"), the weights are random: then times
and differences count, and scores do not.
"""

import argparse
import gc
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mssedu.separation.threads import short_spin

short_spin()  # before torch is loaded

import torch
import torch._dynamo  # compiled parts set a limit there
from results import processor
from torch import Tensor, nn
from training import (
    TINY,
    Step,
    noise,
    our_model,
    our_step,
    peer_model,
    peer_step,
    race,
    ratios,
)

import mssedu
from mssedu.audio.files import write_json
from mssedu.data.loading import demo_data
from mssedu.inspect.complexity import count_flops
from mssedu.metrics.bss import bss_eval
from mssedu.metrics.ratios import usdr
from mssedu.separation.tensors import separate
from mssedu.training.state import number_or_none
from mssedu.weights.loading import load_model

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("htdemucs", "hdemucs", "open_unmix")
BATCH = {"htdemucs": 4, "hdemucs": 4, "open_unmix": 16}  # of a training step
CHUNKS = 16  # of a separation, computed together
# Seconds that a part may take
LIMIT, COMPILE_LIMIT = 120.0, 240.0
MIN_SECONDS = 5.0  # with less time left, no part begins
# bfloat16 products of dense matrices, TFLOP/s, by NVIDIA's data sheets; the first key
# that is in the name of the card counts
DATA_SHEET = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
OURS, PEER = "mssedu", "peer"
Part = Callable[[argparse.Namespace], dict[str, Any]]


class LeftOutError(Exception):
    """A part that cannot be done here; its text is the reason."""


class OutOfTimeError(BaseException):
    """A part has taken too long; no Exception, because the compiler catches those."""


# ---- what all parts share -----------------------------------------------------------


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError if the block takes longer; needs a system with SIGALRM."""

    def stop(*_: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def compile_blocks(model: nn.Module, options: argparse.Namespace) -> None:
    """Compile the repeated blocks of a model: far sooner done than all of it."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            for block in child:
                block.compile(backend=options.backend, dynamic=False)
        else:
            compile_blocks(child, options)


class Lowered(nn.Module):
    """A model whose convolutions and linear layers have bfloat16 weights.

    The mixture stays float32: rounded to 8 binary digits, it would be noisy.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.config = model.config
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)  # gives the type
        self.model = model
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                module.bfloat16()

    def forward(self, mixture: Tensor) -> Tensor:
        return self.model(mixture)


def peak_of(work: Callable[[], Any], device: torch.device) -> tuple[Any, float | None]:
    """The result, and the bytes that it needed beside those that were there before."""
    if device.type != "cuda":
        return work(), None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = work()
    torch.cuda.synchronize(device)
    return result, torch.cuda.max_memory_allocated(device) - before


def without_nan(value: Any) -> Any:
    """The same with None for NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return number_or_none(value) if isinstance(value, float) else value


def data_sheet(name: str) -> float | None:
    """FLOP/s of the card in bfloat16, as its maker states; None for one not listed."""
    found = [peak for key, peak in DATA_SHEET.items() if re.search(rf"{key}\b", name)]
    return found[0] * 1e12 if found else None


def median(times: list[tuple[float, float]]) -> float:
    return statistics.median(wall for wall, _ in times)


def outcome(
    times: dict[str, list[tuple[float, float]]], memory: dict[str, float | None]
) -> dict[str, Any]:
    """What the sides of a race say: seconds, ratio, memory."""
    result: dict[str, Any] = {
        "seconds": {side: median(spent) for side, spent in times.items()},
        "rounds": len(times[OURS]),
        "memory": memory,
    }
    if PEER in times:
        result["ratio"] = ratios(times, OURS, PEER)[0]
    return result


# ---- parts --------------------------------------------------------------------------


def products(options: argparse.Namespace) -> dict[str, Any]:
    """FLOP/s of square matrix products in both precisions."""
    size = 256 if options.tiny else 8192
    result: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(size, size, device=options.device).to(dtype)
        work = {OURS: partial(torch.mm, matrix, matrix)}
        race(work, 3, options.device)
        times = race(work, 20, options.device, options.rounds_seconds)
        name = str(dtype).removeprefix("torch.")
        result[name] = 2 * size**3 / median(times[OURS])
    return result


def step(name: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """A training step: float32, bfloat16, or bfloat16 and compiled."""
    torch._dynamo.reset()
    precision = "float32" if kind == "float32" else "bfloat16"
    changes = TINY[name] if options.tiny else {}
    batch = options.batch or (2 if options.tiny else BATCH[name])
    sources = noise(our_model(name, **changes).config, batch, options.device)

    def build_ours() -> Step:
        model = our_model(name, **changes).to(options.device)
        if kind == "compiled":
            compile_blocks(model, options)
        return our_step(name, model, precision)

    def build_peer() -> Step:
        ours = our_model(name, **changes)
        model = peer_model(name, ours).to(options.device)
        return peer_step(name, model, ours)

    steps: dict[str, Step] = {}
    first, memory, seconds, note = {}, {}, {}, None
    for side, build in ((OURS, build_ours), (PEER, build_peer)):

        def begin(side: str = side, build: Callable[[], Step] = build) -> float:
            steps[side] = build()
            torch.manual_seed(0)  # of dropout
            return steps[side](sources)

        began = time.perf_counter()
        try:
            first[side], memory[side] = peak_of(begin, options.device)
        except ImportError as error:
            if side == OURS:
                raise
            note = f"{error}"
        seconds[side] = time.perf_counter() - began
    works = {side: partial(one, sources) for side, one in steps.items()}
    for work in works.values():
        work()
    times = race(works, 30, options.device, options.rounds_seconds)
    model = our_model(name, **changes).to(options.device)
    flops = 3 * count_flops(model, sources.sum(1))
    return outcome(times, memory) | {
        "batch": batch,
        "segment": sources.shape[-1] / model.config.sample_rate,
        "loss": first,
        "first_seconds": seconds[OURS],
        "flops": flops,
        "flops_per_second": flops / median(times[OURS]),
        "peer_left_out": note,
    }


def music(seconds: float, device: torch.device) -> Tensor:
    """(stems, channels, samples) of a CC0 song of data/, over and over."""
    track = mssedu.load_track(demo_data() / "test" / "Sodium")
    stems = ("vocals", "drums", "bass", "other")
    sources = torch.stack([track.stem(stem) for stem in stems])
    samples = round(seconds * track.sample_rate)
    repeats = -(-samples // sources.shape[-1])
    return sources.repeat(1, 1, repeats)[..., :samples].contiguous().to(device)


def htdemucs(options: argparse.Namespace) -> nn.Module:
    if options.weights:
        return load_model("htdemucs", weights=options.weights).eval()
    return our_model("htdemucs", **(TINY["htdemucs"] if options.tiny else {})).eval()


def demucs_separates(ours: nn.Module, options: argparse.Namespace) -> Callable:
    """The peer: float32, one chunk after the other, without random shifts."""
    from demucs.apply import apply_model

    model = peer_model("htdemucs", ours).eval().to(options.device)
    return lambda mixture: apply_model(
        model, mixture[None], shifts=0, split=True, overlap=0.25
    )[0]


def as_on_a_card(model: nn.Module, mixture: Tensor, **options: Any) -> Tensor:
    """Separate without the packed layers, which a processor has and a card has not."""
    with patch.object(torch.backends.mkldnn, "is_available", lambda: False):
        return separate(model, mixture, **options)


def separation(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Music by htdemucs, in chunks that are computed together."""
    torch._dynamo.reset()
    model = htdemucs(options)
    try:
        peer, note = demucs_separates(model, options), None
    except ImportError as error:
        peer, note = None, f"{error}"
    sources = music(0.5 if options.tiny else 180.0, options.device)
    stems = ("vocals", "drums", "bass", "other")
    reference = torch.stack([sources[stems.index(s)] for s in model.config.stems])
    mixture = sources.sum(0)
    if kind == "bfloat16 weights":
        model = Lowered(model)
    model.to(options.device)
    if kind == "compiled":
        compile_blocks(model, options)
    run_ours = separate if kind in ("float32", "bfloat16") else as_on_a_card
    ours = partial(
        run_ours,
        model,
        batch_size=2 if options.tiny else CHUNKS,
        precision="float32" if kind == "float32" else "bfloat16",
    )
    sides: dict[str, Callable] = {OURS: ours} | ({PEER: peer} if peer else {})
    estimates, memory, first = {}, {}, {}
    for side, run in sides.items():
        began = time.perf_counter()
        one = partial(run, mixture)
        estimates[side], memory[side] = peak_of(one, options.device)
        first[side] = time.perf_counter() - began
    works = {side: partial(run, mixture) for side, run in sides.items()}
    times = race(works, 1 if options.tiny else 5, options.device, 24.0)
    seconds = mixture.shape[-1] / model.config.sample_rate
    scores = {
        side: usdr(reference=reference, estimate=estimate).tolist()
        for side, estimate in estimates.items()
    }
    result = outcome(times, memory) | {
        "music_seconds": seconds,
        "times_real_time": seconds / median(times[OURS]),
        "first_seconds": first[OURS],
        "stems": list(model.config.stems),
        "usdr": scores,
        "peer_left_out": note,
    }
    if peer:
        gap = estimates[OURS] - estimates[PEER]
        energy = estimates[PEER].square().sum() / gap.square().sum().clamp(min=1e-20)
        result["largest_gap"] = float(gap.abs().max() / estimates[PEER].abs().max())
        result["difference_db"] = float(10 * energy.log10())
    return result


def scores_on_the_card(options: argparse.Namespace) -> dict[str, Any]:
    """BSS Eval of the same music there and on the processor, and their difference."""
    references = music(1.0 if options.tiny else 60.0, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(references.shape, generator=generator) / 50
    # A noise floor, so that no frame of a stem is silent
    references = references + error.flip(0) / 100
    signals = {"references": references, "estimates": references + error}
    there = {name: audio.to(options.device) for name, audio in signals.items()}
    on_cpu = partial(bss_eval, **signals, window_length=44100)
    on_card = partial(bss_eval, **there, window_length=44100)
    exact, memory = on_cpu(), None
    found, memory = peak_of(on_card, options.device)
    times = race({OURS: on_card}, 5, options.device, options.rounds_seconds)
    cpu = race({OURS: on_cpu}, 1, torch.device("cpu"))
    names = ("sdr", "isr", "sir", "sar")
    gaps = {
        name: float((getattr(found, name).cpu() - getattr(exact, name)).abs().max())
        for name in names
    }
    return outcome(times, {OURS: memory}) | {
        "music_seconds": references.shape[-1] / 44100,
        "cpu_seconds": median(cpu[OURS]),
        "ratio": median(cpu[OURS]) / median(times[OURS]),
        "largest_gap_db": gaps,
    }


def marked_tests(options: argparse.Namespace) -> dict[str, Any]:
    """The tests marked gpu."""
    if options.device.type != "cuda":
        raise LeftOutError("they need a CUDA device")
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text("utf-8")
    ]
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p"]
    words += ["no:cacheprovider", "--tb=line", *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"summary": lines[-1] if lines else "", "failed": failed}


def parts() -> dict[str, Part]:
    """All parts, in the order in which they are done."""
    table: dict[str, Part] = {"products": products}
    for kind in ("float32", "bfloat16"):
        table |= {f"step {name} {kind}": partial(step, name, kind) for name in MODELS}
        table[f"separation {kind}"] = partial(separation, kind)
    table["separation bfloat16 weights"] = partial(separation, "bfloat16 weights")
    table["bss_eval"] = scores_on_the_card
    table["tests"] = marked_tests
    table["separation compiled"] = partial(separation, "compiled")
    names = [f"step {name} compiled" for name in MODELS]
    table |= {n: partial(step, n.split()[1], "compiled") for n in names}
    return table


# ---- the run ------------------------------------------------------------------------


def setup(options: argparse.Namespace) -> dict[str, Any]:
    """What a result depends on: a file holds the parts of one setup."""

    def release(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    cuda = options.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "data_sheet": data_sheet(torch.cuda.get_device_name()) if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "torch": torch.__version__,
        "mssedu": mssedu.__version__,
        "demucs": release("demucs"),
        "openunmix": release("openunmix"),
        "tiny": options.tiny,
        "batch": options.batch,
        "weights": options.weights.name if options.weights else None,
    }


def attempt(part: Part, options: argparse.Namespace, limit: float) -> dict[str, Any]:
    """The entry of a part: its result, or the reason for which it is left out."""
    began = time.perf_counter()
    try:
        with at_most(limit):
            entry = {"result": without_nan(part(options))}
    except (OutOfTimeError, LeftOutError) as error:
        entry = {"left_out": str(error) or f"it took longer than {limit:.0f} s"}
    except Exception as error:  # the parts after it are done in any case
        text = " ".join(str(error).split())[:300]
        entry = {"left_out": f"{type(error).__name__}: {text}"}
    gc.collect()
    if options.device.type == "cuda":
        torch.cuda.empty_cache()
    seconds = round(time.perf_counter() - began, 1)
    return entry | {"part_seconds": seconds, "date": time.strftime("%Y-%m-%d")}


def run(options: argparse.Namespace, document: dict[str, Any]) -> None:
    """Do the parts that are missing, then those that were left out before."""
    table, done = parts(), document["parts"]
    missing = [name for name in table if name not in done]
    todo = missing + [name for name in table if "left_out" in done.get(name, {})]
    end = time.monotonic() + 60 * options.minutes
    for number, name in enumerate(todo):
        left = end - time.monotonic()
        limit = COMPILE_LIMIT if name.endswith("compiled") else LIMIT
        is_short = left < limit
        if left < MIN_SECONDS:
            print(f"time is up; not done: {', '.join(todo[number:])}", flush=True)
            return
        entry = attempt(table[name], options, min(left, limit))
        if is_short and "longer than" in entry.get("left_out", ""):
            continue  # the limit of the whole run: it is done the next time
        done[name] = entry
        write_json(options.out, document)
        reason = entry.get("left_out")
        text = f"left out, because {reason}" if reason else "done"
        print(f"{name}: {text}, {entry['part_seconds']} s", flush=True)
        if reason and "CUDA error" in reason:
            sys.exit("the card is in no state to go on; start the command again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, as a test")
    parser.add_argument("--batch", type=int, help="of the training steps")
    parser.add_argument("--weights", type=Path, help="the published htdemucs")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    if options.device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device. Try the script with --tiny --device cpu.")
    if options.tiny and options.weights:
        sys.exit("--tiny excludes --weights, which are of the full size.")
    options.rounds_seconds = 0.3 if options.tiny else 12.0  # after the first round
    # Tiny: the blocks are traced, and run as they are. Compilers take minutes.
    options.backend = "eager" if options.tiny else "inductor"
    torch._dynamo.config.recompile_limit = 64  # each size of a block is one
    here = setup(options)
    document = {"setup": here, "parts": {}}
    if options.out.exists():
        document = json.loads(options.out.read_text("utf-8"))
        if document["setup"] != here:
            sys.exit(f"{options.out} is of another setup: choose another --out.")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run(options, document)
    print(f"python {os.path.relpath(Path(__file__).with_name('report.py'))}", end=" ")
    print(options.out)


if __name__ == "__main__":
    main()

r"""How fast our models separate, against the packages they come from, on one machine.

    python benchmarks/separation.py                               random weights
    python benchmarks/separation.py --weights FILE --data MUSDB18-7S   adds the scores
    python benchmarks/separation.py --device cuda --compile       on a GPU
    python benchmarks/separation.py --section leaders --sides plain,float32 \
        --models scnet,bs_roformer,mel_band_roformer,bsrnn,mdx_net

Each side lives in a process of its own, as one may change what memory costs the other.
All have the same weights and the same input and take turns, one chunk each, so that a
busy moment of the machine meets all of them. The ratio of a round is the original's
time over ours; the table has the median of the rounds. Waiting threads sleep instead of
spinning (in all sides), so that the time on the processors can be counted too: that
hardly depends on what else the machine does. Rewrites a section of RESULTS.md, which
--section names.
Needs demucs==4.1.0, openunmix==1.3.0 and pymss-core==0.1.14 (extra: parity); for
Spleeter see benchmarks/spleeter_side.py. A model without such a package is compared
with its own plain form. The RoFormers have one stem, as published. With --seconds,
chunks are shorter, and nothing is written: a first look on a slow machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from results import processor, write_section
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mssedu
from mssedu.models.registry import create_model
from mssedu.models.spleeter import load_official
from mssedu.separation.fast import ready
from mssedu.weights.loading import load_model

SPLEETER_SIDE = Path(__file__).with_name("spleeter_side.py")
PEERS = {
    "htdemucs": "demucs 4.1.0",
    "hdemucs": "demucs 4.1.0",
    "open_unmix": "openunmix 1.3.0",
    "spleeter": "spleeter 2.4.2",
    "scnet": "pymss-core 0.1.14",
    "bs_roformer": "pymss-core 0.1.14",
    "mel_band_roformer": "pymss-core 0.1.14",
}
TITLES = {
    "separation": "Separation: mssedu and the packages its models come from",
    "leaders": "Separation: the band-split models, and MDX-Net",
}
ROFORMER_STEMS = ("vocals",)
QUIET = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
Run = Callable[[Tensor], Tensor]


def our_model(name: str, weights: Path | None) -> nn.Module:
    """With the given weights, or with the same random ones in every process."""
    if weights and name == "htdemucs":
        return load_model(name, weights=weights).eval()
    torch.manual_seed(0)
    stems = ROFORMER_STEMS if name.endswith("roformer") else None
    changes = {"normalize": False} if name == "scnet" else {}  # as in the package
    model = create_model(name, "paper", stems, **changes).eval()
    if name == "spleeter":
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
        from make_spleeter_golden import PUBLISHED_FILTERS, variables

        load_official(model, variables(len(model.config.stems), PUBLISHED_FILTERS))
    return model


def peer_model(name: str, ours: nn.Module) -> nn.Module:
    """The original with our weights."""
    config = ours.config
    stems = list(config.stems)
    if name == "open_unmix":
        from openunmix.model import OpenUnmix, Separator

        targets = {}
        for stem, network in zip(stems, ours.networks, strict=True):
            sizes = (config.bins, config.channels, config.hidden)
            targets[stem] = OpenUnmix(*sizes, max_bin=config.input_bins)
            targets[stem].load_state_dict(network.state_dict())
        return Separator(targets, niter=config.wiener_iterations).eval()
    if PEERS[name].startswith("pymss"):
        return pymss_model(name, ours)
    if name == "hdemucs":
        from demucs.hdemucs import HDemucs

        model = HDemucs(stems, dconv_comp=config.dconv_compress)
    else:
        from demucs.htdemucs import HTDemucs

        model = HTDemucs(
            stems, segment=config.segment, bottom_channels=512, t_layers=5, dconv_mode=3
        )
    model.load_state_dict(ours.state_dict())
    return model.eval()


def pymss_model(name: str, ours: nn.Module) -> nn.Module:
    """A network of pymss-core with our weights, under the names that it gives them."""
    from pymss_core.modules import bs_roformer, scnet

    from mssedu.weights.convert import port
    from mssedu.weights.foreign import Weights

    config = ours.config
    if name == "scnet":
        theirs = scnet.SCNet(sources=list(config.stems))
    else:
        sizes = {"dim": config.width, "depth": config.n_layers, "heads": config.n_heads}
        sizes |= {"dim_head": config.head_width, "stft_hop_length": config.hop_length}
        depths = {"time_transformer_depth": 1, "freq_transformer_depth": 1}
        form = {"stereo": True, "flash_attn": True, "zero_dc": config.zero_dc}
        if name == "bs_roformer":
            theirs = bs_roformer.BSRoformer(**sizes, **depths, **form)
        else:
            form |= {"mlp_hidden_layers": 1, "match_input_audio_length": True}
            theirs = bs_roformer.MelBandRoformer(**sizes, **depths, **form)
    # Renaming changes no tensor, so the place in memory says which is which.
    weights, state = theirs.state_dict(), ours.state_dict()
    ported = port(Weights(dict(weights)), name, config.stems).state
    by_place = {tensor.data_ptr(): own for own, tensor in ported.items()}
    # Layers share the speeds of rotary positions here, which are constants there too.
    theirs.load_state_dict(
        {n: state.get(by_place.get(v.data_ptr()), v) for n, v in weights.items()}
    )
    return theirs.eval()


def chunk(config: object, batch: int, seconds: float | None = None) -> Tensor:
    """The same noise for all, one segment of the model, or so many seconds."""
    samples = round((seconds or config.segment) * config.sample_rate)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, config.channels, samples, generator=generator) / 10


def serve(name: str, side: str, options: argparse.Namespace) -> None:
    """One side: separates a chunk for each line it reads, and answers with its time."""
    ours = our_model(name, options.weights).to(options.device)
    mixture = chunk(ours.config, options.batch, options.seconds).to(options.device)
    if side in ("peer", "plain"):
        model = peer_model(name, ours) if side == "peer" else ours
        with torch.no_grad():
            answer(model.to(options.device), mixture)
        return
    precision, _, compiled = side.partition("+")
    with ready(ours, precision=precision, compile=bool(compiled)) as forward:
        answer(forward, mixture)


def answer(run: Run, mixture: Tensor) -> None:
    """Run once for each line of the input; a name in it is a file for the estimate."""
    for line in sys.stdin:
        before, cpu = time.perf_counter(), time.process_time()
        estimate = run(mixture)
        if mixture.is_cuda:
            torch.cuda.synchronize()
        times = (time.perf_counter() - before, time.process_time() - cpu)
        if line.strip():
            np.save(line.strip(), estimate.float().cpu().numpy())
        print(json.dumps(times), flush=True)


class Side:
    """A process that serves one side."""

    def __init__(
        self, name: str, side: str, options: argparse.Namespace, folder: str
    ) -> None:
        command = [sys.executable, __file__, "--serve", side, "--models", name]
        command += ["--device", options.device, "--batch", str(options.batch)]
        command += ["--weights", str(options.weights)] if options.weights else []
        command += ["--seconds", str(options.seconds)] if options.seconds else []
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        if name == "spleeter" and side == "peer":
            mixture = Path(folder, "mixture.npy")
            config = our_model(name, None).config
            np.save(mixture, chunk(config, 1)[0].numpy())
            command = [options.spleeter, SPLEETER_SIDE, mixture]
        self.process = subprocess.Popen(command, env=os.environ | QUIET, **pipes)

    def run(self, save: str = "") -> tuple[float, float]:
        """Seconds by the clock, and on the processors."""
        print(save, file=self.process.stdin, flush=True)
        return tuple(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def race(name: str, sides: list[str], options: argparse.Namespace) -> list[str]:
    """Rows of the table for one model."""
    first = sides[0]
    with tempfile.TemporaryDirectory() as folder:
        running = {side: Side(name, side, options, folder) for side in sides}
        files = {side: Path(folder, f"{side}.npy") for side in sides}
        for side, process in running.items():  # the first chunk warms up
            process.run(str(files[side]))
        estimates = {s: torch.from_numpy(np.load(files[s])) for s in sides}
    rounds = [
        {side: process.run() for side, process in running.items()}
        for _ in range(options.rounds)
    ]
    for process in running.values():
        process.close()
    rows = []
    loudest = estimates[first].abs().max()
    for side in sides:
        wall, cpu = (
            statistics.median(one[first][i] / one[side][i] for one in rounds)
            for i in range(2)
        )
        best = [min(one[side][i] for one in rounds) for i in range(2)]
        gap = (estimates[side] - estimates[first]).abs().max() / loudest
        label = PEERS[name] if side == "peer" else f"mssedu, {side}"
        rows.append(
            f"| {name} | {label} | {best[0]:.2f} | {best[1]:.2f} "
            f"| {wall:.2f} | {cpu:.2f} | {gap:.0e} |"
        )
        print(rows[-1], flush=True)
    return rows


def rates(device: str) -> str:
    """GFLOP a second of a matrix product and of a convolution, the best of ten."""
    texts = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(2048, 2048, device=device, dtype=dtype)
        picture = matrix.T.reshape(1, 2048, 1, 2048)
        picture = picture.contiguous(memory_format=torch.channels_last)
        kernel = matrix[:, :, None, None]
        works = partial(torch.mm, matrix, matrix), partial(F.conv2d, picture, kernel)
        best = [min(timed(work, device) for _ in range(10)) for work in works]
        speeds = " and ".join(f"{2 * 2048**3 / s / 1e9:.0f}" for s in best)
        texts.append(f"{str(dtype).removeprefix('torch.')} {speeds}")
    return "; ".join(texts)


def timed(work: Callable[[], object], device: str) -> float:
    before = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - before


def scores(options: argparse.Namespace) -> list[str]:
    """usdr of the published htdemucs in both precisions, track by track."""
    from mssedu.data.loading import demo_data
    from mssedu.metrics.ratios import usdr

    model = our_model("htdemucs", options.weights)
    tracks = [mssedu.load_track(demo_data() / "test" / "Sodium")]
    if options.data:
        tracks += [*mssedu.load_dataset(options.data / "test")][: options.tracks]
    rows, stems = [], model.config.stems
    for track in tracks:
        reference = torch.stack([track.stem(stem) for stem in stems])
        found = [
            usdr(
                reference=reference,
                estimate=mssedu.separate(model, track.mixture(), precision=precision),
            )
            for precision in ("float32", "bfloat16")
        ]
        change = " | ".join(f"{d:+.4f}" for d in (found[1] - found[0]).tolist())
        rows.append(f"| {track.name} | {found[0].mean():.2f} | {change} |")
        print(rows[-1], flush=True)
    head = f"| track | mean usdr in float32, dB | {' | '.join(stems)} |"
    return [head, "| --- |" + " ---: |" * (1 + len(stems)), *rows]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="htdemucs,hdemucs,open_unmix")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tracks", type=int, default=4)
    parser.add_argument("--seconds", type=float, help="of a chunk; else its segment")
    parser.add_argument("--sides", help="some of plain,float32,bfloat16, as a list")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--section", choices=TITLES, default="separation")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--spleeter", help="a Python that has spleeter==2.4.2")
    parser.add_argument("--serve", help="used by the command itself")
    options = parser.parse_args()
    if options.serve:
        serve(options.models, options.serve, options)
        return
    sides = ["peer", "plain", "float32", "bfloat16"]
    sides += ["float32+compile", "bfloat16+compile"] if options.compile else []
    if options.sides:
        sides = ["peer", *options.sides.split(",")]
    names = options.models.split(",") + ["spleeter"] * bool(options.spleeter)
    lines = [
        f"## {TITLES[options.section]}",
        "",
        f"`python benchmarks/separation.py {' '.join(arguments())}`,",
        f"{machine(options)}, {time.strftime('%Y-%m-%d')}: one chunk of the model's",
        f"length, noise, batch of {options.batch}; best of {options.rounds} rounds in",
        "seconds, median of the rounds' ratios. GFLOP/s of a matrix product",
        "2048 x 2048 and of the same as a convolution:",
        f"{rates(options.device)}.",
        "",
        "| model | side | seconds | CPU seconds | as fast | by CPU seconds | gap |",
        "| --- |" + " --- |" + 5 * " ---: |",
    ]
    for name in names:
        own = [side for side in sides if side != "peer" or name in PEERS]
        lines += race(name, own, options)
    lines += ["", "The gap is the largest difference over the loudest sample.", ""]
    counted = ", ".join(work(name, options) for name in names)
    lines += [f"GFLOP a chunk, LSTMs left out: {counted}."]
    if options.weights:
        lines += ["", "usdr of the published htdemucs, and its change in bfloat16, dB:"]
        lines += ["", *scores(options)]
    if options.seconds is None:
        write_section(options.section, "\n".join(lines))


def arguments() -> list[str]:
    """Of the command, folders left out."""
    return [Path(word).name for word in sys.argv[1:]]


def machine(options: argparse.Namespace) -> str:
    """Processor or GPU, threads, and release of torch."""
    if options.device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{processor()}, threads: {threads}, torch {torch.__version__}"


def work(name: str, options: argparse.Namespace) -> str:
    """GFLOP of the matrix products and convolutions of one chunk, LSTMs left out."""
    model = our_model(name, options.weights)
    # Fused attention is not counted on the CPU, its steps are.
    steps, counter = sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False)
    with torch.no_grad(), steps, counter:
        model(chunk(model.config, 1, options.seconds))
    return f"{name} {counter.get_total_flops() / 1e9:.0f}"


if __name__ == "__main__":
    main()

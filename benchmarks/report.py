"""Turn the file of benchmarks/gpu.py into its section of RESULTS.md.

    python benchmarks/report.py gpu.json
    python benchmarks/report.py gpu.json --print       only show it

Needs no graphics card, and no torch. A tiny run is a test of the script and no result,
so it is only shown.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from results import write_section

OURS, PEER = "mssedu", "peer"
PEERS = {"open_unmix": "openunmix"}  # of the other models: demucs
NONE = "–"
Parts = dict[str, dict[str, Any]]


def number(value: float | None, form: str, factor: float = 1.0) -> str:
    """A number in a cell; a dash where there is none."""
    return NONE if value is None else format(value * factor, form)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[str], n_words: int) -> list[str]:
    """A table whose first columns are words, and whose others are numbers."""
    line = row(*["---"] * n_words, *["---:"] * (len(head) - n_words))
    return ["", row(*head), line, *rows] if rows else []


def results_of(parts: Parts, begin: str) -> dict[str, dict[str, Any]]:
    """Results of the parts with this begin, by the rest of their names."""
    return {
        name.removeprefix(begin): part["result"]
        for name, part in parts.items()
        if name.startswith(begin) and "result" in part
    }


def peak(document: dict[str, Any]) -> tuple[float | None, str]:
    """FLOP/s of the card in bfloat16, and where the number comes from."""
    if document["setup"]["data_sheet"]:
        return document["setup"]["data_sheet"], "of the data sheet"
    products = results_of(document["parts"], "products").get("", {})
    return products.get("bfloat16"), "of a matrix product"


def both_sides(result: dict[str, Any], peer: str, side: str) -> list[list[str]]:
    """Cells of the peer and of ours: side, seconds, as fast, memory."""
    cells = []
    for key, label in ((PEER, f"{peer}, float32"), (OURS, f"mssedu, {side}")):
        if key in result["seconds"]:
            ratio = 1.0 if key == PEER else result.get("ratio")
            seconds = number(result["seconds"][key], ".3f")
            memory = number(result["memory"].get(key), ".2f", 1e-9)
            cells.append([label, seconds, number(ratio, ".2f"), memory])
    return cells


def step_rows(document: dict[str, Any]) -> list[str]:
    """Each of our sides below the peer that it took turns with."""
    rows, (limit, _) = [], peak(document)
    steps = results_of(document["parts"], "step ")
    for name in sorted(steps, key=lambda name: name.split()[0]):
        result, (model, side) = steps[name], name.split()
        sides = both_sides(result, PEERS.get(model, "demucs"), side)
        rate = result["flops_per_second"]
        share = number(limit and rate / limit, ".1%")
        size = f"{result['batch']} × {result['segment']:.1f} s"
        for cells in sides:
            is_ours = cells is sides[-1]
            last = [number(rate, ".2f", 1e-12), share] if is_ours else ["", ""]
            loss = result["loss"][OURS if is_ours else PEER]
            rows.append(row(model, size, *cells, *last, number(loss, ".5f")))
    return rows


def separation_rows(document: dict[str, Any]) -> list[str]:
    """As `step_rows`, with the difference of the estimates and usdr."""
    rows = []
    for side, result in results_of(document["parts"], "separation ").items():
        sides = both_sides(result, "demucs", side)
        for cells in sides:
            key = OURS if cells is sides[-1] else PEER
            speed = result["music_seconds"] / result["seconds"][key]
            scores = [score for score in result["usdr"][key] if score is not None]
            mean = sum(scores) / len(scores) if scores else None
            gap = [number(result.get("difference_db"), ".1f")]
            gap.append(number(largest_change(result), ".4f"))
            last = gap if key == OURS else ["", ""]
            rows.append(row(*cells, f"{speed:.0f}", number(mean, ".3f"), *last))
    return rows


def largest_change(result: dict[str, Any]) -> float | None:
    """Of the usdr of any stem, ours against the peer's, in dB."""
    pairs = zip(result["usdr"][OURS], result["usdr"].get(PEER, []), strict=False)
    changes = [ours - theirs for ours, theirs in pairs if None not in (ours, theirs)]
    return max(changes, key=abs) if changes else None


def about(document: dict[str, Any]) -> list[str]:
    """The head of the section: what was run, where, and when."""
    setup, parts = document["setup"], document["parts"]
    dates = sorted({part["date"] for part in parts.values()})
    versions = ", ".join(
        f"{package} {setup[package] or 'missing'}"
        for package in ("torch", "demucs", "openunmix")
    )
    command = "python benchmarks/gpu.py" + " --tiny" * setup["tiny"]
    command += f" --weights {setup['weights']}" if setup["weights"] else ""
    place = f"{setup['device']}, CUDA {setup['cuda'] or 'missing'}, {versions}"
    lines = ["## On a graphics card: training steps, separation, scores", ""]
    lines += [f"`{command}`,", f"{place}, {' … '.join(dates[:1] + dates[1:][-1:])}."]
    if not setup["weights"]:
        lines.append("The weights are random: times count, and usdr does not.")
    products = results_of(parts, "products").get("")
    if products:
        single, half = (products[name] / 1e12 for name in ("float32", "bfloat16"))
        lines.append(f"TFLOP/s of a product of square matrices: float32 {single:.1f},")
        lines.append(f"bfloat16 {half:.1f}.")
    if setup["data_sheet"]:
        flops = setup["data_sheet"] / 1e12
        lines.append(f"The data sheet has {flops:.0f} in bfloat16.")
    return lines


def others(parts: Parts) -> list[str]:
    """Scores, tests, and what was left out."""
    lines = []
    if bss := results_of(parts, "bss_eval").get(""):
        gap = max(bss["largest_gap_db"].values())
        seconds = bss["seconds"][OURS]
        lines += ["", f"BSS Eval of {bss['music_seconds']:.0f} s, four stereo stems:"]
        lines += [f"{seconds:.2f} s on the card, {bss['cpu_seconds']:.2f} s on the"]
        lines += [f"processor; largest difference of a frame {gap:.0e} dB."]
    if tests := results_of(parts, "tests").get(""):
        lines += ["", f"Tests marked gpu: {tests['summary'].strip('= ')}."]
        lines += [f"- {line}" for line in tests["failed"]]
    reasons = {name: part.get("left_out") for name, part in parts.items()}
    for name, part in parts.items():
        note = part.get("result", {}).get("peer_left_out")
        reasons[f"{name}, other package"] = note
    left_out = [f"- {name}: {why}" for name, why in reasons.items() if why]
    if left_out:
        lines += ["", "Left out, because:", "", *left_out]
    return lines


def section(document: dict[str, Any]) -> str:
    """The text of the section."""
    _, source = peak(document)
    lines = about(document)
    head = ["model", "batch", "side", "seconds", "as fast", "memory, GB", "TFLOP/s"]
    head += ["of the peak", "loss"]
    rows = step_rows(document)
    if rows:
        lines += ["", "A training step of both sides in turns, median:"]
        lines += table(head, rows, 3)
        lines += ["", f"The peak is that {source} in bfloat16. The loss is that of the"]
        lines += ["first step; open-unmix compares magnitudes, one stem after another."]
    head = ["side", "seconds", "as fast", "memory, GB", "times real time"]
    head += ["mean usdr, dB", "difference, dB", "largest change of a stem, dB"]
    rows = separation_rows(document)
    if rows:
        results = results_of(document["parts"], "separation ")
        length = next(iter(results.values()))["music_seconds"]
        lines += ["", f"Separation of {length:g} s of music by htdemucs, both sides in"]
        lines += ["turns, median. The difference is the energy of the estimate of"]
        lines += ["demucs over that of the difference to ours:"]
        lines += table(head, rows, 1)
    return "\n".join([*lines, *others(document["parts"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--print", action="store_true", help="write nothing")
    options = parser.parse_args()
    if not options.file.exists():
        sys.exit(f"{options.file} does not exist: benchmarks/gpu.py writes it.")
    document = json.loads(options.file.read_text("utf-8"))
    text = section(document)
    if not (options.print or document["setup"]["tiny"]):
        write_section("gpu", text)
    print(text)


if __name__ == "__main__":
    main()

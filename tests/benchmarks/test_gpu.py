"""The script for graphics cards, in tiny sizes: all parts, a kill, and a report."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mssedu.separation.threads import SHORT

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MODELS = ("htdemucs", "hdemucs", "open_unmix")


@pytest.fixture
def benchmark(monkeypatch):
    """Loads a script of the benchmarks as a module."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def start(out, *options):
    words = [sys.executable, FOLDER / "gpu.py", "--tiny", "--device", "cpu"]
    words += ["--out", out, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | SHORT
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes)


def killed_after_two_parts(out):
    """What the script has written when it is killed."""
    process = start(out)
    try:
        while process.poll() is None:
            if out.exists() and len(json.loads(out.read_text("utf-8"))["parts"]) >= 2:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    return json.loads(out.read_text("utf-8"))["parts"]


def check_step(result, name):
    assert result["seconds"]["mssedu"] > 0
    assert result["flops"] > 0
    assert result["ratio"] > 0
    if name != "open_unmix":  # the same weights, batch and loss on both sides
        ours, peer = result["loss"]["mssedu"], result["loss"]["peer"]
        assert ours == pytest.approx(peer, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parity
def test_tiny_sizes_on_the_processor(tmp_path, benchmark):
    pytest.importorskip("demucs")
    pytest.importorskip("openunmix")
    out = tmp_path / "gpu.json"
    before = killed_after_two_parts(out)
    assert 2 <= len(before) < len(benchmark("gpu").parts())
    process = start(out, "--minutes", "20")
    said, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors
    document = json.loads(out.read_text("utf-8"))
    parts = document["parts"]
    assert before.items() <= parts.items()  # what was done is not done again
    assert [*parts] == [*benchmark("gpu").parts()]
    left_out = {
        name: part["left_out"] for name, part in parts.items() if part.get("left_out")
    }
    assert left_out == {"tests": "they need a CUDA device"}, said
    results = {name: part.get("result") for name, part in parts.items()}
    for name in MODELS:
        for kind in ("float32", "bfloat16", "compiled"):
            check_step(results[f"step {name} {kind}"], name)
    assert results["separation float32"]["difference_db"] > 60
    for kind in ("bfloat16", "bfloat16 weights", "compiled"):
        assert results[f"separation {kind}"]["difference_db"] > 10
    assert max(results["bss_eval"]["largest_gap_db"].values()) < 1e-6
    text = benchmark("report").section(document)
    for name in (*MODELS, "mssedu, compiled", "openunmix, float32", "tests: they need"):
        assert name in text


@pytest.fixture
def gpu(benchmark):
    return benchmark("gpu")


@pytest.fixture
def options(gpu, tmp_path):
    class Options:
        device, tiny, batch, weights = torch.device("cpu"), True, None, None
        minutes, out = 1.0, tmp_path / "gpu.json"

    return Options


def names_of(entries):
    return {name: next(iter(entry)) for name, entry in entries.items()}


def test_a_part_that_fails_or_lasts_is_left_out_with_the_reason(gpu, options):
    def fails(options):
        raise RuntimeError("no such\nkernel")

    def lasts(options):
        try:
            time.sleep(60)
        except Exception:  # as a compiler does
            return {}

    entry = gpu.attempt(fails, options, 10)
    assert entry["left_out"] == "RuntimeError: no such kernel"
    entry = gpu.attempt(lasts, options, 0.1)
    assert entry["left_out"].startswith("it took longer than")
    entry = gpu.attempt(lambda options: {"usdr": [float("nan"), 1.0]}, options, 10)
    assert entry["result"] == {"usdr": [None, 1.0]}


def test_missing_parts_come_first_and_left_out_ones_again(gpu, options, monkeypatch):
    calls = []

    def part(name):
        return lambda options: calls.append(name) or {"name": name}

    monkeypatch.setattr(gpu, "parts", lambda: {name: part(name) for name in "abcd"})
    parts = {"a": {"left_out": "no card"}, "b": {"result": {"name": "old"}}}
    gpu.run(options, {"parts": parts})
    assert calls == ["c", "d", "a"]
    written = json.loads(options.out.read_text("utf-8"))["parts"]
    assert names_of(written) == dict.fromkeys("abcd", "result")
    assert written["b"]["result"] == {"name": "old"}


def test_the_time_limit_leaves_a_part_for_the_next_time(
    gpu, options, monkeypatch, capsys
):
    parts = {"long": lambda options: time.sleep(60), "next": lambda options: {}}
    monkeypatch.setattr(gpu, "parts", lambda: parts)
    monkeypatch.setattr(gpu, "MIN_SECONDS", 0.2)
    options.minutes = 0.5 / 60
    document = {"parts": {}}
    gpu.run(options, document)
    assert document["parts"] == {}
    assert "not done: next" in capsys.readouterr().out


def test_the_peak_is_that_of_the_card(gpu):
    assert gpu.data_sheet("NVIDIA H200") == 989e12
    assert gpu.data_sheet("NVIDIA H100 PCIe") == 756e12
    assert gpu.data_sheet("NVIDIA L40S") == 362e12
    assert gpu.data_sheet("NVIDIA A100-SXM4-80GB") == 312e12
    assert gpu.data_sheet("Tesla T4") is None


def test_a_report_of_a_card(benchmark):
    seconds = {"mssedu": 0.1, "peer": 0.3}
    step = {"seconds": seconds, "ratio": 3.0, "memory": {"mssedu": 5e9, "peer": 7e9}}
    step |= {"batch": 4, "segment": 7.8, "loss": {"mssedu": 0.5, "peer": 0.5}}
    step |= {"flops_per_second": 98.9e12, "peer_left_out": None}
    alone = step | {"seconds": {"mssedu": 0.2}, "peer_left_out": "No module demucs"}
    setup = {"device": "NVIDIA H200", "data_sheet": 989e12, "cuda": "12.8"}
    setup |= {"torch": "2.11", "demucs": None, "openunmix": "1.3.0"}
    setup |= {"tiny": False, "weights": "weights.safetensors"}
    parts = {
        "step htdemucs bfloat16": {"result": step, "date": "2026-11-01"},
        "step hdemucs float32": {"result": alone, "date": "2026-11-02"},
        "tests": {
            "result": {"summary": "9 passed", "failed": []},
            "date": "2026-11-02",
        },
        "products": {"left_out": "out of memory", "date": "2026-11-01"},
    }
    text = benchmark("report").section({"setup": setup, "parts": parts})
    assert "| htdemucs | 4 × 7.8 s | demucs, float32 | 0.300 | 1.00 | 7.00 |" in text
    row = "| htdemucs | 4 × 7.8 s | mssedu, bfloat16 | 0.100 | 3.00 | 5.00 | 98.90 |"
    assert f"{row} 10.0% | 0.50000 |" in text
    assert "No module demucs" in text
    assert "products: out of memory" in text
    assert "9 passed" in text

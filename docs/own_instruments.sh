#!/usr/bin/env bash
# Train on your own instruments: four folders of recordings become a trained model and a
# table of scores, in about two minutes on two processors.
#
#     bash docs/own_instruments.sh OUT
#
# The recordings are synthesized here, so that nothing has to be downloaded. With real
# ones, replace the first step by four folders of your own, leave out the sample rate
# and --channels 1, and take more mixes (1000), more steps (20000) and a larger model.
set -euo pipefail
out=${1:?"usage: bash docs/own_instruments.sh OUT"}
stems=(dizi pipa yangqin other)
mkdir -p "$out"

echo "1. Recordings of single instruments: $out/recordings/dizi/*.wav, …"
python - "$out/recordings" "${stems[@]}" <<'END'
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

RATE, SECONDS, RECORDINGS = 22050, 20, 8
PENTATONIC = (0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24)  # semitones


def plucked_string(random, hz, seconds, brightness, decay):
    """Karplus and Strong 1983: noise in a loop that damps its high partials."""
    period = round(RATE / hz)
    wave = random.uniform(-1, 1, period)
    wave -= wave.mean()  # a mean would stay in the loop as a DC offset
    loss = 10 ** (-3 * period / RATE / decay)  # 60 dB in `decay` seconds
    periods = []
    for _ in range(round(seconds * RATE) // period + 1):
        mean = (wave + np.roll(wave, 1)) / 2
        wave = loss * (brightness * wave + (1 - brightness) * mean)
        periods.append(wave)
    return np.concatenate(periods)


def flute(random, hz, seconds):
    """Three partials with vibrato, and breath."""
    time = np.arange(round(seconds * RATE)) / RATE
    vibrato = 0.006 * np.sin(2 * np.pi * 5.2 * time) * np.minimum(time / 0.2, 1)
    phase = 2 * np.pi * np.cumsum(hz * (1 + vibrato)) / RATE
    tone = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    breath = np.convolve(random.standard_normal(len(time)), [0.08, 0, -0.08], "same")
    ramp = np.minimum(np.minimum(time / 0.04, (seconds - time) / 0.06), 1)
    return (tone + breath) * np.maximum(ramp, 0)


def drum(random):
    time = np.arange(round(0.3 * RATE)) / RATE
    skin = np.sin(2 * np.pi * (50 * time + 6 * (1 - np.exp(-time / 0.03))))
    stick = random.standard_normal(len(time)) * np.exp(-time / 0.02)
    return skin * np.exp(-time / 0.08) + 0.3 * stick


def note(stem, random, hz, seconds):
    if stem == "dizi":
        return flute(random, 4 * hz, seconds)
    if stem == "yangqin":
        return plucked_string(random, 2 * hz, 4 * seconds, 0.9, 4.0)
    if stem == "pipa":
        return plucked_string(random, hz, seconds, 0.3, 0.7)
    return np.concatenate([drum(random), 0.7 * flute(random, hz / 4, seconds)])


def melody(stem, number):
    """A random walk on the pentatonic scale."""
    random = np.random.default_rng([*stem.encode(), number])
    sound = np.zeros(RATE * (SECONDS + 8))
    root, beat = 220 * 2 ** (5 * number % 12 / 12), 0.24 + 0.02 * number
    step, start = 5, 0.0
    while start < SECONDS:
        step = int(np.clip(step + random.integers(-2, 3), 0, 10))
        seconds = beat * random.choice([1, 1, 2])
        tone = note(stem, random, root * 2 ** (PENTATONIC[step] / 12), seconds)
        first = round(start * RATE)
        sound[first : first + len(tone)] += random.uniform(0.5, 1) * tone
        start += seconds
    sound = sound[: RATE * SECONDS]
    return 0.7 * sound / abs(sound).max()


for stem in sys.argv[2:]:
    folder = Path(sys.argv[1], stem)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, RECORDINGS + 1):
        sf.write(folder / f"{stem} {number}.wav", melody(stem, number), RATE)
END
echo "Synthesized by docs/own_instruments.sh. License: CC0" > "$out/recordings/LICENSE"

echo "2. Mixes of them; no recording is in two splits"
mssedu data build "$out/recordings" "$out/mixes" --mixes 40 --seconds 6 \
    --gain-db -6 3 --split 0.6 0.2 0.2 --seed 0 --mixture \
    --sample-rate 22050 --channels 1

echo "3. A look for faults"
mssedu data check "$out/mixes"

echo "4. A small model learns to separate them"
mssedu train "$out/mixes" --stems "${stems[@]}" --model open_unmix --preset tiny \
    --set channels=1 sample_rate=22050 --steps 400 --batch-size 4 --segment 2 \
    --loss thresholded_snr --learning-rate 0.003 --valid-every 100 --in-memory \
    --run-dir "$out/run"

echo "5. The stems of a mix that it has not seen, to listen to"
song=$(ls -d "$out"/mixes/test/* | head -1)
mssedu separate "$song/mixture.wav" --model "$out/run" --out-dir "$out/separated"

echo "6. Scores of all such mixes"
mssedu evaluate "$out/mixes" --split test --model "$out/run" --metrics usdr \
    --rows silence mixture model irm --out-dir "$out/scores"

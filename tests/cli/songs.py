"""Songs of noise on the disk, and a recipe that trains on them in a second."""

import torch

from mssedu.audio.tensors import save_audio

STEMS = ("vocals", "drums")
RECIPE = """
title = "A tiny network"
source = "the tests"
ran = "transcribed"
[train]
model = "open_unmix"
preset = "tiny"
stems = ["vocals", "drums"]
device = "cpu"
steps = 2
batch_size = 2
segment = 0.3
valid_every = 1
[model]
hidden = 4
n_layers = 1
wiener_iterations = 0
"""


def make_songs(root, places, seconds=1.0):
    """A folder per place, such as train/a, with a file per stem."""
    for seed, place in enumerate(places):
        folder = root / place
        folder.mkdir(parents=True)
        generator = torch.Generator().manual_seed(seed)
        for stem in STEMS:
            audio = torch.rand(2, int(44100 * seconds), generator=generator) - 0.5
            save_audio(folder / f"{stem}.wav", audio, 44100)
    return root


def write_recipe(path, text=RECIPE):
    path.write_text(text, "utf-8")
    return path

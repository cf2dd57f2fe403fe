"""The demo: train a small model on four songs, take a new one apart, score it.

    data/train ──fit──▶ model ──separate──▶ stems of the held-out song ──▶ report.html

Everything it does is a call that a notebook or your own script can make.
"""

import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mssedu.audio.tensors import save_audio
from mssedu.data.layouts import demo_data, load_dataset
from mssedu.data.track import Track
from mssedu.errors import InputError, message
from mssedu.evaluation.result import Evaluation
from mssedu.evaluation.run import evaluate
from mssedu.evaluation.track import Scores
from mssedu.figures.sound import scores_figure, spectrogram_figure
from mssedu.models.registry import create_model
from mssedu.reports.demo import Page, write_report
from mssedu.separation.tensors import separate
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.weights.checkpoint import load_checkpoint

DEFINITION = "usdr"  # of the scores
ROWS = ("silence", "mixture", "model", "irm")
MARK = ".mssedu-demo"  # the file in a folder whose content a demo may replace
FOLDERS = ("training", "stems", "figures")
FILES = ("report.html", "scores.json")
Sounds = Mapping[str, Tensor]  # stem -> (channels, samples)

CONFIG = TrainConfig(
    model="open_unmix",
    preset="tiny",
    steps=240,
    batch_size=2,
    segment=3.0,
    loss="thresholded_snr",
    learning_rate=4e-3,
    schedule="cosine",
    ema_decay=0.98,
    level_db=-25.0,
    gain_db=(-8.0, 8.0),
    silence=0.1,
    valid_every=240,
)


@dataclass(frozen=True)
class Demo:
    """What the demo has made."""

    folder: Path
    track: str
    scores: Evaluation
    train_seconds: float


def run_demo(
    folder: str | Path = "runs/demo",
    *,
    config: TrainConfig = CONFIG,
    log: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int, float, float | None], None] | None = None,
) -> Demo:
    """Train, separate, score and write stems, figures, scores.json and report.html.

    Args:
        folder: what it writes into: new, empty, or that of an earlier demo, whose files
            are replaced.
        config: of the training; the default takes about two minutes on two CPU cores.
        log: is given a sentence before each stage.
        progress: as in `mssedu.training.loop.fit`.

    Raises:
        InputError: the folder holds something else than an earlier demo; it is left as
            it is.
        DatasetError: the songs in data/ are not there.
    """
    folder = Path(folder)
    is_earlier_demo(folder)  # an InputError, before anything is read or changed
    torch.manual_seed(config.seed)
    log("Reading the songs")
    songs = [song.in_memory() for song in load_dataset(demo_data())]
    by_split = {split: [s for s in songs if s.split == split] for split in _SPLITS}
    train_songs = by_split["train"]
    _clear(folder)
    model = create_model(config.model, config.preset, stems=config.stems)
    log(f"Training {config.model} ({config.preset}) on {_names(train_songs)}")
    started = time.perf_counter()
    run_dir = folder / "training"
    result = fit(
        model,
        train_songs,
        by_split["valid"],
        config,
        run_dir,
        log=log,
        progress=progress,
    )
    train_seconds = time.perf_counter() - started
    (song,) = by_split["test"]
    log(f"Separating {song.name}, which the model has never heard")
    trained = load_checkpoint(result.checkpoint)
    estimate = separate(trained, song.mixture())
    scores = evaluate(
        trained, [song], metrics=[DEFINITION], rows=ROWS, estimates=lambda _: estimate
    )
    log("Writing stems, figures and the report")
    _write(folder, song, trained, estimate, scores, config, train_seconds)
    return Demo(folder, song.name, scores, train_seconds)


_SPLITS = ("train", "valid", "test")


def is_earlier_demo(folder: str | Path) -> bool:
    """Whether a folder bears the mark of an earlier demo; False if it is new or empty.

    Raises:
        InputError: the folder holds something else, or is a file.
    """
    folder = Path(folder)
    if (folder / MARK).is_file():
        return True
    if not folder.exists():
        return False
    got = "a file"
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        if not names:
            return False
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        got = f"one that holds {', '.join(names[:3])}{more}"
    wanted = "a new or empty folder, or that of an earlier demo"
    remedy = "Choose another folder with --folder, or remove what lies there."
    raise InputError(message(f"demo in {folder.absolute()}", wanted, got, remedy))


def _clear(folder: Path) -> None:
    """Mark the folder as a demo's, then remove what an earlier demo has written there.

    The mark comes first: a demo that is interrupted can be replaced, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ", ".join((*FOLDERS, *FILES))
    text = f"mssedu demo wrote this folder. The next one replaces {names}.\n"
    (folder / MARK).write_text(text, "utf-8")
    for name in FOLDERS:
        if (folder / name).is_symlink():  # what it leads to is not the demo's
            (folder / name).unlink()
        elif (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _write(
    folder: Path,
    song: Track,
    model: nn.Module,
    estimate: Tensor,
    scores: Evaluation,
    config: TrainConfig,
    train_seconds: float,
) -> None:
    """Stems, figures, scores.json and report.html."""
    for name in ("stems", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stems = scores.stems
    estimates = dict(zip(stems, estimate, strict=True))
    references = {stem: song.stem(stem) for stem in stems}
    for stem, audio in estimates.items():
        path = folder / "stems" / f"{stem}.wav"
        save_audio(path, audio, song.sample_rate, subtype="float32")
    rows = scores.of_track(song.name, DEFINITION)
    document = {"track": song.name, "definition": DEFINITION, "rows": rows}
    (folder / "scores.json").write_text(json.dumps(document, indent=2), "utf-8")
    figures = _figures(song, estimates, references, rows)
    for number, figure in enumerate(figures.values(), 1):
        figure.savefig(folder / "figures" / f"{number}_{_FIGURE_NAMES[number - 1]}.png")
    parameters = sum(p.numel() for p in model.parameters())
    minutes = config.steps * config.batch_size * config.segment / 60
    page = Page(
        title=f"{song.name}, taken apart",
        summary=(
            f"A small {config.model} with {parameters:,} parameters heard "
            f"{minutes:.0f} minutes of random mixtures in {train_seconds:.0f} seconds "
            "of training, then took apart a song that it had never heard. It cannot be "
            "good yet; the point is that all of it happened in front of you."
        ),
        definition=DEFINITION,
        rows=rows,
        mixture=song.mixture(),
        estimates=estimates,
        references=references,
        sample_rate=song.sample_rate,
        figures=figures,
        facts=_facts(config, train_seconds),
    )
    write_report(folder / "report.html", page)


_FIGURE_NAMES = ("spectrograms", "scores")


def _figures(
    song: Track, estimates: Sounds, references: Sounds, rows: Mapping[str, Scores]
) -> dict[str, Figure]:
    """Caption -> figure, in the order of `_FIGURE_NAMES`."""
    together = sum(estimates.values(), torch.zeros(1))
    panels = {"mixture": song.mixture(), "sum of the estimates": together}
    for stem, audio in estimates.items():
        panels[f"{stem}, true"] = references[stem]
        panels[f"{stem}, estimate"] = audio
    return {
        "The whole song: what was mixed, and what the model made of it.": (
            spectrogram_figure(panels, song.sample_rate, columns=2)
        ),
        "Scores of each stem; silence scores 0 dB.": scores_figure(rows),
    }


def _facts(config: TrainConfig, train_seconds: float) -> dict[str, str]:
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    return {
        "training": ", ".join(f"{name} {value}" for name, value in changed.items()),
        "training took": f"{train_seconds:.0f} s",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"PyTorch {torch.__version__}",
        "music": "“Everything is Free” by Software-Entwicklungskit, CC0 1.0",
    }


def _names(tracks: list[Track]) -> str:
    return ", ".join(track.name for track in tracks)

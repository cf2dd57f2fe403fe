"""The command `mssedu demo`: train a small model on four songs and separate a new one.

    data/train ──fit──▶ model ──separate──▶ stems of the test song ──▶ report.html
    data/models ──────▶ model that was trained for longer, as one more row of scores

Every step is a call that a notebook or your own script can make as well.
"""

import dataclasses
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mssedu.audio.disk import check_folder, check_room
from mssedu.audio.files import write_json, write_text
from mssedu.audio.names import path_inside
from mssedu.cli.console import bar, out, show_steps
from mssedu.errors import InputError
from mssedu.training.config import TrainConfig
from mssedu.weights.published import SHIPPED

if TYPE_CHECKING:  # so that `mssedu --help` starts without torch
    from torch import Tensor, nn

    from mssedu.data.track import Track
    from mssedu.evaluation.result import Evaluation

DEMO_FOLDER = Path("runs/demo")
DEFINITION = "usdr"  # of the scores
ROWS = ("silence", "mixture", "model", "irm")
MARK = ".mssedu-demo"  # this file marks a folder whose content a demo may replace
ROOM = 150e6  # bytes; checkpoints, stems and page of the demo take 105 MB
FOLDERS = ("training", "stems", "figures")
FILES = ("report.html", "scores.json")

CONFIG = TrainConfig(
    model="open_unmix",
    preset="tiny",
    steps=240,
    batch_size=2,
    segment=3.0,
    loss=("thresholded_snr",),
    learning_rate=4e-3,
    schedule="cosine",
    ema_decay=(0.98,),
    level_db=-25.0,
    gain_db=(-8.0, 8.0),
    silence=0.1,
    valid_every=240,
)


def demo(
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = DEMO_FOLDER,
) -> int:
    """Train on four CC0 songs, separate a new one, and show scores and figures.

    Args:
        out_dir: Write stems, figures, scores.json and report.html to this folder. It
            must be new or empty, or hold an earlier demo, which is replaced.
    """
    from mssedu.reports.tables import render

    if is_earlier_demo(out_dir):
        out.print(f"Replacing the earlier demo in {out_dir}", markup=False)
    with bar("training") as update:
        scores, seconds = run_demo(out_dir, log=out.print, progress=show_steps(update))
    (track,) = scores.tracks
    table = scores.track_table(track, DEFINITION)
    out.print(render(table, "markdown"), highlight=False)
    out.print(f"Trained in {seconds:.0f} s. Now open:")
    out.print(f"  {out_dir / 'report.html'}  to listen and to see, in a browser")
    out.print("  mssedu lab  for the notebooks, starting with 00")
    out.print(f"  mssedu separate YOUR_SONG.mp3 --model {out_dir / 'training'}")
    return 0


def run_demo(
    folder: Path,
    *,
    config: TrainConfig = CONFIG,
    log: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int, float, float | None], None] | None = None,
) -> tuple["Evaluation", float]:
    """Train, separate, score and write stems, figures, scores.json and report.html.

    Args:
        folder: new, empty, or that of an earlier demo, whose files are replaced.
        config: of the training; the default takes about two minutes on two CPU cores.
        log: is called with a sentence before each stage.
        progress: as in `mssedu.training.fit`.

    Returns:
        The scores of the test song, and the seconds that the training took.

    Raises:
        InputError: the folder holds other files than those of a demo.
        DatasetError: the songs in data/ are missing.
    """
    import torch

    from mssedu.data.loading import demo_data, load_dataset
    from mssedu.evaluation.run import evaluate
    from mssedu.models.registry import create_model
    from mssedu.separation.tensors import separate
    from mssedu.training.loop import fit
    from mssedu.weights.checkpoint import load_checkpoint
    from mssedu.weights.loading import load_model

    is_earlier_demo(folder)  # an InputError, before anything is read or changed
    check_folder(folder)
    check_room(folder, ROOM, "the files of a demo")
    torch.manual_seed(config.seed)
    log("Reading the songs")
    songs = [song.in_memory() for song in load_dataset(demo_data())]
    train, valid, (song,) = (
        [song for song in songs if song.split == split]
        for split in ("train", "valid", "test")
    )
    _clear(folder)
    model = create_model(config.model, config.preset, stems=config.stems)
    names = ", ".join(track.name for track in train)
    log(f"Training {config.model} ({config.preset}) on {names}")
    started = time.perf_counter()
    run_dir = folder / "training"
    result = fit(model, train, valid, config, run_dir, log=log, progress=progress)
    train_seconds = time.perf_counter() - started
    log(f"Separating {song.name}, which is not in the training set")
    trained = load_checkpoint(result.checkpoint)
    estimate = separate(trained, song.mixture())
    scores = evaluate(
        trained, [song], metrics=[DEFINITION], rows=ROWS, estimates=lambda _: estimate
    )
    log(f"Separating it with {SHIPPED}, which was trained for longer")
    longer = evaluate(load_model(SHIPPED), [song], metrics=[DEFINITION], rows=["model"])
    scores = _with_row(scores, SHIPPED, longer)
    log("Writing stems, figures and the report")
    _write(folder, song, trained, estimate, scores, config, train_seconds)
    return scores, train_seconds


def _with_row(scores: "Evaluation", row: str, other: "Evaluation") -> "Evaluation":
    """The scores, with those of another model as a row before the oracle."""
    tracks = {}
    for name, track in scores.tracks.items():
        estimated = other.tracks[name].scores[DEFINITION]["model"]
        found = {**track.scores[DEFINITION], row: estimated}
        tracks[name] = dataclasses.replace(track, scores={DEFINITION: found})
    rows = (*scores.rows[:-1], row, scores.rows[-1])
    return dataclasses.replace(scores, rows=rows, tracks=tracks)


def is_earlier_demo(folder: Path) -> bool:
    """Whether a folder holds an earlier demo; False if it is new or empty.

    Raises:
        InputError: the folder holds other files, or is a file itself.
    """
    if (folder / MARK).is_file():
        return True
    if not folder.exists():
        return False
    content = "is a file"
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        if not names:
            return False
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        content = f"holds {', '.join(names[:3])}{more}"
    raise InputError(
        f"{folder.absolute()} {content}. A demo needs a new or empty folder, or that "
        "of an earlier demo. Choose another one with -o."
    )


def _clear(folder: Path) -> None:
    """Mark the folder as that of a demo, then remove the files of an earlier demo.

    The mark comes first, so that an interrupted demo can be replaced, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ", ".join((*FOLDERS, *FILES))
    text = f"mssedu demo wrote this folder. The next one replaces {names}.\n"
    write_text(folder / MARK, text)
    for name in FOLDERS:
        if (folder / name).is_symlink():  # its target does not belong to the demo
            (folder / name).unlink()
        elif (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _write(
    folder: Path,
    song: "Track",
    model: "nn.Module",
    estimate: "Tensor",
    scores: "Evaluation",
    config: TrainConfig,
    train_seconds: float,
) -> None:
    """Write stems, figures, scores.json and report.html."""
    import torch

    from mssedu.audio.tensors import save_audio
    from mssedu.figures.scores import scores_figure
    from mssedu.figures.sound import spectrogram_figure
    from mssedu.reports.demo import Page, write_report

    for name in ("stems", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    estimates = dict(zip(scores.stems, estimate, strict=True))
    references = {stem: song.stem(stem) for stem in scores.stems}
    for stem, audio in estimates.items():
        path = path_inside(folder / "stems", f"{stem}.wav")
        save_audio(path, audio, song.sample_rate, subtype="float32")
    found = scores.of_track(song.name, DEFINITION)
    rows = {row: found[row] for row in scores.rows}
    document = {"track": song.name, "definition": DEFINITION, "rows": rows}
    write_json(folder / "scores.json", document)
    together = sum(estimates.values(), torch.zeros(1))
    panels = {"mixture": song.mixture(), "sum of the estimates": together}
    for stem, audio in estimates.items():
        panels |= {f"{stem}, true": references[stem], f"{stem}, estimate": audio}
    overview = spectrogram_figure(panels, song.sample_rate, columns=2)
    overview.savefig(folder / "figures" / "1_spectrograms.png")
    bars = scores_figure(rows)
    bars.savefig(folder / "figures" / "2_scores.png")
    parameters = sum(p.numel() for p in model.parameters())
    minutes = config.steps * config.batch_size * config.segment / 60
    page = Page(
        title=f"{song.name}, separated",
        summary=(
            f"A small {config.model} with {parameters:,} parameters was trained on "
            f"{minutes:.0f} minutes of random mixtures, in {train_seconds:.0f} s. "
            "Then it separated a song that is not in the training set. After so short "
            "a training it cannot be good; the demo shows every step on your machine."
        ),
        definition=DEFINITION,
        rows=rows,
        mixture=song.mixture(),
        estimates=estimates,
        references=references,
        sample_rate=song.sample_rate,
        figures={
            "The whole song: the mixture, the true stems and the estimates.": overview,
            "Scores of each stem; silence scores 0 dB.": bars,
        },
        facts=_facts(config, train_seconds),
    )
    write_report(folder / "report.html", page)


def _facts(config: TrainConfig, train_seconds: float) -> dict[str, str]:
    import torch

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

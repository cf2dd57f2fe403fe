"""Every figure has a caption and a text made from its data; its colors can be seen."""

import ast
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from pandas import DataFrame
from PIL import Image

import mssedu as ms
from mssedu.evaluation.error_windows import Windows
from mssedu.figures.chunks import chunks_figure
from mssedu.figures.style import (
    COLORS,
    GRAY,
    MIXES,
    ROWS,
    SERIES,
    STYLE,
    DescribedFigure,
    describe,
    fills,
    grid,
    looks,
)
from mssedu.inspect.attention import AttentionCost
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from mssedu.separation.chunks import Chunks, chunk_starts, chunk_weight

RATE = 8000
CONTRAST = 3.0  # WCAG 2.2, 1.4.11: of lines and signs on white
DISTANCE = 12.0  # of two colors, CIE 1976 ΔE, with any common color vision
FIGURES = ms.figures


# ---- an example of each figure, with either of two data sets ------------------------


def noise(*shape, seed):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sounds(seed):
    return {"drums": noise(2, 3 * RATE, seed=seed), "vocals": noise(2, RATE, seed=9)}


def mask(seed):
    image = noise(1, 257, 30, seed=seed).abs().clamp_max(1)
    return FIGURES.mask_figure({"drums": image}, RATE, hop_length=128)


def scores(seed):
    rows = {"mixture": {"drums": -3.1, "bass": -5.0}, "model": {"drums": seed + 4.2}}
    rows["irm"] = {"drums": 9.0, "bass": 7.5}
    return FIGURES.scores_figure(rows)


def boxes(seed):
    values = (10 * noise(12, seed=seed)).tolist()
    rows = {"mixture": {"drums": [-3.0, -4.0, -2.5]}, "model": {"drums": values}}
    return FIGURES.boxes_figure({"usdr (dB)": rows})


def sweep(seed):
    lines = {"IRM": [7.0, 9.1 + seed, 8.0, 6.0], "PSM": [8.0, 10.0, 11.5, 9.0]}
    return FIGURES.sweep_figure(
        [512, 1024, 2048, 4096],
        lines,
        xlabel="Window length (samples)",
        ylabel="usdr (dB)",
        scale="log2",
        mark="highest",
    )


def curves(seed):
    lines = {"with skips": [3.0, 2.0, 1.0 + seed], "drums": [4.0, 5.0, 2.0, 2.5]}
    return FIGURES.curves_figure(lines, xlabel="Step", ylabel="Loss (dB)", start=1)


def histogram(seed):
    values = {
        "layer 1": noise(900, seed=seed).abs(),
        "layer 2": torch.linspace(0, 1, 9),
    }
    return FIGURES.histogram_figure(values, xlabel="Gate")


def interval(seed):
    runs = {"GLU": [3.0, 3.4 + seed, 3.2], "ReLU": [2.0, 2.2, 1.9]}
    return FIGURES.interval_figure(runs, xlabel="usdr (dB)", zero=True)


def maps(seed):
    images = {f"head {n}": noise(20, 30, seed=seed + n).abs() for n in range(3)}
    return FIGURES.maps_figure(images, xlabel="Key", ylabel="Query", unit="Weight")


def chunks(seed):
    starts = chunk_starts(3 * RATE, RATE, 0.25)
    plan = Chunks(3 * RATE, RATE, starts, chunk_weight(RATE, "hann"), width=RATE)
    sound = noise(1, 3 * RATE, seed=seed)
    changed = sound + 0.01 * noise(1, 3 * RATE, seed=seed + 1)
    return chunks_figure(plan, RATE, reference=sound, estimate=changed)


def learning(seed, folder):
    runs = [folder / f"{seed}" / name for name in ("first", "second")]
    for place, run in enumerate(runs):
        run.mkdir(parents=True)
        config = {"train_config": {"model": "spleeter", "loss": "waveform_l1"}}
        config["usdr_without_model"] = {"mixture": -5.0, "silence": 0.0}
        (run / "config.json").write_text(json.dumps(config), "utf-8")
        lines = [
            {
                "step": step,
                "loss": 3.0 - step / 20 - seed,
                "usdr": step / 10 + place,
                "stems": {"drums": step / 10 + place, "bass": 1.0},
                "learning_rate": 0.1 / step,
            }
            for step in (10, 20, 30)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / "history.jsonl").write_text(text, "utf-8")
    return FIGURES.learning_figure(runs[: seed + 1])


def costs(seed):
    numbers = {"htdemucs": {"quoted": 17.0 + seed, "true": 33.3}, "demucs": {"true": 9}}
    return FIGURES.costs_figure(numbers, xlabel="Billions of multiplications")


def fusion(seed):
    shares = {"drums": {512: 0.7 - seed / 2, 4096: 0.3 + seed / 2}}
    return FIGURES.fusion_figure(shares | {"bass": {512: 0.1, 4096: 0.9}})


def attention(seed):
    slow = AttentionCost((10, 20, 40), (100, 400, 1600 + seed), (1.0, 2.0, 4.0))
    fast = AttentionCost((10, 20, 40), (100, 200, 400), (1.0, 1.5, 2.0))
    return FIGURES.attention_figure({"quadratic": slow, "linear": fast})


def bleed(seed):
    names = ["vocals", "drums", "bass"]
    energies = -20 + 100 * noise(3, 3, seed=seed)
    return FIGURES.bleed_figure({"Where it goes": energies}, names, names)


def windows(seed):
    level = torch.linspace(-55, -10, 40).repeat(2, 1)
    usdr = level / 4 + 12 + 30 * noise(2, 40, seed=seed)
    audible = level > -50
    return Windows(torch.arange(40) / 2, usdr, level, audible), ("vocals", "drums")


def track(seed):
    found, stems = windows(seed)
    return FIGURES.track_figure(found, stems, marked=(4.0, 9.0))


def tolerance(seed):
    taps = {"long": torch.sinc((torch.arange(201) - 100) * 7500 / 44100) * 0.17}
    taps["mean"] = torch.full((9 + seed,), 1 / (9 + seed))
    return FIGURES.tolerance_figure(taps, 44100)


def coverage(seed):
    middles = (50 + 60 * noise(20, seed=seed)).tolist()
    intervals = [(middle - 9 - seed, middle + 9) for middle in middles]
    panels = {"Student": intervals, "bootstrap": [(41.0, 49.0)] * 4}
    return FIGURES.coverage_figure(panels, 50.0, xlabel="Mean rating (points)")


def agreement(seed):
    points = 50 + 100 * noise(9, 2, seed=seed)
    groups = {"mask": points.tolist(), "model": [(40.0, 41.0), (60.0, 58.0)]}
    return FIGURES.agreement_figure(groups, xlabel="usdr (dB)", ylabel="Rating")


def field(seed):
    columns = {"year": [2019, 2020, 2023], "score": [5.3, 6.3, 9.0 + seed]}
    columns |= {"parameters": [9e6, 1e8, 4e7], "seconds": [0.2, 1.0, 9.0]}
    systems = DataFrame(columns, ["Open-Unmix", "Demucs", "HTDemucs"])
    return FIGURES.map_figure(systems, definition="csdr")


def ratings(seed):
    files = {"a": "a.wav", "b": "b.wav"}
    trials = tuple(Trial(f"song {i}", files, reference="r.wav") for i in range(4))
    store = ResultStore(":memory:", Design("A test", "mushra", trials))
    quality = {"a": 40.0 + 9 * seed, "b": 60.0, "reference": 100.0}
    for _ in range(6):
        sit_through(Session(store), quality | {"anchor35": 10.0, "anchor70": 30.0})
    return ms.listening.ratings_figure(store, ratings_frame(store))


def levels(seed):
    name = ("htdemucs_nc", "htdemucs_n")[seed]
    return FIGURES.levels_figure({name: ms.create_model(name, "tiny")})


def pareto(seed):
    found = {"a": [3.0, 3.2 + seed], "b": [5.0, 5.4], "c": [4.0, 4.2]}
    costs = {"GFLOP": {"a": 1.0, "b": 2.0, "c": 4.0}}
    return FIGURES.pareto_figure(found, costs, ylabel="usdr (dB)")


EXAMPLES = {
    "levels_figure": levels,
    "pareto_figure": pareto,
    "waveform_figure": lambda seed: FIGURES.waveform_figure(sounds(seed), RATE),
    "spectrogram_figure": lambda seed: FIGURES.spectrogram_figure(sounds(seed), RATE),
    "mask_figure": mask,
    "scores_figure": scores,
    "boxes_figure": boxes,
    "sweep_figure": sweep,
    "curves_figure": curves,
    "histogram_figure": histogram,
    "interval_figure": interval,
    "maps_figure": maps,
    "chunks_figure": chunks,
    "learning_figure": learning,
    "costs_figure": costs,
    "fusion_figure": fusion,
    "attention_figure": attention,
    "bleed_figure": bleed,
    "track_figure": track,
    "level_figure": lambda seed: FIGURES.level_figure(*windows(seed)),
    "excerpt_figure": lambda seed: FIGURES.excerpt_figure(sounds(seed), RATE, 0.5),
    "tolerance_figure": tolerance,
    "coverage_figure": coverage,
    "agreement_figure": agreement,
    "map_figure": field,
    "ratings_figure": ratings,
    "architecture_figure": lambda seed: FIGURES.architecture_figure(
        ("glu", "open_unmix")[seed], "tiny"
    ),
}


@pytest.fixture(scope="module", params=EXAMPLES)
def both(request, tmp_path_factory):
    """A figure of two data sets each."""
    draw, more = EXAMPLES[request.param], ()
    if request.param == "learning_figure":
        more = (tmp_path_factory.mktemp("runs"),)
    return draw(0, *more), draw(1, *more)


# ---- captions and texts -------------------------------------------------------------


def passes_on(function):
    """Whether all that a function returns are figures of functions with examples."""
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
    makers = {ast.unparse(node.value).partition("(")[0] for node in returns}
    return bool(makers) and makers <= {*EXAMPLES}


def test_every_figure_of_the_package_has_an_example():
    found = set()
    for path in Path(ms.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            name = getattr(node, "name", "")
            is_public = name.endswith("_figure") and not name.startswith("_")
            if is_public and not passes_on(node):
                found.add(name)
    assert found == {*EXAMPLES}


def test_a_figure_has_a_caption_and_a_text_made_from_its_data(both):
    for figure in both:
        assert isinstance(figure, DescribedFigure)
        for text in (figure.caption, figure.alt):
            assert text.endswith("."), text
            assert "\n" not in text
            assert "  " not in text
            assert "nan" not in text.split()
            assert len(text) > 30, text
        assert any(letter.isdigit() for letter in figure.alt)
    assert both[0].alt != both[1].alt


def test_a_figure_can_be_drawn_at_110_dots_per_inch(both):
    figure = both[0]
    assert figure.dpi == STYLE["figure.dpi"] == 110
    figure.savefig(file := io.BytesIO(), format="png")
    width, height = figure.get_size_inches() * 110
    assert Image.open(file).size == pytest.approx((width, height), abs=1)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (scores, "drums, irm 9.0 dB, model 4.2 dB, mixture -3.1 dB; bass, irm"),
        (boxes, "the highest first: drums, model"),
        (sweep, "usdr by window length: IRM is highest at 1024 samples with 9.1 dB"),
        (curves, "drums goes from 4.0 dB at 1 to 2.5 dB at 4, highest at 2 with"),
        (fusion, "drums 512 samples with 70 %; bass 4096 samples with 90 %"),
        (interval, "GLU 3.2 dB"),
        (coverage, "bootstrap: 4 of 4 miss"),
        (tolerance, "mean is outside by up to"),
        (field, "HTDemucs has the highest csdr, 9.00 dB"),
        (costs, "the highest is that of htdemucs, 33.3"),
    ],
)
def test_the_text_states_what_the_figure_shows(draw, words):
    assert words in draw(0).alt


def test_the_loudest_bin_is_where_the_tone_is():
    time = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * 1000 * time)[None] * (time > 0.5)
    figure = FIGURES.spectrogram_figure(
        {"beep": tone, "rest": 0 * tone}, RATE, n_fft=512, hop_length=128
    )
    assert "beep 0.0 dB at 1000 Hz and 0." in figure.alt
    assert "rest silent" in figure.alt
    assert float(figure.alt.split(" s,")[0].split()[-1]) > 0.5


def test_a_long_and_a_short_sound_are_both_shown_whole():
    short, long = noise(1, RATE, seed=0), noise(1, 3 * RATE, seed=1)
    axes = FIGURES.spectrogram_figure({"long": long, "short": short}, RATE).axes[0]
    assert axes.get_xlim()[1] > 2.9


def kept(path):
    """Title and description in the metadata of a PNG file."""
    with Image.open(path) as image:
        return {name: image.info[name] for name in ("Title", "Description")}


def test_a_file_keeps_caption_and_text(tmp_path):
    figure, _ = grid(height=1.0)
    describe(figure, "Scores in dB – a caption.", "The model has 5.0 dB.")
    for kind in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"figure.{kind}")
    assert kept(tmp_path / "figure.png") == {
        "Title": figure.caption,
        "Description": figure.alt,
    }
    svg = (tmp_path / "figure.svg").read_text("utf-8")
    assert f"<title>{figure.caption}</title>" in svg
    assert figure.alt in svg
    assert b"(The model has 5.0 dB.)" in (tmp_path / "figure.pdf").read_bytes()
    figure.savefig(tmp_path / "own.png", metadata={"Title": "Mine"})
    assert kept(tmp_path / "own.png")["Title"] == "Mine"


def test_a_notebook_shows_picture_and_caption(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **more: shown.append((data, more))
    )
    figure, _ = grid(height=1.0)
    describe(figure, "A < B.", "The model has 5.0 dB.")._ipython_display_()
    (picture, more), (caption, _) = shown
    assert picture["image/png"].startswith(b"\x89PNG")
    assert more["metadata"] == {"image/png": {"alt": "The model has 5.0 dB."}}
    assert "A &lt; B." in caption["text/html"]


# ---- colors -------------------------------------------------------------------------


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(color):
    """WCAG's contrast ratio of a color on white."""
    return 1.05 / (linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05)


@pytest.mark.parametrize(
    "color", sorted({*COLORS.values(), *SERIES, *ROWS.values(), *MIXES.values(), GRAY})
)
def test_a_color_can_be_seen_on_white(color):
    assert contrast(color) >= CONTRAST


def test_contrast_is_that_of_the_standard():
    assert contrast("black") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)
    assert contrast("#E69F00") < CONTRAST


def test_lines_and_texts_of_a_figure_can_be_seen(both):
    for axes in both[0].axes:
        on_picture = bool(axes.images)
        for line in axes.lines:
            assert on_picture or contrast(line.get_color()) >= CONTRAST
            assert line.get_alpha() in (None, 0.6)  # 0.6: black points
    for text in both[0].findobj(Text):
        if text.axes is None or not (text.axes.images or text.axes.patches):
            assert contrast(text.get_color()) >= 4.5


# Machado, Oliveira and Fernandes 2009, full protanomaly and deuteranomaly
VISIONS = {
    "normal": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("colors", [(*SERIES, GRAY, "#000000")])
def test_colors_of_rows_differ_with_every_common_color_vision(vision, colors):
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.95],
    ]

    def lab(color):
        seen = np.clip(np.array(VISIONS[vision]) @ linear(color), 0, 1)
        x, y, z = np.cbrt(np.array(to_xyz) @ seen / [0.9505, 1, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(lab(one) - lab(other)) > DISTANCE, (one, other)


def test_a_row_has_one_color_in_all_figures():
    alone, among = looks(["model"]), looks(["mixture", "x", "IRM", "model"])
    assert alone["model"][0] == among["model"][0] == fills(["y", "model"])["model"][0]
    assert looks(["irm"])["irm"][0] == among["IRM"][0]
    assert len({color for color, *_ in among.values()}) == 4
    drawn = scores(0).axes[0].containers
    colors = {bars.get_label(): to_rgb(bars[0].get_facecolor()) for bars in drawn}
    assert colors["model"] == to_rgb(alone["model"][0])


def test_color_is_never_the_only_difference():
    labels = [str(number) for number in range(6)]
    assert len({pattern for _, pattern in fills(labels).values()}) == 6
    assert len({look[1:] for look in looks(labels).values()}) == 6
    for figure in (scores(0), costs(0), fusion(0)):
        groups = figure.axes[0].containers
        assert len({bars[0].get_hatch() for bars in groups}) == len(groups)
    marks = field(0).axes[0].collections
    assert len({len(mark.get_paths()[0].vertices) for mark in marks}) == 3


def test_counts_have_whole_ticks():
    lines = {"songs": [1, 2, 3]}
    counted = FIGURES.sweep_figure([1, 2, 3], lines, xlabel="n", ylabel="Songs")
    for axis in (counted.axes[0].xaxis, counted.axes[0].yaxis):
        assert all(float(tick).is_integer() for tick in axis.get_majorticklocs())
    halves = FIGURES.sweep_figure([0, 1], {"a": [0, 0.5]}, xlabel="n", ylabel="y")
    assert any(tick % 1 for tick in halves.axes[0].yaxis.get_majorticklocs())

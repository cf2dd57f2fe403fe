"""Drawings of the architectures: each shows what its model computes, and fits."""

import io

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from mssedu.errors import InputError
from mssedu.figures.architectures import (
    architecture_figure,
    architecture_names,
    architecture_text,
)
from mssedu.figures.blueprints import BLUEPRINTS, measure, size_text
from mssedu.inspect import inside_names
from mssedu.models import MODELS
from mssedu.models.registry import create_model

FIFTEEN = [name for name in BLUEPRINTS if name in MODELS]


@pytest.fixture(scope="module", params=BLUEPRINTS)
def drawn(request):
    return request.param, architecture_figure(request.param, "tiny")


def test_there_is_a_drawing_of_every_architecture():
    files = {name for name in MODELS if not name.startswith("htdemucs_")}
    assert files == {*FIFTEEN}
    assert architecture_names() == [*BLUEPRINTS]


def test_nothing_is_outside_and_no_text_is_wider_than_its_box(drawn):
    name, figure = drawn
    (axes,) = figure.axes
    width, height = figure.get_size_inches() * figure.dpi
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [p.get_window_extent() for p in axes.patches if isinstance(p, Rectangle)]
    written = [text for text in axes.texts if text.get_text()]  # arrows have none
    texts = [(t.get_text(), t.get_window_extent(renderer)) for t in written]
    n_inside = 0
    for text, place in texts:
        assert 0 <= place.x0 < place.x1 <= width, (name, text)
        assert 0 <= place.y0 < place.y1 <= height, (name, text)
        middle = (place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2
        for box in boxes:
            if box.contains(*middle):
                n_inside += 1
                assert box.x0 <= place.x0 < place.x1 <= box.x1, (name, text)
    assert n_inside >= 10


def test_no_two_texts_overlap(drawn):
    name, figure = drawn
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [t for t in axes.texts if t.get_text()]
    places = [t.get_window_extent(renderer).shrunk(0.98, 0.7) for t in texts]
    for index, place in enumerate(places):
        for other, text in zip(places[:index], texts, strict=False):
            assert not place.overlaps(other), (name, texts[index], text)


def test_the_text_for_screen_readers_is_made_from_the_drawing(drawn):
    name, figure = drawn
    assert figure.alt == architecture_text(name, "tiny")
    assert figure.alt.startswith(BLUEPRINTS[name].title)
    assert f"{measure(name, 'tiny').n_parameters:,} parameters" in figure.alt
    assert BLUEPRINTS[name].title in figure.caption


def test_a_notebook_stores_the_text_beside_the_picture(drawn):
    data, metadata = drawn[1]._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": drawn[1].alt}}


def test_a_drawing_can_be_saved_as_a_vector():
    figure = architecture_figure("glu", "tiny")
    figure.savefig(file := io.BytesIO(), format="svg")
    assert b"<svg" in file.getvalue()


@pytest.mark.parametrize("name", FIFTEEN)
def test_sizes_are_those_of_a_forward(name):
    torch.manual_seed(0)
    model = create_model(name, "tiny")
    found = measure(model)
    noise = torch.randn(1, 2, model.config.sample_rate) / 10
    shapes = inside_names(model.eval(), noise)
    blocks = [block for block in found.blocks if block.size]
    assert len(blocks) >= 4
    for block in blocks:
        paths = [path for path in shapes if _same(path, block.module)]
        n_axes = len(block.axes.split())
        fitting = [shapes[path] for path in paths if len(shapes[path]) == n_axes]
        sizes = {size_text(torch.empty(shape), block.axes) for shape in fitting}
        assert block.size in sizes, block


def _same(path, module):
    """Whether a path is that of a block; numbers from the end fit any number."""
    ours, theirs = module.split("."), path.split(".")
    return len(ours) == len(theirs) and all(
        a == b or ((a[0] in "-~@") and b.isdecimal())
        for a, b in zip(ours, theirs, strict=True)
    )


def test_levels_and_numbers_follow_the_config():
    small = measure(create_model("demucs", "tiny", depth=3, kernel_size=12, stride=6))
    downs = [row.down for row in small.branches[0].rows if row.levels]
    assert len(downs) == 3
    assert "conv 12, /6" in downs[0].text
    deep = measure(create_model("bs_roformer", "tiny", n_layers=3))
    assert deep.rounds == 3
    layers = measure(create_model("open_unmix", "tiny", n_layers=2))
    assert layers.bottom[0].text.startswith("2 × LSTM")


def test_many_levels_are_shortened():
    model = create_model("wave_u_net", "tiny", n_levels=9, filters=2)
    texts = [text.get_text() for text in architecture_figure(model).axes[0].texts]
    assert texts.count("⋮") == 2
    assert sum(text.startswith("conv 15; every") for text in texts) == 5


def test_sizes_in_words():
    assert size_text(torch.zeros(1, 4, 2, 1), "b s c t") == "4 stems × 2 × 1 sample"
    assert size_text(torch.zeros(1, 1, 2), "b s c") == "2"


def test_an_unknown_name_and_another_model_are_refused():
    with pytest.raises(
        InputError, match=r"architecture 'demuc'\. Did you mean 'demucs'"
    ):
        architecture_figure("demuc")
    with pytest.raises(InputError, match="Linear has no drawing"):
        architecture_figure(torch.nn.Linear(2, 2))

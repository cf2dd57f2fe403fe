"""Cards of models: numbers in three formats."""

import csv
from contextlib import contextmanager

import pytest

from mssedu.cli import card
from mssedu.cli import commands as cli
from mssedu.errors import CheckpointError, InputError
from mssedu.inspect.complexity import Complexity
from mssedu.inspect.receptive import ReceptiveField
from mssedu.models.registry import create_model, list_models, model_config
from mssedu.reports.tables import texts
from mssedu.weights.checkpoint import save_checkpoint
from mssedu.weights.ensemble import Bag


def card_of(name, past=None, future=None, **changes):
    costs = {
        "n_parameters": 1_234_567,
        "n_trainable": 1_234_000,
        "n_stored": 1_240_000,
        "sample_rate": 44100,
        "segment": 6.0,
        "flops": 12.34e9,
        "memory_bytes": 305_000_000,
        "realtime_factor": 0.123,
        "field": ReceptiveField(past, future),
        "device": "CPU",
        "n_threads": 2,
    }
    config = model_config(name, "tiny")
    return card.Card(name, "tiny", "An idea.", config, Complexity(**costs | changes))


def test_a_row_per_card():
    frame = card.overview(
        [card_of("open_unmix"), card_of("conv_tasnet", past=44099, future=0)]
    )
    head, rows = texts(frame, formats=card.FORMATS)
    assert head == list(frame)
    first = "open_unmix, tiny, 1.23, 12.3, 6.2, ≥ 6.00, 6, no, 0.12, 305, 6.00"
    assert rows[0] == first.split(", ")
    assert rows[1][5:8] == ["1", "0", "yes"]
    assert frame["GFLOP"].tolist() == [12.34, 12.34]


def test_a_line_per_number():
    frame = card.details(card_of("spleeter", past=10, future=4410))
    assert list(frame) == ["spleeter", "tiny"]
    lines = dict(frame.itertuples(index=False))
    assert lines["idea"] == "An idea"
    assert lines["parameters"] == "1,234,567"
    assert lines["of which past"] == "10 samples, 0.0002268 s"
    assert lines["of which future"] == "4,410 samples, 0.1 s"
    assert lines["latency, computing time aside"] == "0.1 s"
    assert lines["measured on"] == "CPU, 2 threads"
    frame = card.details(card_of("spleeter", n_threads=1))
    lines = dict(frame.itertuples(index=False))
    assert lines["measured on"] == "CPU, 1 thread"
    assert lines["of which past"] == "all of the segment"


def test_note_is_a_comment_in_latex():
    made = [card_of("spleeter")]
    assert card.note(made, "latex").startswith("% 1 MAC = 2 FLOPs")
    assert card.note(made).endswith("on: CPU, 2 threads.")


def test_a_card_is_measured():
    made = card.make_card("open_unmix", "tiny", ("vocals",), segment=0.25)
    assert made.idea.startswith("Open-Unmix: one recurrent network")
    assert made.config.stems == ("vocals",)
    assert made.costs.segment == 0.25
    assert made.costs.field == ReceptiveField(None, None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of a model with a stem and a width of its own."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    model = create_model("open_unmix", "tiny", ("dizi",), hidden=24)
    save_checkpoint(run / "best.safetensors", model)
    return run


@pytest.mark.parametrize("file", ["", "best.safetensors", "best.json"])
def test_a_card_of_a_run(trained, file, capsys):
    """The run has no preset: width and stems are those that were trained."""
    path = trained / file
    words = ("--segment", "0.25", "--format", "csv")
    assert cli.main(["card", str(path), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    model = create_model("open_unmix", "tiny", ("dizi",), hidden=24)
    assert lines[0] == f"open_unmix,{path}"
    shown = dict(row for row in csv.reader(lines) if len(row) == 2)
    assert shown["stems"] == "dizi"
    size = sum(parameter.numel() for parameter in model.parameters())
    assert shown["parameters"] == f"{size:,}"
    assert shown["segment"] == "0.25 s"


@pytest.mark.parametrize("flags", [("--preset", "tiny"), ("--stems", "vocals", "pipa")])
def test_a_run_has_its_own_preset_and_stems(trained, flags, capsys):
    assert cli.main(["card", str(trained), *flags]) == 2
    said = capsys.readouterr().err
    assert " ".join(flags) in said


@pytest.fixture
def made(monkeypatch):
    """The cards that a command makes, in place of its output."""
    cards = []
    monkeypatch.setattr(card, "say", lambda _: None)
    monkeypatch.setattr(card, "details", cards.append)
    monkeypatch.setattr(card, "render", lambda *_: None)
    return cards


def test_a_name_is_a_model_and_no_folder(tmp_path, trained, made, monkeypatch):
    monkeypatch.setattr(card, "make_card", lambda name, preset, *_, **__: card_of(name))
    (tmp_path / "open_unmix").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    assert card.card("open_unmix") == card.card("./open_unmix", segment=0.25) == 0
    assert [one.preset for one in made] == ["tiny", "./open_unmix"]


def test_a_card_of_published_weights(made):
    assert card.card("mel_band_roformer_small", segment=0.5, device="cpu") == 0
    (one,) = made
    assert (one.name, one.preset) == ("mel_band_roformer", "mel_band_roformer_small")
    assert one.costs.n_parameters == 4_801_428


def test_a_card_of_a_bag(made, monkeypatch):
    bag = Bag([create_model("spleeter", "tiny") for _ in range(2)])
    monkeypatch.setattr(card, "load_shown", lambda *_: bag)
    assert card.card("htdemucs_ft", segment=0.5, device="cpu") == 0
    assert made[0].idea.startswith("A bag: several models")


def test_what_is_neither_a_model_nor_a_run(tmp_path):
    with pytest.raises(InputError, match=r"'unmix'\. Did you mean 'open_unmix'\?"):
        card.card("unmix")
    for path in (str(tmp_path / "run"), "best.safetensors"):
        with pytest.raises(InputError, match="does not exist"):
            card.card(path)
    with pytest.raises(CheckpointError, match=r"best\.json"):
        card.card(str(tmp_path))


def test_an_onnx_file_has_no_card(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.onnx is an ONNX file.* was exported"):
        card.card(str(tmp_path / "a.onnx"))


@pytest.mark.parametrize("words", [("conv_tasnet",), ("--all", "conv*")])
@pytest.mark.parametrize("segment", ["0", "-1", "1e9", "nan"])
def test_a_segment_that_no_model_has(words, segment, capsys):
    """1e9 s ended in the traceback of an allocator."""
    assert cli.main(["card", *words, "--preset", "tiny", "--segment", segment]) == 2
    assert "segment must be from 0 to 3600" in capsys.readouterr().err


def test_a_card_of_every_model(monkeypatch, capsys):
    measured, steps = [], []

    @contextmanager
    def bar(label):
        yield lambda *state: steps.append(state)

    def make_card(name, preset, device):
        measured.append((name, preset, device))
        return card_of(name)

    monkeypatch.setattr(card, "bar", bar)
    monkeypatch.setattr(card, "make_card", make_card)
    assert cli.main(["models", "--cards", "--preset", "tiny", "--device", "cpu"]) == 0
    names = list_models()
    assert measured == [(name, "tiny", "cpu") for name in names]
    assert steps[0] == (0, len(names), names[0])
    assert steps[-1] == (len(names), len(names))
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_sizes_need_no_weights():
    listed = card.sizes().set_index(["model", "preset"])["parameters"]
    assert listed["open_unmix", "paper"] == 35_573_392
    for name in list_models():
        model = create_model(name, "tiny")
        assert listed[name, "tiny"] == sum(p.numel() for p in model.parameters())


def test_published_checkpoints_have_a_row_each():
    frame = card.published()
    assert "htdemucs" in set(frame["name"])
    assert not frame["license"].isna().any()

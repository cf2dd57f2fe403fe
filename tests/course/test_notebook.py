"""notebook: what a notebook calls, and the way from text to notebook."""

import base64
import io
import re

import nbformat
import pytest
import soundfile
import torch
from matplotlib import pyplot as plt
from PIL import Image

from mssedu.course import build as build_module
from mssedu.course.build import (
    build,
    digest,
    main,
    notebook_path,
    read,
    stale,
    texts,
)
from mssedu.course.notebook import play, setup, show_source
from mssedu.errors import InputError, SetupError
from mssedu.figures.style import COLORS

TEXT = """# %% [markdown]
# # 07 · A test

# %%
import torch
from matplotlib import pyplot as plt
from mssedu.course.notebook import play, setup

# %% tags=["nbval-check-output"]
print("one")
print("two")

# %%
play(torch.ones(1, 800), 8000, "a < b")

# %%
print("again")

# %%
print("again")

# %%
setup()
plt.imshow(torch.rand(99, 99))
plt.show()
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "雨天 #1" / "py" / "07_test.py"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def _style():
    """Matplotlib as it was before, so that tests do not style each other's figures."""
    with plt.rc_context():
        yield


@pytest.mark.usefixtures("_style")
def test_setup_seeds_and_styles(monkeypatch):
    monkeypatch.setenv("MSSEDU_PROFILE", "smoke")
    session = setup(seed=3)
    first = torch.rand(1)
    setup(seed=3)
    assert torch.rand(1).equal(first)
    assert re.fullmatch(
        r"mssedu [\d.]+, profile smoke, seed 3\. The numbers in the text are those of "
        r"the profile cpu",
        repr(session),
    )
    assert session.device == "cpu"
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLORS.values())
    assert plt.rcParams["figure.dpi"] == 110


@pytest.mark.usefixtures("_style")
def test_setup_without_a_profile_is_cpu(monkeypatch):
    monkeypatch.delenv("MSSEDU_PROFILE", raising=False)
    assert setup().profile == "cpu"


@pytest.mark.usefixtures("_style")
@pytest.mark.parametrize("has_cuda", [True, False])
def test_the_profile_gpu_needs_a_gpu(monkeypatch, has_cuda):
    monkeypatch.setenv("MSSEDU_PROFILE", "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    session = setup()
    wanted = ("gpu", "cuda") if has_cuda else ("cpu", "cpu")
    assert (session.profile, session.device) == wanted
    assert ("no CUDA device" in repr(session)) is not has_cuda


def test_setup_refuses_an_unknown_profile(monkeypatch):
    monkeypatch.setenv("MSSEDU_PROFILE", "fast")
    with pytest.raises(InputError, match="MSSEDU_PROFILE 'fast'"):
        setup()


@pytest.mark.parametrize(
    ("audio", "wanted"),
    [
        (torch.full((1, 8000), 0.5), "▶ 1.0 s, mono, 8000 Hz, peak -6.0 dBFS"),
        (torch.zeros(2, 8000), "▶ 1.0 s, stereo, 8000 Hz, silent"),
        (
            torch.tensor([[2.0, -2.0, 0.0, 0.0] * 2000]),
            "peak 6.0 dBFS, 4000 samples clip",
        ),
        (torch.ones(1, 280000), "▶ 35.0 s, mono, 8000 Hz, peak 0.0 dBFS, compressed"),
        (torch.ones(1, 4808000), "▶ the first 600.0 of 601.0 s, mono, 8000 Hz"),
    ],
)
def test_play_tells_length_and_level(audio, wanted):
    assert wanted in repr(play(audio, 8000))


def test_play_keeps_every_sample():
    audio = (torch.randn(2, 3000) * 0.3).clamp(-1, 1)
    page = play(audio, 44100, "a < b")._repr_html_()
    data = re.search(r'src="data:audio/flac;base64,([^"]+)"', page)
    file = io.BytesIO(base64.b64decode(data[1]))
    decoded, rate = soundfile.read(file, dtype="float32")
    assert rate == 44100
    assert torch.tensor(decoded.T).allclose(audio, atol=1.01 / 2**15)
    assert "<figcaption>a &lt; b: 0.1 s" in page
    assert 'aria-label="a &lt; b: 0.1 s' in page


def test_play_cuts_at_full_scale_and_not_around_it():
    page = play(torch.tensor([[3.0, -3.0, 0.5]]), 8000)
    decoded, _ = soundfile.read(io.BytesIO(page.file), dtype="float32")
    assert torch.tensor(decoded).allclose(torch.tensor([1.0, -1.0, 0.5]), atol=1e-4)


@pytest.mark.parametrize("shape", [(8000,), (3, 8000), (2, 0), (1, 2, 8000)])
def test_play_refuses_other_shapes(shape):
    with pytest.raises(InputError, match="audio"):
        play(torch.zeros(shape), 8000)


def test_play_refuses_nan():
    audio = torch.zeros(1, 100)
    audio[0, 50] = torch.nan
    with pytest.raises(InputError, match="first at sample 50"):
        play(audio, 100)


def test_show_source_of_a_function_and_a_method():
    page = repr(show_source("mssedu.course.notebook.setup"))
    place, fence = page.split("\n\n", 1)
    assert re.fullmatch(r"`mssedu/course/notebook\.py:\d+`", place)
    assert fence.startswith("```python\ndef setup(")
    assert fence.endswith("return session\n```")
    method = repr(show_source("mssedu.course.notebook.Player._repr_html_"))
    assert "\ndef _repr_html_(self)" in method  # dedented


@pytest.mark.parametrize(
    ("name", "file", "first"),
    [
        ("mssedu.metrics.usdr", "mssedu/metrics/ratios.py", "def usdr("),
        ("mssedu.metrics.ratios.usdr", "mssedu/metrics/ratios.py", "def usdr("),
        ("mssedu.create_model", "mssedu/models/registry.py", "def create_model("),
        (
            "mssedu.models.blocks.BiLSTM.forward",
            "mssedu/models/blocks/",
            "def forward(",
        ),
        ("mssedu.course.exercises.exercise", "exercises/__init__.py", "def exercise("),
        ("mssedu.course.Page", "mssedu/course/exercises/kinds.py", "@dataclass("),
        ("mssedu.data.Track.duration", "mssedu/data/track.py", "@property"),
    ],
)
def test_show_source_names_the_file_behind_a_door(name, file, first):
    place, code = repr(show_source(name)).split("\n\n", 1)
    assert file in place
    assert code.startswith(f"```python\n{first}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch.stft", "'torch.stft' is not a name in mssedu"),
        ("mssedu", "'mssedu' is not a name in mssedu"),
        ("mssedu.course.notebook.plai", "'plai'. Did you mean 'play'"),
        ("mssedu.spectrl.stft", "'spectrl'. Did you mean 'spectral'"),
        ("mssedu.bss_eval.bss_eval", "Did you mean 'mssedu.metrics.bss_eval'"),
        ("mssedu.blocks.lstm.BiLSTM.forward", "'mssedu.models.blocks.BiLSTM.forward'"),
        ("mssedu.models.spleeter.UNet.forwrd", "Did you mean 'forward'"),
        ("mssedu.data.Track.duration.x", "There is none"),
        ("mssedu.data.Track", "at most 60"),
        ("mssedu.models.MODELS", "is a dict"),
        ("mssedu.spectral", "is a module"),
    ],
)
def test_show_source_refuses(name, message):
    with pytest.raises(InputError, match=message):
        show_source(name)


@pytest.fixture
def notebook(text):
    return nbformat.read(build(text), as_version=4)


def test_build_runs_and_keeps_small_outputs(notebook, text):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6]
    assert [out.text for out in code[1].outputs] == ["one\ntwo\n"]
    player = code[2].outputs[0].data
    assert player["text/plain"] == "▶ a < b: 0.1 s, mono, 8000 Hz, peak 0.0 dBFS"
    assert player["text/html"].startswith("<p>▶ a &lt; b: 0.1 s")
    assert "run the cell to listen" in player["text/html"]
    picture = Image.open(
        io.BytesIO(base64.b64decode(code[5].outputs[0].data["image/png"]))
    )
    assert picture.mode == "P"
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.metadata.mssedu.digest == digest(read(text))
    assert notebook_path(text).parent == text.parents[1]
    nbformat.validate(notebook)
    assert stale(text) == ""
    assert notebook_path(text).read_bytes().endswith(b"}\n")


def test_ids_are_unique_and_follow_the_content(text):
    before = [cell.id for cell in read(text).cells]
    assert len(set(before)) == len(before)
    text.write_text(TEXT.replace('"one"', '"1"'), encoding="utf-8")
    after = [cell.id for cell in read(text).cells]
    assert [old == new for old, new in zip(before, after, strict=True)].count(
        False
    ) == 1


def test_stale_tells_why(text):
    assert stale(text) == (
        "07_test.ipynb is not built; run: python -m mssedu.course.build 07"
    )
    notebook = read(text)
    notebook.metadata["mssedu"] = {"digest": digest(notebook)}
    nbformat.write(notebook, notebook_path(text))
    assert stale(text) == ""
    text.write_text(TEXT.replace("A test", "The test"), encoding="utf-8")
    assert "differs from py/07_test.py; run: python -m" in stale(text)
    edited = read(text)
    edited.metadata["mssedu"] = {"digest": "0"}
    nbformat.write(edited, notebook_path(text))
    assert "07_test.ipynb was edited after it was built" in stale(text)


def test_texts_by_number(text):
    folder = text.parents[1]
    assert texts("07", folder) == texts("7", folder) == texts("all", folder) == [text]
    with pytest.raises(InputError, match="notebook '08'"):
        texts("08", folder)


def test_command_line(text, monkeypatch, capsys):
    text.write_text("# %%\nprint(1)\n", encoding="utf-8")
    monkeypatch.setattr(build_module, "notebooks_folder", lambda: text.parents[1])
    assert main(["--check", "all"]) == 1
    assert "07_test.ipynb is not built" in capsys.readouterr().out
    assert main(["--check", "12"]) == 2
    assert "notebook '12'" in capsys.readouterr().err
    assert main(["07"]) == 0
    assert capsys.readouterr().out == "built 07_test.ipynb\n"
    assert main(["--check", "all"]) == 0


def test_command_line_names_the_failed_cell(text, monkeypatch, capsys):
    text.write_text("# %%\n1 / 0\n", encoding="utf-8")
    monkeypatch.setattr(build_module, "notebooks_folder", lambda: text.parents[1])
    assert main(["07"]) == 1
    error = capsys.readouterr().err
    assert "07_test.py" in error
    assert "ZeroDivisionError" in error
    assert not notebook_path(text).exists()


def test_a_package_without_its_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(
        build_module.mssedu, "__file__", str(tmp_path / "m/__init__.py")
    )
    with pytest.raises(SetupError, match="pip install -e"):
        texts()


def test_a_widget_leaves_its_line_of_text_only():
    view = "application/vnd.jupyter.widget-view+json"
    data = nbformat.from_dict({view: {}, "text/html": "<p>a</p>", "text/plain": "A()"})
    build_module._make_small(data)
    assert dict(data) == {"text/html": "<p>a</p>", "text/plain": "A()"}
    slider = nbformat.from_dict({view: {}, "text/plain": "IntSlider(value=3)"})
    build_module._make_small(slider)
    assert view in slider

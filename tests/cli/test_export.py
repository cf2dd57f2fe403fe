"""`mssedu export`: what it refuses before it works; the file itself: tests/export."""

import pytest

from mssedu.cli.commands import main


def test_onnx_files_are_not_exported_again(tmp_path, capfd):
    assert main(["export", "model.onnx", str(tmp_path / "new.onnx")]) == 2
    assert "is an ONNX file already" in capfd.readouterr().err


def test_another_suffix_is_refused_before_the_model_is_looked_for(tmp_path, capfd):
    assert main(["export", "no such model", str(tmp_path / "model.pt")]) == 2
    assert "must end in .onnx" in capfd.readouterr().err


def test_an_existing_file_stays(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    assert main(["export", "htdemucs", str(path)]) == 2
    assert "add --overwrite" in capfd.readouterr().err
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path, capfd):
    (tmp_path / "file").touch()
    assert main(["export", "htdemucs", str(tmp_path / "file" / "a.onnx")]) == 2
    assert "nothing can be written there" in capfd.readouterr().err
    (tmp_path / "a.onnx").mkdir()
    place = str(tmp_path / "a.onnx")
    assert main(["export", "htdemucs", place, "--overwrite"]) == 2
    assert "a.onnx is a folder" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_is_exported_and_separates_a_song(model, tmp_path, capfd):
    import torch

    from mssedu.audio import load_audio, save_audio

    song = tmp_path / "song.wav"
    save_audio(song, 0.1 * torch.randn(2, 44100), 44100)
    path = tmp_path / "model.onnx"
    assert main(["export", str(model), str(path)]) == 0
    stems = {}
    for name in (str(model), str(path)):
        folder = tmp_path / str(len(stems))
        words = ["separate", str(song), "-m", name, "-o", str(folder)]
        assert main([*words, "--subtype", "float32"]) == 0
        stems[name] = load_audio(folder / "song" / "vocals.wav")[0]
    first, second = stems.values()
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    capfd.readouterr()

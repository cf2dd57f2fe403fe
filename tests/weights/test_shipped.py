"""The model that the repository holds: small, described, and better than nothing."""

import json
import re

import pytest

import mssedu
from mssedu.audio.files import file_sha256
from mssedu.data.loading import demo_data, load_track
from mssedu.errors import DatasetError
from mssedu.metrics.ratios import usdr
from mssedu.weights.published import PUBLISHED, SHIPPED

FOLDER = demo_data() / "models"
CARD = (FOLDER / "README.md").read_text("utf-8")
MOST_BYTES = 16e6


def test_it_is_small_and_the_card_describes_this_file():
    path = FOLDER / PUBLISHED[SHIPPED].files[0].name
    assert path.stat().st_size <= MOST_BYTES
    assert file_sha256(path) in CARD
    model = mssedu.load_model(SHIPPED)
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in CARD
    assert model.config.stems == PUBLISHED[SHIPPED].stems
    facts = json.loads(path.with_suffix(".json").read_text("utf-8"))["facts"]
    assert facts["license"] == PUBLISHED[SHIPPED].license
    assert facts["license"] in CARD


def test_the_table_of_weights_states_the_score_of_the_card():
    (line,) = re.findall(r"^\| model .*$", CARD.partition("Sodium")[0], re.MULTILINE)
    mean = line.strip("| ").split("|")[-1].strip()
    assert PUBLISHED[SHIPPED].score.startswith(f"usdr {mean} on 25 clips")


def test_it_separates_a_song_that_it_has_not_heard():
    song = load_track(demo_data() / "test" / "Sodium")
    model = mssedu.load_model(SHIPPED)
    mixture = song.mixture(28, 6)
    estimate = mssedu.separate(model, mixture)
    reference = song.sources(28, 6)
    gain = usdr(reference=reference, estimate=estimate) - usdr(
        reference=reference, estimate=mixture.expand_as(reference)
    )
    assert gain.mean() > 4  # dB


def test_without_the_repository_the_error_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MSSEDU_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="Clone the repository"):
        mssedu.load_model(SHIPPED)

"""What several tests of the commands share."""

import pytest
import torch

from mssedu.models.registry import create_model
from mssedu.weights.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The run folder of an untrained tiny model: it separates, if badly."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    network = create_model("open_unmix", "tiny", n_layers=1, wiener_iterations=0)
    save_checkpoint(folder / "best.safetensors", network)
    return folder

import pytest

from mssedu.export import export_onnx
from tests.export.small import small


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A small model and its ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    return small(), export_onnx(small(), path, license="CC0: any use")

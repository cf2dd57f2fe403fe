"""What the tests of evaluation share."""

import pytest


@pytest.fixture
def lines():
    """What was logged."""
    return []

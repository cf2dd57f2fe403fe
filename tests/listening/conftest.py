"""What several tests of widgets share."""

import pytest

from mssedu.listening.widgets.base import ListeningWidget


@pytest.fixture
def sent(monkeypatch):
    """All messages that widgets send: [(content, buffers) …]."""
    messages = []

    def send(self, content, buffers=None):
        messages.append((content, buffers))

    monkeypatch.setattr(ListeningWidget, "send", send)
    return messages

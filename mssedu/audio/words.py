"""Numbers with their nouns, for messages."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number and a noun, which has an s unless the number is 1.

    Example:
        >>> counted(1, "song"), counted(0, "song"), counted(2, "copy", "copies")
        ('1 song', '0 songs', '2 copies')
    """
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"


def sound_form(sample_rate: int, channels: int) -> str:
    """What two sounds must share to be added up.

    Example:
        >>> sound_form(44100, 2)
        '44100 Hz × 2 channels'
    """
    return f"{sample_rate} Hz × {counted(channels, 'channel')}"


def sound_size(sample_rate: int, channels: int, samples: int) -> str:
    """What two sounds must share to be compared.

    Example:
        >>> sound_size(44100, 1, 100)
        '44100 Hz, 1 channel, 100 samples'
    """
    lengths = f"{counted(channels, 'channel')}, {counted(samples, 'sample')}"
    return f"{sample_rate} Hz, {lengths}"

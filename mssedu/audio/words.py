"""Numbers with their nouns, for messages."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number and a noun, which has an s unless the number is 1.

    Example:
        >>> counted(1, "song"), counted(0, "song"), counted(2, "copy", "copies")
        ('1 song', '0 songs', '2 copies')
    """
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"

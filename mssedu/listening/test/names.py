"""Names and texts of a test: checked before any work, as results are keyed by them.

    letters   no control characters, something to read, not too long
    words     none that JavaScript gives to every object, such as "constructor"
    pairs     not equal but for case, spaces or Unicode form

A name may contain "/" and other signs that a file name must not have: files are named
by `mssedu.audio.names.file_names`. Notebook: 13.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from reprlib import Repr

from mssedu.errors import InputError

LONGEST_NAME, LONGEST_TEXT = 100, 20_000  # characters
# The browser finds these in every object, so an answer of that name is never missing.
_OF_OBJECTS = (
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "prototype",
    "toLocaleString",
    "toString",
    "valueOf",
)
_SHORT = Repr()  # how a message quotes a value
_SHORT.maxstring = _SHORT.maxother = 60  # characters


def shown(value: object) -> str:
    """A value as Python writes it, shortened: it may be a megabyte from outside.

    Example:
        >>> len(shown("x" * 1_000_000))
        60
    """
    huge = isinstance(value, int) and value.bit_length() > 64  # Python may refuse it
    return "a huge number" if huge else _SHORT.repr(value)


def alike(name: str) -> str:
    """What equal names have in common, whatever their case, spaces and Unicode form.

    Example:
        >>> alike("Our  System") == alike("our system")
        True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def check_names(kind: str, names: Iterable[str], *, unique: bool = True) -> None:
    """Raise InputError for names that files, pages or tables of results cannot hold.

    Args:
        kind: what is named, such as "question".
        names: as the user wrote them.
        unique: also refuse names that differ in case, spaces or Unicode form only.

    Example:
        >>> check_names("question", ["clean/natural", "constructor"])
        Traceback (most recent call last):
        mssedu.errors.InputError: the question 'constructor' has a name that JavaScript
        uses itself. Choose another name.
    """
    names = list(names)
    for name in names:
        what = f"the {kind} {shown(name)}"
        check_text(what, name, LONGEST_NAME)
        if not any(letter.isprintable() and not letter.isspace() for letter in name):
            raise InputError(f"{what} has an empty name. Give it a name to read.")
        if name in _OF_OBJECTS:
            raise InputError(
                f"{what} has a name that JavaScript uses itself. Choose another name."
            )
    counts = Counter(map(alike, names)) if unique else Counter()
    same = [name for name in names if counts[alike(name)] > 1]
    if same:
        raise InputError(
            f"the names of each {kind} must differ by more than case, spaces and "
            f"Unicode form, got {shown(same)}. Rename one of them."
        )


def check_text(what: str, text: object, longest: int = LONGEST_TEXT) -> None:
    """Raise InputError unless a value is a text that a page can show.

    Tabs and line ends are allowed in a text that is longer than a name may be. `what`
    begins the message, and `longest` is the number of characters.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} must be a text, got {shown(text)}. Put it in quotes.")
    if len(text) > longest:
        raise InputError(
            f"{what} has {len(text)} characters, and {longest} are allowed. Shorten it."
        )
    allowed = "\n\t" if longest > LONGEST_NAME else ""
    for letter in text:
        # Control characters, halves of surrogate pairs, separators of lines
        category = unicodedata.category(letter)
        if category in ("Cc", "Cs", "Zl", "Zp") and letter not in allowed:
            raise InputError(
                f"{what} has the control character U+{ord(letter):04X}. Remove it."
            )

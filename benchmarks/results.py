"""What the benchmarks share: the page they write, and the processor they ran on."""

import platform
import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_section(name: str, text: str) -> None:
    """Put the text between the marks of this name in RESULTS.md, and touch no other."""
    section = f"<!-- {name} -->\n{text}\n<!-- /{name} -->\n"
    page = RESULTS.read_text("utf-8") if RESULTS.exists() else "# Benchmarks\n"
    old = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->\n", re.DOTALL)
    if old.search(page):
        page = old.sub(lambda _: section, page)
    else:
        page = f"{page.rstrip()}\n\n{section}"
    RESULTS.write_text(page, "utf-8")


def processor() -> str:
    """The name that Linux gives to the processor, or else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()

"""A listening test as one HTML file: everything is inside, nothing is loaded.

    engine ─ booth ─ alone ─┬─ remote.js   answers go to `mssedu listen serve`
                            └─ local.js    answers stay in the browser, then in a file

Notebook: 13.
"""

import html
import json
from pathlib import Path
from typing import Any

from mssedu.listening.widgets.base import joined

_STATIC = Path(__file__).parents[1] / "static"
_STYLES = ("style.css", "booth.css", "alone.css")
_SHELL = ("timeline.js", "booth.js", "alone.js")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main></main>
<script id="test" type="application/json">{test}</script>
<script type="module">
{script}
const test = JSON.parse(document.getElementById("test").textContent);
openTest({desk}, test.title, document.querySelector("main"));
</script>
</body>
</html>
"""


def remote_page(title: str) -> str:
    """The page of a test whose answers go to the server that it came from."""
    return _page("remote.js", "remoteDesk", {"title": title})


def local_page(test: dict[str, Any]) -> str:
    """The page of a test that keeps its answers in the browser.

    Args:
        test: plain values, as `offline.page_data` makes them.
    """
    return _page("local.js", "new LocalDesk(test, localStorage)", test)


def _page(script: str, desk: str, test: dict[str, Any]) -> str:
    return _PAGE.format(
        title=html.escape(test["title"]),
        style="\n".join((_STATIC / name).read_text("utf-8") for name in _STYLES),
        # A text of the test must not end the element that it stands in.
        test=json.dumps(test).replace("<", "\\u003c"),
        script=joined(*_SHELL, script),
        desk=desk,
    )

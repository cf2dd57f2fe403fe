"""A report on a phone: only its wide tables scroll sideways."""

import pytest

from mssedu.reports.page import facts_table, heading, html_table, write_page

pytestmark = pytest.mark.slow


def test_a_page_fits_on_a_phone(browser, tmp_path):
    parts = [
        heading("Errors of mel_band_roformer_small_of_a_long_name", 1),
        html_table(["stem", *"abcdefghijkl"], [["vocals", *["-12.3"] * 12]]),
        facts_table({"sha256": 64 * "0"}),
    ]
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(write_page(tmp_path / "report.html", "Errors", parts).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.close()

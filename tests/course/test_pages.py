"""Pages and slides load nothing: formulas are pictures, scripts are left out."""

import re

import pytest

from mssedu.course.pages import make_pages, make_slides, with_formulas
from mssedu.errors import InputError

LOADED = re.compile(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?http""")


def test_formulas_become_pictures_with_their_tex_as_alt_text():
    text = with_formulas("so $x < 3$, and $$ y = \\tfrac{1}{2} \\text{ if } z $$")
    alts = re.findall(r'alt="([^"]*)"', text)
    assert alts == ["x &lt; 3", "y = \\tfrac{1}{2} \\text{ if } z"]
    assert text.count("data:image/svg+xml;base64,") == 2
    assert "$" not in text


def test_code_and_prices_are_no_formulas():
    for text in ("`a $ b $ c`", "```\n$x$\n```", "it costs 5 $", r"\$3 and \$4"):
        assert with_formulas(text) == text


def test_a_formula_goes_on_in_the_next_line_of_its_paragraph():
    text = with_formulas(
        "it is $20\n\\log_{10}$ of a factor, or $10\n\\log_{10}$ of it"
    )
    assert re.findall(r'alt="([^"]*)"', text) == [r"20 \log_{10}", r"10 \log_{10}"]
    apart = "5 $\n\nand $x$"
    assert with_formulas(apart).startswith("5 $\n\nand <img")


@pytest.mark.parametrize(
    "tex",
    [r"x \ge y", r"x \le y", r"\underbrace{x}_{\text{what it is}}", r"\text{a\_b}"],
)
def test_a_formula_that_needs_other_words_becomes_a_picture(tex):
    assert with_formulas(f"${tex}$").startswith("<img")


def test_a_formula_that_matplotlib_cannot_read_stays_tex():
    tex = r"\begin{pmatrix} a & b \end{pmatrix}"
    assert with_formulas(f"${tex}$") == f"`{tex}`"


def test_a_page_loads_nothing(tmp_path):
    (page,) = make_pages(tmp_path / "out", ["03"])
    text = page.read_text("utf-8")
    assert page.name == "03_masks_and_oracles.html"
    assert not LOADED.search(text)
    assert "<script" not in text
    assert "$$" not in text
    assert text.count("data:image/svg+xml") > 10
    assert text.count("data:image/png") >= 3
    alts = re.findall(r'<img alt="([^"]*)" src="data:image/png', text)
    assert len(alts) == text.count('src="data:image/png')
    assert all(len(alt) > 20 for alt in alts)
    assert "No description" not in text


def test_a_deck_has_a_slide_for_each_figure(tmp_path):
    (deck,) = make_slides(tmp_path / "out", ["03"])
    text = deck.read_text("utf-8")
    assert not LOADED.search(text)
    n_figures = text.count("data:image/png")
    assert n_figures >= 3
    assert text.count("<section>") == n_figures + 2
    assert "What to remember" in text
    assert not re.search(r'<img alt=""', text)
    assert "¶" not in text
    assert "ArrowRight" in text


@pytest.mark.parametrize("make", [make_pages, make_slides])
def test_an_unknown_notebook_is_named(make, tmp_path):
    with pytest.raises(InputError, match="notebook '77'"):
        make(tmp_path, ["77"])

"""The page of `lossarium find-lr`: its text, its escaping, and its chart in headless Chromium."""

import html
import json
import re
from pathlib import Path

import pytest
import torch
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from lossarium.errors import LossariumError
from lossarium.report.find_lr import RateSearch, advice, rate_text, render, write
from tests.bounds import rounding_error
from tests.report.conftest import set_window
from tests.report.rates_example import found, search

ATTACK = "</script><img src=x onerror=alert(1)>"
LOSSES = ("mse", "0.84*ms_ssim + 0.16*mae", "lpips + mae")


@pytest.fixture(scope="module")
def three() -> RateSearch:
    return search(
        found(LOSSES[0], 1e-3, height=0.04, made=50), found(LOSSES[1], 2e-3), found(LOSSES[2], 4e-3, height=3)
    )


def readable(page: str) -> str:
    text = re.sub(r"<(script|style)\b.*?</\1>|</?code>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def test_the_suggestions_are_text(three: RateSearch) -> None:
    text = readable(render(three))
    assert three.shared is not None
    assert f"--learning-rate {rate_text(three.shared.rate)}" in text
    assert re.search(r"1 mse 0\.001 \S+ 0\.13", text)
    assert all(sentence.replace("`", "") in text for sentence in advice(three))
    assert "range tests of 3 losses, from 1e-07 to 1 in 57 steps" in text


def test_losses_of_different_heights_share_a_scale(three: RateSearch) -> None:
    found_data = re.search(r'id="report-data">(.*?)</script>', render(three), re.DOTALL)
    assert found_data is not None
    curves = json.loads(found_data[1])["curves"]
    assert [curve["smoothed"][0] for curve in curves] == [1, 1, 1]
    assert [len(curve["losses"]) for curve in curves] == [50, 57, 57]
    # A tenth of the nearest of the rates that were tried, eight a decade. Their powers multiply the rounding
    # of exponents by up to 7 ln 10.
    nearest = [1e-3, 10**-2.75, 10**-2.375]
    allowed = rounding_error(32, torch.float64)
    assert [curve["suggested"] for curve in curves] == pytest.approx(nearest, rel=allowed, abs=0)


def test_the_advice_fits_what_was_found() -> None:
    assert advice(search(found("mse"), found("mae", 1e-2)))[0].endswith("within a factor of 10.")
    assert "no rate is fair to all" in " ".join(advice(search(found("mse", 1e-5), found("mae", 1e-2))))
    assert (
        "half of the rate at which mse exploded"
        in advice(search(found("mse", 1e-2, made=40), found("mae", 0.1)))[0]
    )
    assert advice(search(found("mse", None))) == (
        "mse never fell: try other rates with `--lowest` and `--highest`.",
    )
    assert advice(search(found("mse", 0.1)))[0] == "mse still fell at the highest rate: raise `--highest`."
    assert "lossarium train ... --learning-rate 0.001" in " ".join(advice(search(found("mse"))))
    assert "lossarium set ada-ben learning_rate=0.001" in " ".join(
        advice(search(found("mse"), trial="ada-ben"))
    )


def test_without_a_suggestion_it_says_so() -> None:
    text = readable(render(search(found("mse", None))))
    assert "No loss fell at any of these learning rates." in text
    assert "--learning-rate" not in text


def test_names_from_outside_are_never_markup() -> None:
    page = render(search(found(ATTACK), trial=ATTACK))
    assert "<img src=x" not in page
    assert ATTACK in readable(page)
    assert page.count("</script>") == render(search(found("mse"))).count("</script>")
    assert "default-src 'none'" in html.unescape(page)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, three: RateSearch) -> None:
    with pytest.raises(LossariumError, match="cannot be written"):
        write(three, tmp_path / "nowhere" / "find-lr.html")


def test_each_loss_has_a_toggle_and_readings(browser: Chrome, tmp_path: Path, three: RateSearch) -> None:
    write(three, tmp_path / "find-lr.html")
    browser.get((tmp_path / "find-lr.html").as_uri())
    buttons = browser.find_elements(By.CSS_SELECTOR, "#curve-legend button")
    assert [button.find_element(By.CLASS_NAME, "spec").text for button in buttons] == list(LOSSES)
    assert buttons[0].find_element(By.CLASS_NAME, "reading").text == "1·10⁻³"
    drawn = "return document.querySelector('#chart-rates canvas').toDataURL()"
    whole = browser.execute_script(drawn)
    buttons[1].click()
    assert buttons[1].get_attribute("aria-pressed") == "false"
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h2")).pause(0.1).perform()
    assert browser.execute_script(drawn) != whole
    chart = browser.find_element(By.CSS_SELECTOR, "#chart-rates .u-over")
    ActionChains(browser).move_to_element(chart).pause(0.1).perform()
    assert browser.find_element(By.ID, "curve-moment").text.startswith("Smoothed loss at a learning rate of")
    assert re.fullmatch(r"[01]\.\d{3}", buttons[2].find_element(By.CLASS_NAME, "reading").text)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark"), (320, "light")])
def test_nothing_overflows_the_page(browser: Chrome, tmp_path: Path, width: int, scheme: str) -> None:
    names = (*LOSSES, "charbonnier(epsilon=0.001)", ATTACK, "flat")
    shown = search(*(found(name, None if name == "flat" else 1e-3) for name in names))
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    set_window(browser, width, 844)
    write(shown, tmp_path / "find-lr.html")
    browser.get((tmp_path / "find-lr.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.find_element(By.CSS_SELECTOR, "#chart-rates canvas").size["height"] > 200
    assert browser.get_log("browser") == []

"""The page in headless Chromium, opened from a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from lossarium.comparison.results import ComparisonResult
from lossarium.report import write
from tests.report.conftest import set_window
from tests.report.example import LOSSES, example_result

SECONDS = 10
TWELVE_LOSSES = (
    *LOSSES,
    "mae + 0.1*gradient",
    "charbonnier(epsilon=0.001)",
    "gmsd + 0.5*mae",
    "focal_frequency + mae",
    "haarpsi + mae",
    "mse + 0.05*vgg(layer=relu3_3)",
    "</script><img src=x onerror=alert(1)>",
)


def open_report(browser: Chrome, folder: Path, result: ComparisonResult) -> None:
    """Write the report, open it from its file and wait for its pictures."""
    path = folder / "report.html"
    write(result, path)
    browser.get(path.as_uri())
    wait_for_step(browser, None)


def wait_for_step(browser: Chrome, step: int | None) -> None:
    """Wait until the pictures of `step` are drawn; of any step for None."""
    script = "const grid = document.getElementById('picture-grid'); return grid && grid.dataset.drawnStep"

    def drawn(driver: Chrome) -> bool:
        shown = driver.execute_script(script)
        return shown is not None and step in (None, int(shown))

    WebDriverWait(browser, SECONDS, 0.05).until(drawn)


def console(browser: Chrome) -> list[Any]:
    return list(browser.get_log("browser"))


def pixels(browser: Chrome, kind: str) -> list[str]:
    """The pixels that every loss shows on one line of the picture grid."""
    script = "return [...document.querySelectorAll(`.tile.${arguments[0]} canvas`)].map((c) => c.toDataURL())"
    return list(browser.execute_script(script, kind))


def text_of(browser: Chrome, element_id: str) -> str:
    return browser.find_element(By.ID, element_id).text


def test_the_slider_shows_other_snapshots(browser: Chrome, tmp_path: Path) -> None:
    open_report(browser, tmp_path, example_result())
    kinds = ("reconstruction", "reconstruction-error", "swap-error")
    assert text_of(browser, "moment-text") == "step 500"
    at_the_end = {kind: pixels(browser, kind) for kind in kinds}
    slider = browser.find_element(By.ID, "moment")
    slider.send_keys(Keys.ARROW_LEFT)
    wait_for_step(browser, 375)
    assert text_of(browser, "moment-text") == "step 375"
    assert slider.get_attribute("aria-valuetext") == "step 375 of 500"
    for kind in kinds:
        before = pixels(browser, kind)
        assert len(before) == len(LOSSES)
        assert all(now != then for now, then in zip(before, at_the_end[kind], strict=True))
    slider.send_keys(Keys.END)
    wait_for_step(browser, 500)
    assert pixels(browser, "reconstruction") == at_the_end["reconstruction"]
    assert console(browser) == []


def test_the_pictures_are_the_results_own_pixels(browser: Chrome, tmp_path: Path) -> None:
    result = example_result()
    open_report(browser, tmp_path, result)
    browser.find_elements(By.CSS_SELECTOR, "#thumbnails input")[2].send_keys(Keys.SPACE)
    expected = result.trials[1].snapshots[-1]
    script = """
        const canvas = document.querySelectorAll(`.tile.${arguments[0]} canvas`)[arguments[1]];
        const at = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return [...at].filter((value, place) => place % 4 !== 3);
    """
    WebDriverWait(browser, SECONDS, 0.05).until(
        lambda driver: (
            driver.execute_script(script, "frame", 0) == result.preview_rows[2].frame.ravel().tolist()
        )
    )
    assert browser.execute_script(script, "reconstruction", 1) == expected.reconstructions[2].ravel().tolist()
    assert browser.execute_script(script, "swap:not(.exact-swap)", 1) == expected.swaps[2].ravel().tolist()
    error = abs(expected.reconstructions[2] / 255 - result.preview_rows[2].frame / 255).mean()
    shown = browser.find_elements(By.CSS_SELECTOR, ".tile.reconstruction-error small")[1].text
    assert float(shown) == pytest.approx(error, abs=0.0005 + 1e-9)  # shown to three places
    assert console(browser) == []


def test_play_runs_through_the_training_and_stops(browser: Chrome, tmp_path: Path) -> None:
    open_report(browser, tmp_path, example_result(moments=3, rows=1))
    play = browser.find_element(By.ID, "play")
    play.click()
    assert play.get_attribute("aria-label") == "Pause"
    wait_for_step(browser, 166)
    wait_for_step(browser, 500)
    assert play.get_attribute("aria-label") == "Play the training"
    assert console(browser) == []


def test_another_score_is_another_chart(browser: Chrome, tmp_path: Path) -> None:
    open_report(browser, tmp_path, example_result(seeds=2, rows=1))
    script = "return document.querySelector(`#chart-${arguments[0]} canvas`).toDataURL()"
    charts = ("steps", "seconds")
    WebDriverWait(browser, SECONDS).until(lambda driver: len(driver.execute_script(script, "steps")) > 5000)
    before = [browser.execute_script(script, chart) for chart in charts]
    assert before[0] != before[1]
    assert "dB" in text_of(browser, "curve-legend")
    Select(browser.find_element(By.ID, "curve-score")).select_by_visible_text("Swap: LPIPS")
    WebDriverWait(browser, SECONDS).until(
        lambda driver: all(
            driver.execute_script(script, chart) != old for chart, old in zip(charts, before, strict=True)
        )
    )
    assert "lower is better" in text_of(browser, "curve-direction")
    assert LOSSES[-1] in text_of(browser, "curve-home")
    assert "dB" not in text_of(browser, "curve-legend")
    button = browser.find_element(By.CSS_SELECTOR, "#curve-legend button")
    button.send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "false"
    assert len(browser.find_elements(By.CSS_SELECTOR, ".chart .uplot")) == 2
    assert console(browser) == []


def test_another_seed_shows_other_pictures(browser: Chrome, tmp_path: Path) -> None:
    open_report(browser, tmp_path, example_result(seeds=2, rows=1, moments=2))
    before = pixels(browser, "reconstruction")
    Select(browser.find_element(By.ID, "seed")).select_by_value("2")
    WebDriverWait(browser, SECONDS).until(
        lambda driver: all(
            now != then for now, then in zip(pixels(driver, "reconstruction"), before, strict=True)
        )
    )
    assert console(browser) == []


@pytest.mark.parametrize(
    ("width", "scheme"), [(1400, "light"), (768, "dark"), (390, "light"), (390, "dark"), (320, "light")]
)
@pytest.mark.parametrize("case", ["two losses", "twelve losses"])
def test_nothing_overflows_the_page(
    browser: Chrome, tmp_path: Path, case: str, width: int, scheme: str
) -> None:
    if case == "two losses":
        result = example_result(losses=LOSSES[:2], moments=1, rows=2, exact_swaps=False)
    else:
        result = example_result(losses=TWELVE_LOSSES, moments=2, rows=2, identities=("a" * 80, "ben"))
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    set_window(browser, width, 844)
    open_report(browser, tmp_path, result)
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(247, 248, 248)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert console(browser) == []


def test_trials_with_other_snapshots_show_their_latest(browser: Chrome, tmp_path: Path) -> None:
    result = example_result(losses=("mse", "mae"), seeds=1, moments=4, rows=1)
    whole, short = result.trials
    short = replace(short, snapshots=short.snapshots[1::2])
    open_report(browser, tmp_path, replace(result, trials=(whole, short)))
    slider = browser.find_element(By.ID, "moment")
    slider.send_keys(Keys.ARROW_LEFT)
    wait_for_step(browser, 375)
    heads = [head.text for head in browser.find_elements(By.CSS_SELECTOR, ".head .when")]
    assert heads[1].startswith("step 375")
    assert heads[2].startswith("step 250")
    assert console(browser) == []

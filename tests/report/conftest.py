"""Headless Chromium for the tests of pages."""

import os
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WITHOUT_SURPRISES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser_programs() -> tuple[str, str]:
    """The paths of chromium and chromedriver."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if programs[0] is None or programs[1] is None:
        message = "Chromium is missing; install the Debian packages chromium and chromium-driver."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return programs[0], programs[1]


@pytest.fixture(scope="module")
def _chromium(
    browser_programs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """One Chromium a module and worker: starting it takes longer than most tests."""
    options = Options()
    options.binary_location = browser_programs[0]
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (*WITHOUT_SURPRISES, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(browser_programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def browser(_chromium: webdriver.Chrome) -> webdriver.Chrome:
    """An empty window of desktop size in the light theme, with an empty console."""
    _chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    _chromium.get("about:blank")
    _chromium.get_log("browser")
    set_window(_chromium, 1400, 1000)
    return _chromium


def set_window(driver: webdriver.Chrome, width: int, height: int) -> None:
    """Show the page as on a screen of this size; a real window cannot be as narrow as a phone."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )

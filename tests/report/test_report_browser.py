"""The report in a real browser: it runs without errors, filters, sorts, follows links and keys, and fits a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tc3net.report import VideoFiles, write_report
from tests.support.needs import BROWSER, CHROMEDRIVER, CHROMIUM, VIDEO, needs
from tests.support.report_cases import HOSTILE, example
from tests.support.video_files import grey_levels, write_video

pytestmark = needs(BROWSER)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1280,900",
)  # fmt: skip
LENGTHS = (60, 25, 40, 33, 2300, 12)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page of six videos of three classes; the second one has a file."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "videos").mkdir()
    (folder / "videos" / "video_0001.mp4").write_bytes(b"not really")
    write_report(folder / "report.html", example(LENGTHS), VideoFiles.in_folder(folder / "videos"))
    return (folder / "report.html").as_uri()


def open_page(browser: Any, address: str) -> None:
    """A fresh load: a change of the hash alone would not be one. No error may be on the console."""
    browser.get("about:blank")
    browser.get(address)
    assert browser.get_log("browser") == []


def listed(browser: Any) -> list[str]:
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#list b")]


def title(browser: Any) -> str:
    return browser.find_element(By.ID, "video-title").text


def panels(browser: Any) -> list[str]:
    return [head.text.split(" (")[0] for head in browser.find_elements(By.CSS_SELECTOR, "#tracks h4")]


def choose(browser: Any, name: str, text: str) -> None:
    Select(browser.find_element(By.ID, name)).select_by_visible_text(text)


def test_it_opens_with_the_first_video(browser: Any, page: str) -> None:
    open_page(browser, page)
    assert title(browser) == "video_0000" and len(listed(browser)) == 6
    assert panels(browser)[:2] == ["Jump", "Run"]  # both are annotated there
    shapes = {
        name: len(browser.find_elements(By.CSS_SELECTOR, f"#tracks .{name}")) for name in ("curve", "eta", "ambiguous")
    }
    assert shapes["curve"] == len(panels(browser)) and shapes["ambiguous"] == len(panels(browser))
    bars = browser.find_elements(By.CSS_SELECTOR, "#tracks .hit, #tracks .miss, #tracks .ignored")
    rows = browser.find_elements(By.CSS_SELECTOR, "#rows tbody tr")
    assert len(bars) == len(rows) > 0
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tracks .found, #tracks .missed")) == 4


def test_filter_search_and_sort(browser: Any, page: str) -> None:
    open_page(browser, page)
    choose(browser, "class", "Throw")
    assert listed(browser) == ["video_0002", "video_0005"] and title(browser) == "video_0002"
    assert panels(browser) == ["Throw"]
    browser.find_element(By.ID, "detected").click()
    assert len(listed(browser)) > 2
    choose(browser, "class", "all classes")
    choose(browser, "sort", "duration, longest first")
    assert listed(browser) == [f"video_{i:04d}" for i in (4, 0, 2, 3, 1, 5)]
    choose(browser, "sort", "number of errors")
    errors = [
        int(item.text.split(", ")[-1].split()[0]) for item in browser.find_elements(By.CSS_SELECTOR, "#list span")
    ]
    assert errors == sorted(errors, reverse=True) and errors[0] > errors[-1]
    choose(browser, "sort", "AP, lowest first")
    aps = [float(item.text.split(",")[0][3:]) for item in browser.find_elements(By.CSS_SELECTOR, "#list span")]
    assert aps == sorted(aps) and aps[0] < aps[-1]
    choose(browser, "tiou", "0.1")
    easier = [float(item.text.split(",")[0][3:]) for item in browser.find_elements(By.CSS_SELECTOR, "#list span")]
    assert sum(easier) > sum(aps) and "tiou=0.1" in browser.current_url
    browser.find_element(By.ID, "search").send_keys("0003")
    assert listed(browser) == ["video_0003"] and title(browser) == "video_0003"


def test_a_click_selects_and_the_address_follows(browser: Any, page: str) -> None:
    open_page(browser, page)
    browser.find_elements(By.CSS_SELECTOR, "#list li")[3].click()
    assert title(browser) == "video_0003" and browser.current_url.endswith("#video=video_0003")
    assert browser.find_element(By.ID, "link").get_attribute("href") == browser.current_url
    browser.find_element(By.ID, "next").click()
    assert title(browser) == "video_0004"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tracks .band")) > 0  # 2300 segments: extremes of three
    selected = browser.find_elements(By.CSS_SELECTOR, "#list [aria-selected=true]")
    assert [item.find_element(By.TAG_NAME, "b").text for item in selected] == ["video_0004"]


def test_links_open_their_view(browser: Any, page: str) -> None:
    open_page(browser, f"{page}#video=video_0002&class=Throw&tiou=0.7")
    assert title(browser) == "video_0002" and panels(browser) == ["Throw"]
    assert Select(browser.find_element(By.ID, "tiou")).first_selected_option.text == "0.7"
    browser.execute_script("location.hash = '#video=video_0001'")
    assert title(browser) == "video_0001" and len(listed(browser)) == 6
    browser.find_element(By.CSS_SELECTOR, "#classes a[href='#class=Run']").click()
    assert title(browser) == "video_0000" and panels(browser) == ["Run"]
    browser.execute_script("location.hash = '#errors'")  # a section, not a view
    assert title(browser) == "video_0000"
    open_page(browser, f"{page}#video=gone&class=Swim")
    assert 'no video "gone" and no class "Swim"' in browser.find_element(By.ID, "picked").text


def test_keys_move(browser: Any, page: str) -> None:
    open_page(browser, page)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("jjk")
    assert title(browser) == "video_0001"
    box = browser.find_element(By.ID, "list")
    box.send_keys(Keys.ARROW_DOWN)
    assert title(browser) == "video_0002"
    box.send_keys(Keys.END)
    assert title(browser) == "video_0005"
    box.send_keys(Keys.HOME, Keys.ARROW_UP)
    assert title(browser) == "video_0000"
    body.send_keys("/")
    browser.switch_to.active_element.send_keys("jk")  # typed, not obeyed
    assert listed(browser) == [] and title(browser) == "video_0000"
    browser.switch_to.active_element.clear()


def test_zoom_rows_and_video(browser: Any, page: str) -> None:
    open_page(browser, f"{page}#video=video_0001")

    def span() -> str:
        return browser.find_element(By.CSS_SELECTOR, "#tracks svg").get_attribute("aria-label").split(", ")[-1]

    assert span() == "0.0 to 16.0 seconds"
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("+")
    assert span() == "4.0 to 12.0 seconds"
    body.send_keys(Keys.ARROW_RIGHT)
    assert span() == "8.0 to 16.0 seconds"
    body.send_keys("0")
    player = browser.find_element(By.ID, "player")
    assert player.is_displayed() and player.get_attribute("src").endswith("/videos/video_0001.mp4")
    browser.execute_script(
        "const svg = document.querySelector('#tracks svg'), box = svg.getBoundingClientRect();"
        "svg.dispatchEvent(new MouseEvent('click', {clientX: box.left + (62 + (box.width - 70) / 2), bubbles: true}))"
    )
    assert browser.execute_script("return document.getElementById('player').currentTime") == pytest.approx(8, abs=0.1)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tracks .cursor")) == len(panels(browser))
    browser.find_element(By.ID, "rows-summary").click()
    row = browser.find_element(By.CSS_SELECTOR, "#rows tbody tr")
    start = row.find_elements(By.TAG_NAME, "td")[0].text
    row.find_element(By.TAG_NAME, "button").click()
    assert f": {start} to " in browser.find_element(By.ID, "picked").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tracks .picked")) == 1
    browser.find_element(By.ID, "next").click()
    assert not browser.find_element(By.ID, "player").is_displayed()


@needs(VIDEO)
@pytest.mark.parametrize("embed", [False, True])
def test_a_click_plays_that_moment(browser: Any, tmp_path: Path, embed: bool) -> None:
    """A real video, linked and as data: the time line plays from there, a detection from its start to its end."""
    film = write_video(tmp_path / "video_0000.mp4", grey_levels(400), codec="libx264")
    report = example((25, 20))
    write_report(tmp_path / "r.html", report, VideoFiles({"video_0000": film}, embed))
    open_page(browser, (tmp_path / "r.html").as_uri())

    def player(what: str) -> Any:
        return browser.execute_script(f"return document.getElementById('player').{what}")

    WebDriverWait(browser, 30).until(lambda _: player("readyState") >= 1)
    assert player("duration") == pytest.approx(16, abs=0.1) and player("paused")
    bar = browser.find_element(By.CSS_SELECTOR, "#tracks .hit, #tracks .miss")
    start_s, end_s = map(
        float,
        re.findall(r"([\d.]+) to ([\d.]+) s", bar.find_element(By.TAG_NAME, "title").get_attribute("textContent"))[0],
    )
    bar.click()
    WebDriverWait(browser, 30).until(lambda _: start_s <= player("currentTime") < end_s + 1)
    WebDriverWait(browser, 30).until(lambda _: player("paused") and player("currentTime") >= end_s)
    svg = browser.find_element(By.CSS_SELECTOR, "#tracks svg")
    middle = 62 + (svg.size["width"] - 70) / 2 - svg.size["width"] / 2
    webdriver.ActionChains(browser).move_to_element_with_offset(
        svg, round(middle), 30 - round(svg.size["height"] / 2)
    ).click().perform()
    WebDriverWait(browser, 30).until(lambda _: not player("paused") and 7.9 < player("currentTime") < 12)
    cursor = browser.find_element(By.CSS_SELECTOR, "#tracks .cursor")
    before = float(cursor.get_attribute("x1"))
    WebDriverWait(browser, 30).until(
        lambda _: float(cursor.get_attribute("x1")) > before
    )  # it moves, and is not drawn anew
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, page: str, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        open_page(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_names_are_only_text(browser: Any, tmp_path: Path) -> None:
    names = [*HOSTILE[:2], "__proto__", *HOSTILE[3:]]
    report = example((30, 20, 25, 40, 33, 12), classes=names[:4], video_ids=names, dataset=HOSTILE[0])
    write_report(tmp_path / "r.html", replace(report, notes=HOSTILE))
    for name in names:
        open_page(browser, f"{(tmp_path / 'r.html').as_uri()}#video={quote(name)}&class={quote(names[2])}")
        assert title(browser) == name
        browser.find_element(By.CSS_SELECTOR, "#list li").click()
        assert browser.execute_script("return window.hit") is None
    heads = {link.text for link in browser.find_elements(By.CSS_SELECTOR, "#classes tbody a")}
    assert heads == set(names[:4])
    for place in range(4):
        open_page(browser, (tmp_path / "r.html").as_uri())
        link = browser.find_elements(By.CSS_SELECTOR, "#classes tbody a")[place]
        name = link.text
        link.click()
        assert panels(browser)[0] == name.split(" (")[0]
    assert browser.execute_script("return document.querySelectorAll('img[src=x], script').length") == 2
    assert browser.get_log("browser") == []

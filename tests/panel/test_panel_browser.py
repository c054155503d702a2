"""The panel in a real browser: under Voila as `rahelpers panel` serves it, and in JupyterLab."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rahelpers.core.kernel import this_python_kernel
from rahelpers.panel import BANNER
from rahelpers.panel.serve import voila_command, wait_until_up, write_panel_notebook
from rahelpers.phantom import make_patient, render

PROJECT = Path(__file__).resolve().parents[2]
PORT, LAB_PORT, TOKEN = 18866, 18867, "a-token-for-tests"
MOST_MS = 180_000  # that anything may take on a busy machine, milliseconds
pytestmark = pytest.mark.skipif(
    not Path("/usr/bin/chromium").exists() and os.environ.get("CI") != "true",
    reason="Debian's chromium is not installed",
)


def film(side="L") -> bytes:
    image = (render(make_patient(7, 1), side, 256).image * 255).astype(np.uint8)
    return png(image)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def web_app(tiny_run, tmp_path_factory):
    book = write_panel_notebook(tiny_run, tmp_path_factory.mktemp("panel"))
    with this_python_kernel():
        process = subprocess.Popen(
            voila_command(book, PORT),
            env=os.environ | {"JUPYTER_TOKEN": TOKEN},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until_up(f"http://127.0.0.1:{PORT}/", 60)
        yield f"http://127.0.0.1:{PORT}/?token={TOKEN}"
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        made = play.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        yield made
        made.close()


def open_panel(browser, address, width=1280):
    """A new user: own cookies, own kernel."""
    size = {"width": width, "height": 2600}
    page = browser.new_context(viewport=size, accept_downloads=True).new_page()
    page.outside = []

    def watch(request):
        if not re.match(r"(https?|ws)://127\.0\.0\.1|data:|blob:", request.url):
            page.outside.append(request.url)

    page.on("request", watch)
    page.goto(address, timeout=MOST_MS)
    page.get_by_text("Ready. Choose a film.").wait_for(timeout=MOST_MS)
    return page


@pytest.fixture(scope="module")
def page(browser, web_app):
    return open_panel(browser, web_app)


def choose(page, *files) -> None:
    page.get_by_label("Choose films, or drop them here").set_input_files(
        [{"name": n, "mimeType": "image/png", "buffer": b} for n, b in files]
    )


def shot(page, name) -> None:
    if os.environ.get("RAHELPERS_SCREENSHOTS"):
        page.wait_for_timeout(600)
        page.screenshot(path=f"{os.environ['RAHELPERS_SCREENSHOTS']}/{name}.png")


def check_accessible(page) -> None:
    """axe-core finds nothing serious inside the panel."""
    from axe_playwright_python.sync_playwright import Axe

    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    answer = Axe().run(page, context=".ra-panel", options=rules).response
    assert len(answer["passes"]) > 10, "it looked at the panel"
    serious = [
        (v["id"], [n["html"][:160] for n in v["nodes"]][:3])
        for v in answer["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert not serious, serious


def test_browser_token_is_wanted(browser, web_app):
    page = browser.new_context().new_page()
    page.goto(f"http://127.0.0.1:{PORT}/")
    assert "/login" in page.url and BANNER not in page.content()


def test_browser_upload_result_and_explanations(page):
    from playwright.sync_api import expect

    shot(page, "start")
    choose(page, ("left.png", film("L")), ("right.png", film("R")))
    expect(page.get_by_text(re.compile("Probability of RA:")).first).to_be_visible(timeout=MOST_MS)
    expect(page.get_by_text("Regions that change the logit most")).to_be_visible(timeout=MOST_MS)
    expect(page.get_by_text("Done.")).to_be_visible(timeout=MOST_MS)
    expect(page.get_by_text("Side by side")).to_be_visible()
    expect(page.get_by_text(BANNER)).to_be_in_viewport()
    shot(page, "result")
    check_accessible(page)


def test_browser_sliders_work_by_keyboard(page):
    from playwright.sync_api import expect

    slider = page.get_by_label("Share of people who have the disease")
    slider.focus()
    page.keyboard.press("End")
    expect(page.get_by_text(re.compile("Where 60 % of people"))).to_be_visible(timeout=MOST_MS)
    page.get_by_label("Overlay").select_option("heat")
    expect(page.get_by_label("Threshold, per cent")).to_be_visible()
    page.get_by_label("Method").select_option("hirescam")
    expect(page.get_by_text(re.compile("HiResCAM at layer"))).to_be_visible(timeout=MOST_MS)
    shot(page, "heat")
    page.get_by_label("Overlay").select_option("regions")
    shot(page, "regions")


def test_browser_film_viewer(page):
    from playwright.sync_api import expect

    canvas, readout = page.locator(".ra-canvas").first, page.locator(".ra-readout").first
    expect(canvas).to_have_attribute(
        "aria-label", re.compile("Radiograph of a left hand|Radiograph of one hand")
    )
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 160, steps=4)
    page.mouse.up()
    expect(readout).not_to_contain_text("Window 100 %, level 50 %")
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("i")
    expect(readout).to_contain_text("zoom 1.3×; inverted")
    page.keyboard.press("r")
    expect(readout).to_contain_text("Window 100 %, level 50 % of the grey range; zoom 1.0×")


def test_browser_exports_are_downloaded(page):
    for button, ending in (
        ("Report (HTML)", ".html"),
        ("Report (PDF)", ".pdf"),
        ("Overlay (DICOM)", ".dcm"),
        ("Numbers (JSON)", ".json"),
    ):
        with page.expect_download(timeout=MOST_MS) as got:
            page.get_by_role("button", name=button).click()
        assert got.value.suggested_filename.endswith(ending)
        assert Path(got.value.path()).stat().st_size > 500


def test_browser_bad_files_are_messages(page):
    from playwright.sync_api import expect

    noise = png(np.random.default_rng(0).integers(0, 255, (300, 200), np.uint8))
    choose(page, ("bad.png", b"this is not a picture"), ("noise.png", noise))
    expect(page.get_by_text("bad.png: Not a picture")).to_be_visible(timeout=MOST_MS)
    expect(page.get_by_text("noise.png: No hand was found")).to_be_visible(timeout=MOST_MS)
    shot(page, "refused")
    check_accessible(page)


def test_browser_cancel_keeps_the_answer(page):
    from playwright.sync_api import expect

    page.get_by_label("Or a patient of the test split").select_option(index=1)
    page.get_by_role("button", name="Cancel").click(timeout=MOST_MS)
    expect(page.get_by_text("Stopped. The results so far stay.")).to_be_visible(timeout=MOST_MS)
    page.get_by_label("Or a patient of the test split").select_option(index=2)
    expect(page.get_by_text("Done.")).to_be_visible(timeout=MOST_MS)
    assert page.get_by_text("files were read").count() == 0, "the sample took the files' place"
    page.get_by_role("button", name="Show the truth").click()
    expect(page.get_by_role("heading", name="Truth")).to_be_visible(timeout=MOST_MS)


def test_browser_what_if_and_reader_study(page):
    from playwright.sync_api import expect

    page.get_by_role("tab", name="Read films").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Draw the film").click()
    expect(page.get_by_text("How the answer changed")).to_be_visible(timeout=MOST_MS)
    page.get_by_label("Severity of the disease").focus()
    page.keyboard.press("End")
    expect(page.get_by_text(re.compile("severity 1.00"))).to_be_visible(timeout=MOST_MS)
    shot(page, "what_if")
    check_accessible(page)
    page.get_by_role("tab", name="Reader study").click()
    page.get_by_label("Films to read").fill("2")
    page.get_by_role("button", name="Begin").click()
    for number in (1, 2):
        expect(page.get_by_text(f"Film {number} of 2.")).to_be_visible(timeout=MOST_MS)
        shot(page, f"reader_{number}")
        page.get_by_role("button", name="This is RA").click()
        expect(page.get_by_text("What is your answer now?")).to_be_visible(timeout=MOST_MS)
        page.get_by_role("button", name="This is RA").click()
    expect(page.get_by_text("Your study: 2 films")).to_be_visible(timeout=MOST_MS)
    shot(page, "reader_end")
    check_accessible(page)
    page.get_by_role("tab", name="The model").click()
    expect(page.get_by_text("It knows nothing about patients.")).to_be_visible()
    assert not [a for a in page.outside if "fontawesome" not in a], (
        "nothing is fetched from elsewhere (the policy blocks Voila's icons)"
    )


def test_browser_two_users_and_reload(browser, web_app, page):
    """A second user, on a narrow light page, sees nothing of the first; a reload starts anew."""
    from playwright.sync_api import expect

    other = open_panel(browser, f"{web_app}&theme=light", 400)
    assert other.get_by_text("Probability of RA").count() == 0
    choose(other, ("mine.png", film("R")))
    expect(other.get_by_text("Done.")).to_be_visible(timeout=MOST_MS)
    assert other.evaluate("document.documentElement.scrollWidth") <= 400, (
        "nothing is wider than a narrow page"
    )
    check_accessible(other)
    shot(other, "narrow_light")
    assert page.get_by_text("mine.png").count() == 0
    other.reload()
    other.get_by_text("Ready. Choose a film.").wait_for(timeout=MOST_MS)
    assert other.get_by_text("mine.png").count() == 0
    other.context.close()


def test_browser_jupyterlab(browser, tiny_run, tmp_path):
    from playwright.sync_api import expect

    folder = tmp_path / "lab"
    book = write_panel_notebook(tiny_run, folder)
    with this_python_kernel():
        environment = os.environ | {
            "JUPYTER_TOKEN": TOKEN,
            "JUPYTERLAB_SETTINGS_DIR": str(tmp_path),
            "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path),
        }
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            f"--port={LAB_PORT}",
            f"--ServerApp.root_dir={folder}",
        ]
        lab = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
        )
        try:
            assert wait_until_up(f"http://127.0.0.1:{LAB_PORT}/api", 60)
            page = browser.new_context(viewport={"width": 1280, "height": 1400}).new_page()
            page.goto(
                f"http://127.0.0.1:{LAB_PORT}/lab/tree/{book.name}?token={TOKEN}", timeout=MOST_MS
            )
            page.locator(".jp-Notebook .jp-CodeCell").first.click(timeout=MOST_MS)
            page.wait_for_timeout(2000)
            page.get_by_text("Run", exact=True).first.click()
            page.get_by_text("Run All Cells", exact=True).click()
            page.get_by_text("Ready. Choose a film.").wait_for(timeout=MOST_MS)
            choose(page, ("lab.png", film("L")))
            expect(page.get_by_text(re.compile("Probability of RA:")).first).to_be_visible(
                timeout=MOST_MS
            )
            shot(page, "jupyterlab")
        finally:
            lab.terminate()
            lab.wait(20)

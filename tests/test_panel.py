"""The panel's pure functions, its callbacks, and the web app in a real browser."""

import io
import os
import re
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from rahelpers import panel
from rahelpers.inference import load_bundle
from rahelpers.radiograph import RadiographError
from rahelpers.serve import serve_panel, voila_command, write_panel_notebook


def png(size=(120, 100)) -> bytes:
    buffer = io.BytesIO()
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size)  # a picture, but of no hand
    Image.fromarray(ramp.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bundle(tiny_run):
    return load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)


def test_upload_becomes_an_answer(bundle):
    image, notes = panel.read_upload(png(), "film.png", bundle)
    answer = panel.diagnose(bundle, image, notes)
    assert image.shape == (48, 48) and 0 <= answer.probability <= 1 and answer.heatmap.shape == (48, 48)
    text = panel.describe(answer, bundle.info)
    assert "no hand was found" in text and "which hand" in text, "a ramp is no hand, and a PNG has no side"
    assert "operating point" in text and ("at or above" in text) == answer.positive


@pytest.mark.parametrize("content", [b"", b"text", png()[:100]])
def test_bad_upload_is_a_message(bundle, content):
    with pytest.raises(RadiographError, match="film.png"):
        panel.read_upload(content, "film.png", bundle)


def test_too_large_upload_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(panel, "MAX_BYTES", 100)
    with pytest.raises(RadiographError, match="at most"):
        panel.read_upload(png(), "film.png", bundle)


def test_names_are_escaped():
    assert "<script>" not in panel.message_html("<script>alert(1)</script>")


def test_opacity_zero_shows_the_film_alone():
    image, heat = np.full((16, 16), 90, np.uint8), np.ones((16, 16), np.float32)
    assert panel.render_png(image, heat, 0.0) == panel.render_png(image) != panel.render_png(image, heat, 0.8)


def test_callbacks(tiny_run):
    from rahelpers.curation import load_cohort

    view = panel._Panel(load_cohort(tiny_run), load_bundle(tiny_run.file("train", "bundle/bundle.json").parent), tiny_run.config)
    view.sample.value = view.sample.options[1][1]
    assert "Probability of RA" in view.answer.value and "alt=" in view.film.value
    before = view.overlay.value
    view.opacity.value = 0.1
    assert view.overlay.value != before or view.diagnosis.flat
    view.explain.click()
    assert "add up" in view.bars.value
    view.truth.click()
    assert "Truth" in view.reveal.value
    shown = view.answer.value
    view.side.value = "R"
    assert view.answer.value == shown, "the side is a matter of uploads; a test sample stays"
    view._on_upload({"new": ({"content": b"junk", "name": "x.png"},)})
    assert "cannot be used" in view.answer.value and view.diagnosis is None and view.film.value == ""


def test_a_taken_port_is_said(tiny_run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="taken"):
            serve_panel(tiny_run, other.getsockname()[1], False)


@pytest.fixture(scope="module")
def web_app(tiny_run):
    """The panel under Voila, as `rahelpers panel` starts it."""
    from rahelpers.run import this_python_kernel

    project = Path(__file__).resolve().parents[1]
    port = 18866
    before = os.getcwd()
    os.chdir(project)
    try:
        book = write_panel_notebook(tiny_run)
        with this_python_kernel(book.parent / "kernels"):
            process = subprocess.Popen(voila_command(book, port, False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        os.chdir(before)
    for _ in range(60):
        time.sleep(0.5)
        try:
            urlopen(f"http://127.0.0.1:{port}/static/", timeout=2)
        except OSError as error:
            if getattr(error, "code", None):
                break
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(20)


def upload(page, file: Path) -> None:
    """Choose a file as a person does: the button opens the chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Upload a film")).click()
    chooser.value.set_files(str(file))


@pytest.mark.skipif(not Path("/usr/bin/chromium").exists() and os.environ.get("CI") != "true", reason="Debian's chromium is not installed")
def test_in_a_real_browser(web_app, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(web_app, timeout=90_000)
        expect(page.get_by_text(panel.BANNER)).to_be_visible(timeout=90_000)
        page.get_by_label("Test sample").select_option(index=1)
        expect(page.get_by_text(re.compile("Probability of RA"))).to_be_visible(timeout=60_000)
        expect(page.get_by_alt_text(re.compile("film as the network sees it"))).to_be_visible()
        if os.environ.get("RAHELPERS_SCREENSHOTS"):
            page.screenshot(path=f"{os.environ['RAHELPERS_SCREENSHOTS']}/panel.png", full_page=True)
        bad = tmp_path / "bad.png"
        bad.write_bytes(b"this is not a picture")
        upload(page, bad)
        expect(page.get_by_text("This file cannot be used.")).to_be_visible(timeout=30_000)
        good = tmp_path / "good.png"
        good.write_bytes(png())
        upload(page, good)
        expect(page.get_by_text(re.compile("good.png"))).to_be_visible(timeout=30_000)
        assert "Traceback" not in page.content()
        browser.close()

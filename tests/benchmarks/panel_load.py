"""The panel under load: several browsers at once over loopback, each with its own films.

    .venv/bin/python -m tests.benchmarks.panel_load [RUN] [MINUTES] [BROWSERS]

By default 5 minutes with 8 browsers. Each browser has its own cookies and kernel. It chooses one
film after another, waits for the probability and the explanations, and checks whether another
browser's film is on its page. Memory is that of all processes below the server, sampled every 5
seconds; shared pages count once (PSS). The figures are in docs/panel.md.
"""

import asyncio
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import psutil
from PIL import Image
from playwright.async_api import Page, async_playwright

from rahelpers.core.config import project_root
from rahelpers.core.kernel import this_python_kernel
from rahelpers.core.store import open_run
from rahelpers.panel.serve import voila_command, wait_until_up, write_panel_notebook
from rahelpers.phantom import make_patient, render

PORT, TOKEN, SECONDS = 18870, "a-token-for-a-load-test", 180_000


def draw_film(user: int, number: int) -> dict:
    """Draw a film for one user, whose number is in its name."""
    image = render(make_patient(100 + user, number), "L" if number % 2 else "R", 512).image
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(buffer, "PNG")
    return {
        "name": f"user{user}-film{number}.png",
        "mimeType": "image/png",
        "buffer": buffer.getvalue(),
    }


def measure_memory(server: int) -> float:
    """Measure the memory of the server and all processes below it, in megabytes."""
    total = 0
    for process in [psutil.Process(server), *psutil.Process(server).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue  # it ended after it was listed
    return total / 1e6


async def use_panel(page: Page, user: int, until: float, found: list[dict]) -> None:
    """Act as one person, who reads film after film until the time is over."""
    begun = time.monotonic()
    await page.goto(f"http://127.0.0.1:{PORT}/?token={TOKEN}", timeout=SECONDS)
    await page.get_by_text("Ready. Choose a film.").wait_for(timeout=SECONDS)
    found.append({"what": "page ready", "seconds": time.monotonic() - begun})
    number = 0
    while time.monotonic() < until:
        number += 1
        film = draw_film(user, number)
        begun = time.monotonic()
        await page.get_by_label("Choose films, or drop them here").set_input_files([film])
        await page.locator(".ra-caption", has_text=film["name"]).first.wait_for(timeout=SECONDS)
        await (
            page.get_by_text("Probability of RA:")
            .first.or_(page.get_by_text("No answer").first)
            .first.wait_for(timeout=SECONDS)
        )
        found.append({"what": "probability", "seconds": time.monotonic() - begun})
        await page.get_by_text("Done.").wait_for(timeout=SECONDS)
        found.append({"what": "explanations", "seconds": time.monotonic() - begun})
        text = await page.locator("body").inner_text()
        others = [other for other in range(100) if other != user and f"user{other}-" in text]
        faults = await page.get_by_text("Something went wrong").count()
        found.append({"what": "check", "seconds": 0.0, "others": others, "faults": faults})


async def load(server: int, minutes: float, browsers: int) -> None:
    """Run all browsers and print what was found."""
    found: list[dict] = []
    memory: list[float] = []
    async with async_playwright() as play:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = await play.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        pages = [
            await (await chromium.new_context(viewport={"width": 1280, "height": 1400})).new_page()
            for _ in range(browsers)
        ]
        until = time.monotonic() + 60 * minutes
        people = [
            asyncio.create_task(use_panel(page, user, until, found))
            for user, page in enumerate(pages)
        ]
        while not all(person.done() for person in people):
            memory.append(await asyncio.to_thread(measure_memory, server))
            await asyncio.sleep(5)
        for person in people:
            person.result()
        await chromium.close()
    for what in ("page ready", "probability", "explanations"):
        seconds = np.array([f["seconds"] for f in found if f["what"] == what])
        print(
            f"{what}: {len(seconds)} times, median {np.median(seconds):.2f} s, 95th percentile"
            f" {np.percentile(seconds, 95):.2f} s, worst {seconds.max():.2f} s"
        )
    checks = [f for f in found if f["what"] == "check"]
    print(
        f"pages that showed another's film: {sum(bool(c['others']) for c in checks)} of"
        f" {len(checks)}; with a fault: {sum(bool(c['faults']) for c in checks)}"
    )
    thirds = np.array_split(memory, 3)
    print(
        "memory, MB: first, middle and last third "
        + ", ".join(f"{part.mean():.0f}" for part in thirds)
        + f"; peak {max(memory):.0f}"
    )


@click.command(help=__doc__)
@click.argument("run", default="smoke")
@click.argument("minutes", default=5.0)
@click.argument("browsers", default=8)
def main(run: str, minutes: float, browsers: int) -> None:
    with this_python_kernel(), TemporaryDirectory() as folder:
        book = write_panel_notebook(open_run(project_root() / "runs" / run), Path(folder))
        process = subprocess.Popen(
            voila_command(book, PORT),
            env=os.environ | {"JUPYTER_TOKEN": TOKEN},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not wait_until_up(f"http://127.0.0.1:{PORT}/", 60):
                sys.exit("the panel did not start")
            asyncio.run(load(process.pid, minutes, browsers))
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main()

"""How long the panel takes from a film to its probability and explanations.

    .venv/bin/python -m tests.benchmarks.panel_times [RUN] [FILM ...]

And how long the page has to wait for the kernel: this script's main thread takes the place of the
page's thread. It calls what a click calls, and then beats every 2 ms; a late beat is a page that
waits. Without FILM, films of the test split and drawn ones are read. The figures are in
docs/panel.md.
"""

import io
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

from rahelpers.core.config import project_root
from rahelpers.core.store import open_run
from rahelpers.network.familiarity import extract_features
from rahelpers.panel import Panel
from rahelpers.phantom import make_patient, render

BEAT = 0.002


def wait_for(until, limit: float = 300.0) -> tuple[float, float]:
    """Wait until something is true: seconds, and the longest time that the page stood still."""
    begun = last = time.perf_counter()
    stood = 0.0
    while not until():
        time.sleep(BEAT)
        now = time.perf_counter()
        stood, last = max(stood, now - last - BEAT), now
        if now - begun > limit:
            raise TimeoutError(f"nothing happened within {limit:.0f} s")
    return time.perf_counter() - begun, stood


def read(panel: Panel, act) -> dict[str, float]:
    """Choose a film as a click does, and time it."""
    part = panel.diagnosis
    begun = time.perf_counter()
    act(part)
    clicked = time.perf_counter() - begun
    first, stood = wait_for(
        lambda: (
            bool(part.state.hands)
            and all(h.answered or h.picture.refusal for h in part.state.hands)
        )
    )
    rest, still = wait_for(lambda: part.state.progress is None)
    return {
        "click": clicked,
        "probability": clicked + first,
        "explanations": clicked + first + rest,
        "page stood still": max(clicked, stood, still),
    }


def drawn(side: int) -> bytes:
    """Draw a film as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(
        np.rint(render(make_patient(9, 1), "L", side).image * 255).astype(np.uint8)
    ).save(buffer, "PNG")
    return buffer.getvalue()


@click.command(help=__doc__)
@click.argument("run", default="smoke")
@click.argument("films", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(run: str, films: tuple[Path, ...]) -> None:
    panel = Panel(open_run(project_root() / "runs" / run))
    seconds, _ = wait_for(lambda: panel.session.is_loaded and panel.session.worker.wait(0))
    print(f"ready: {seconds:.2f} s")

    # one forward pass, for comparison
    bundle, size = panel.session.loaded.bundle, panel.session.info["image_size"]
    passes = []
    for _ in range(20):
        begun = time.perf_counter()
        film = np.random.default_rng(0).integers(0, 255, (1, size, size), np.uint8)
        extract_features(bundle.model, film)
        passes.append(time.perf_counter() - begun)
    forward = float(np.median(passes))
    architecture = panel.session.info["architecture"]
    print(f"{architecture} at {size} px: one forward pass {1000 * forward:.1f} ms")

    # samples, then files
    acts = {f"sample {i + 1}": lambda part, i=i: part._on_sample({"new": i}) for i in range(3)}
    files = {film.name: film.read_bytes() for film in films} or {
        f"drawn, {side} px": drawn(side) for side in (256, 512, 1024, 2048)
    }
    acts |= {
        name: lambda part, name=name, content=content: part._on_files([(name, content)])
        for name, content in files.items()
    }
    for what, act in acts.items():
        took = read(panel, act)
        words = ", ".join(f"{k} {1000 * v:.0f} ms" for k, v in took.items())
        print(f"{what}: {words}; probability after {took['probability'] / forward:.1f} passes")
    if panel.message.value:
        print(panel.message.value)


if __name__ == "__main__":
    main()

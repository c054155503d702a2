"""How long the panel takes: from a chosen film to its probability and its explanations, and how
long the page ever waits for the kernel.

    .venv/bin/python tests/benchmarks/panel_times.py [RUN] [FILM ...]

Not a test. The page's thread is this script's main thread: it calls what a click calls, and then
beats every 2 ms; a late beat is a page that waits. Without FILM, films of the test split and drawn
ones are read. docs/panel.md has the figures.
"""

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from rahelpers.core.config import project_root
from rahelpers.core.store import open_run
from rahelpers.network.familiarity import extract_features
from rahelpers.panel import Panel
from rahelpers.phantom import make_patient, render

BEAT = 0.002


def wait_for(until, limit: float = 300.0) -> tuple[float, float]:
    """Seconds until something is true, and the longest time that the page's thread stood still
    meanwhile.
    """
    begun = last = time.perf_counter()
    stood = 0.0
    while not until():
        time.sleep(BEAT)
        now = time.perf_counter()
        stood, last = max(stood, now - last - BEAT), now
        if now - begun > limit:
            raise TimeoutError(f"nothing came within {limit:.0f} s")
    return time.perf_counter() - begun, stood


def read(panel: Panel, act) -> dict[str, float]:
    """Choose a film as a click does; what it took."""
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
    """A film as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(
        np.rint(render(make_patient(9, 1), "L", side).image * 255).astype(np.uint8)
    ).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    name, *films = sys.argv[1:] or ["smoke"]
    panel = Panel(open_run(project_root() / "runs" / name))
    print(
        "ready:"
        f" {wait_for(lambda: panel.session.is_loaded and panel.session.worker.wait(0))[0]:.2f} s"
    )
    bundle, size = panel.session.loaded.bundle, panel.session.info["image_size"]
    passes = []
    for _ in range(20):
        begun = time.perf_counter()
        extract_features(
            bundle.model, np.random.default_rng(0).integers(0, 255, (1, size, size), np.uint8)
        )
        passes.append(time.perf_counter() - begun)
    forward = float(np.median(passes))
    print(
        f"{panel.session.info['architecture']} at {size} px: one forward pass"
        f" {1000 * forward:.1f} ms"
    )
    acts = {f"sample {i + 1}": lambda part, i=i: part._on_sample({"new": i}) for i in range(3)}
    files = {f: Path(f).read_bytes() for f in films} or {
        f"drawn, {s} px": drawn(s) for s in (256, 512, 1024, 2048)
    }
    acts |= {
        Path(f).name: lambda part, f=f, c=c: part._on_files([(Path(f).name, c)])
        for f, c in files.items()
    }
    for what, act in acts.items():
        took = read(panel, act)
        words = ", ".join(f"{k} {1000 * v:.0f} ms" for k, v in took.items())
        print(f"{what}: {words}; probability after {took['probability'] / forward:.1f} passes")
    if panel.message.value:
        print(panel.message.value)

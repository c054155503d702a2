"""How the time of a training step is spent, and the speed that each convolution reaches.

    TF_NUM_INTEROP_THREADS=1 .venv/bin/python -m tests.benchmarks.step_profile vgg16 128 16 bfloat16

It reads TensorFlow's profiler, without TensorBoard. With one thread between operations, each of
them has both cores to itself, so that its own speed is seen.
"""

import re
import tempfile
from collections import Counter
from pathlib import Path

import click

from rahelpers.network.backend import keras, tf
from rahelpers.network.precision import computing_in
from rahelpers.network.vgg import build_network
from tests.benchmarks.speed.networks import count_flops, training_work

STEPS = 5
KINDS = {
    "Conv2DBackpropFilter": "gradient of the weights",
    "Conv2DBackpropInput": "gradient of the input",
    "Conv2D": "forward",
}


def profile_steps(work, steps: int) -> Counter:
    """Measure each operation of TensorFlow's executor, in milliseconds per step."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for _ in range(2):
        work()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(steps):
            work()
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    spent = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if re.fullmatch(r"[^ :]+:_?[A-Z]\w+", name):  # an operation: path/of/it:Kind
                    spent[name] += event.duration_ps / 1e9 / steps
    return spent


@click.command(help=__doc__)
@click.argument("architecture", type=click.Choice(["vgg_small", "vgg16", "vgg19"]))
@click.argument("pixels", type=int)
@click.argument("films", type=int)
@click.argument("precision", type=click.Choice(["float32", "bfloat16", "float16"]))
def main(architecture: str, pixels: int, films: int, precision: str) -> None:
    with computing_in(precision):
        model = build_network(architecture, pixels, one_pass=True)
    spent = profile_steps(training_work(model, films), STEPS)
    flops = {
        layer.name: count_flops(keras.Model(layer.input, layer(layer.input))) * films
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    total = sum(spent.values())
    print(f"{total:.0f} ms of operations per step of {films} films\n")

    # one row per convolution: its operations, and their speed
    columns = ("forward", "gradient of the input", "gradient of the weights")
    print("| layer | " + " | ".join(f"{what}, ms (GFLOP/s)" for what in columns) + " |")
    print("|---|---|---|---|")
    for name, operations in flops.items():
        cells = dict.fromkeys(columns, 0.0)
        for operation, milliseconds in list(spent.items()):
            kind = operation.rsplit(":", 1)[1]
            what = next((what for key, what in KINDS.items() if key in kind), None)
            if what and f"/{name}" in operation:
                cells[what] += milliseconds
                del spent[operation]
        shown = [f"{ms:.0f} ({operations / ms / 1e6:.0f})" if ms else "" for ms in cells.values()]
        print(f"| {name} | " + " | ".join(shown) + " |")

    # the rest, by kind of operation
    rest = Counter()
    for operation, milliseconds in spent.items():
        rest[operation.rsplit(":", 1)[1]] += milliseconds
    longest = ", ".join(f"{kind} {ms:.0f} ms" for kind, ms in rest.most_common(8))
    print(f"\nall others: {longest}; together {sum(rest.values()):.0f} ms")


if __name__ == "__main__":
    main()

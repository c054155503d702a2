"""Where a training step's time goes, operation by operation, beside the speed that each convolution
reaches. TensorFlow's profiler, read without TensorBoard.

TF_NUM_INTEROP_THREADS=1 .venv/bin/python tests/benchmarks/step_profile.py vgg16 128 16 bfloat16

With one thread between operations each has both cores to itself, so that its own speed is seen.
"""

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

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
    """Milliseconds a step of each operation that TensorFlow's executor ran."""
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


if __name__ == "__main__":
    architecture, pixels, films, dtype = (
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
    )
    with computing_in(dtype):
        model = build_network(architecture, pixels, one_pass=True)
    spent = profile_steps(training_work(model, films), STEPS)
    flops = {
        layer.name: count_flops(keras.Model(layer.input, layer(layer.input))) * films
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    total = sum(spent.values())
    print(f"{total:.0f} ms of operations a step of {films} films\n")
    print(
        "| layer | "
        + " | ".join(
            f"{what}, ms (GFLOP/s)"
            for what in ("forward", "gradient of the input", "gradient of the weights")
        )
        + " |\n|---|---|---|---|"
    )
    for name, operations in flops.items():
        cells = {what: 0.0 for what in KINDS.values()}
        for operation, milliseconds in list(spent.items()):
            kind = next(
                (what for key, what in KINDS.items() if key in operation.rsplit(":", 1)[1]), None
            )
            if kind and f"/{name}" in operation:
                cells[kind] += milliseconds
                del spent[operation]
        shown = [
            f"{cells[w]:.0f} ({operations / cells[w] / 1e6:.0f})" if cells[w] else ""
            for w in ("forward", "gradient of the input", "gradient of the weights")
        ]
        print(f"| {name} | " + " | ".join(shown) + " |")
    rest = Counter()
    for operation, milliseconds in spent.items():
        rest[operation.rsplit(":", 1)[1]] += milliseconds
    print(
        "\nall else: "
        + ", ".join(f"{kind} {ms:.0f} ms" for kind, ms in rest.most_common(8))
        + f"; together {sum(rest.values()):.0f} ms"
    )

"""The speed benchmark: operations are counted as by hand, works are timed in turn, and the table
says what was measured. No test says how fast anything must be.
"""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from rahelpers.network.backend import keras
from rahelpers.network.vgg import build_network
from tests.benchmarks.speed.__main__ import main
from tests.benchmarks.speed.suite import (
    COLUMNS,
    SECTIONS,
    as_note,
    as_row,
    as_table,
    run_bench,
    show_number,
    time_in_turn,
    write_table,
)
from tests.benchmarks.speed.suite import SIZES as BENCH_SIZES


@pytest.fixture(scope="module")
def smoke_bench(tmp_path_factory):
    """The command with its smallest sizes: what it printed, and its table."""
    file = tmp_path_factory.mktemp("bench") / "table.csv"
    result = CliRunner().invoke(
        main, ["--profile", "smoke", "--out", str(file)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output, pd.read_csv(file, keep_default_na=False)


def test_operations_are_counted_as_by_hand():
    from tests.benchmarks.speed.networks import count_flops, count_training_flops

    film = keras.Input((8, 8, 1))
    # 64 places x 9 x 1 x 4, two operations each: 4,608
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(film)
    x = keras.layers.MaxPooling2D()(x)
    # 16 x 9 x 4 x 8 x 2: 9,216
    x = keras.layers.Conv2D(8, 3, padding="same", name="second")(x)
    # 8 x 2: 16
    model = keras.Model(film, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    assert count_flops(model) == 4608 + 9216 + 16
    assert count_training_flops(model) == 2 * 4608 + 3 * (9216 + 16), (
        "there is no gradient of the film itself"
    )
    model.get_layer("first").trainable = False
    assert count_training_flops(model) == 4608 + 2 * 9216 + 3 * 16, (
        "frozen: only forward, and no later layer needs its gradient"
    )


def test_vgg16_has_the_operations_of_the_layers_in_its_paper():
    from tests.benchmarks.speed.networks import count_flops

    blocks = (
        *((224, 3, 64), (224, 64, 64)),
        *((112, 64, 128), (112, 128, 128)),
        *((56, 128, 256), (56, 256, 256), (56, 256, 256)),
        *((28, 256, 512), (28, 512, 512), (28, 512, 512)),
        *((14, 512, 512), (14, 512, 512), (14, 512, 512)),
    )
    expected = sum(2 * side**2 * 9 * before * after for side, before, after in blocks) + 2 * 2048
    assert count_flops(build_network("vgg16", 224)) == expected == pytest.approx(30.69e9, rel=1e-3)


def test_works_are_timed_in_turn():
    order = []
    seconds = time_in_turn({name: lambda name=name: order.append(name) for name in "AB"}, 3)
    assert order == list("AB") * 4, "once untimed, then three rounds"
    assert set(seconds) == {"A", "B"} and all(s >= 0 for s in seconds.values())


def test_a_target_is_met_or_missed_and_says_so():
    table = as_table(
        [
            as_row("fast", 2.0, "times", 1.5),
            as_row("slow", 2.0, "passes", 1.15, at_most=True),
            as_row("free", 2.0, "s"),
            as_note("gone", "not here"),
        ]
    )
    assert table["met"].tolist() == ["yes", "no", "", ""]
    assert table["target"].tolist() == ["at least 1.5", "at most 1.15", "", ""]
    shown = [show_number(v) for v in (0.01234, 12.34, 1234.5, float("nan"))]
    assert shown == ["0.0123", "12.3", "1234", ""]


def test_the_table_can_be_written_for_a_page(tmp_path):
    write_table(
        as_table([as_row("fast", 2.0, "times", 1.5)]).assign(section="x")[["section", *COLUMNS]],
        tmp_path / "t.md",
    )
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert lines == [
        "| section | measured | value | unit | target | met |",
        "| --- | --- | --- | --- | --- | --- |",
        "| x | fast | 2 | times | at least 1.5 | yes |",
    ]


@pytest.mark.slow
def test_one_command_measures_every_section(smoke_bench):
    output, table = smoke_bench
    assert table.columns.tolist() == ["section", *COLUMNS]
    assert table["section"].drop_duplicates().tolist() == list(SECTIONS)
    assert all(f"\n{name}\n" in output for name in SECTIONS)
    measured = table[table["value"] != ""]
    assert (measured.loc[measured["unit"] != "AUC", "value"].astype(float) > 0).all()
    assert not table.duplicated(["section", "measured"]).any()
    assert (table["met"].isin(["yes", "no"]) == (table["target"] != "")).all()
    notes = set(table.loc[table["value"] == "", "unit"])
    assert notes <= {"torch is not installed", "not installed"}, "a line without a number says why"


@pytest.mark.slow
@pytest.mark.parametrize(
    "promised",
    [
        "vgg16 forward fp32",
        "vgg16 forward bf16",
        "vgg16 training",
        "to the end, faster than plain fit",
        "per epoch, faster than plain fit",
        "in forward passes",
        "faster than tf-explain",
    ],
)
def test_what_was_promised_is_measured(smoke_bench, promised):
    assert smoke_bench[1]["measured"].str.contains(promised, regex=False).any()


def test_a_section_that_does_not_exist_is_refused():
    result = CliRunner().invoke(main, ["--only", "forwards"])
    assert result.exit_code == 2 and "did you mean 'forward'?" in result.output


def test_only_what_is_asked_for_is_measured():
    said = []
    table = run_bench(BENCH_SIZES["smoke"], ["peak"], said.append)
    assert set(table["section"]) == {"peak"} and len(table) == 2 and said[0] == "\npeak"


def test_both_trainings_see_the_same_films_and_no_patient_twice():
    from tests.benchmarks.speed.fits import find_films

    films = find_films(None, 16, 32)
    assert films.images.shape == (32, 32, 32) and films.images.dtype == np.uint8
    assert not set(films.patients[films.train]) & set(films.patients[films.validation])
    assert set(films.labels[films.train]) == set(films.labels[films.validation]) == {0, 1}
    assert sorted([*films.train, *films.validation]) == list(range(32))


@pytest.mark.parametrize("architecture", ["vgg_small", "vgg16"])
def test_pytorch_has_the_same_layers(architecture):
    """If torch is installed: the compared networks have the same weights and the same logits."""
    pytest.importorskip("torch")
    from tests.benchmarks.speed import torch_peer
    from tests.benchmarks.speed.networks import draw_batch

    model, (films, labels) = build_network(architecture, 64, seed=2), draw_batch(64, 3)
    found = torch_peer.forward_work(model, films, labels, "fp32")()
    np.testing.assert_allclose(found, model.predict_on_batch(films), rtol=1e-4, atol=1e-4)

"""Config refuses what it does not know; artefacts are keyed, checked, and rebuilt when damaged."""

import json

import pytest

from rahelpers.core.config import (
    CONFIG_KEYS,
    RunConfig,
    config_from_notebook,
    make_config,
    save_config,
)


def test_unknown_key_names_the_near_match():
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        make_config(epoch=3)


@pytest.mark.parametrize(
    "values",
    [
        {"profile": "quik"},
        {"source": "phantm"},
        {"epochs": "many"},
        {"epochs": 0},
        {"seed": -1},
        {"augment": "perhaps"},
        {"image_size": 31},
        {"learning_rate": float("nan")},
        {"epochs": 2.5},
        {"source": "folder"},
    ],
)
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError):
        make_config(**values)


def test_text_becomes_the_declared_type_and_survives_a_round_trip():
    config = make_config(epochs="3", learning_rate="1e-4", augment="false")
    assert (config.epochs, config.learning_rate, config.augment) == (3, 1e-4, False)
    assert make_config(**json.loads(save_config(config))) == config


def test_notebook_literals():
    config = config_from_notebook(
        {
            "PROFILE": "smoke",
            "SOURCE": "phantom",
            "SEED": 9,
            "RUN_DIR": "runs/x",
            "EPOCHS": 2,
            "run": 1,
            "In": [],
        }
    )
    assert (config.seed, config.epochs) == (9, 2)
    with pytest.raises(ValueError, match="unknown parameter 'epocs'"):
        config_from_notebook({"PROFILE": "smoke", "EPOCS": 2})


def test_pretrained_weights_choose_a_network_that_takes_them_and_fewer_passes():
    plain, pretrained = (
        make_config(profile="quick"),
        make_config(profile="quick", weights="imagenet"),
    )
    assert (plain.architecture, pretrained.architecture) == (
        "vgg_small",
        "vgg16",
    ) and pretrained.epochs < plain.epochs
    assert make_config(profile="quick", weights="imagenet", epochs=99).epochs == 99


def test_every_value_is_documented():
    import dataclasses

    assert all(f.metadata["doc"] for f in dataclasses.fields(RunConfig)) and len(CONFIG_KEYS) > 30

"""Config refuses what it does not know; artefacts are keyed, checked, and rebuilt when damaged."""

import json
import pickle

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
        {"epochs": True},
        {"cost_ratio": True},
        {"learning_rate": "inf"},
        {"folds": float("inf")},
        {"test_fraction": 0.5, "validation_fraction": 0.5},
        {"source": "folder"},
        {"run_dir": ""},
        {"run_dir": " "},
        {"weights": "imagenet", "architecture": "vgg_small"},
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
    fields = RunConfig.model_fields
    assert all(field.description for field in fields.values())
    assert tuple(fields) == CONFIG_KEYS and len(fields) > 30


@pytest.mark.parametrize("key", CONFIG_KEYS)
def test_numbers_have_two_limits_and_a_default_between_them(key):
    field = RunConfig.model_fields[key]
    if field.annotation in (int, float):
        low = next(rule.ge for rule in field.metadata if hasattr(rule, "ge"))
        high = next(rule.le for rule in field.metadata if hasattr(rule, "le"))
        assert low <= field.default <= high
        outside = high + 1
        with pytest.raises(ValueError, match=f"{key}={outside} is out of range: expected {low} to"):
            RunConfig(**{key: outside})


def test_each_fault_is_one_sentence_with_key_value_and_what_is_expected():
    with pytest.raises(ValueError) as caught:
        RunConfig(source="phantm", epochs="0", seeds=True, augment="perhaps", folds="x", epoch=3)
    assert str(caught.value).splitlines() == [
        "source='phantm' is not known; did you mean 'phantom'?",
        "epochs=0 is out of range: expected 1 to 10000",
        "augment='perhaps' is not valid: expected true or false",
        "folds='x' is not valid: expected a whole number",
        "seeds=True is not valid: expected a whole number",
        "unknown parameter 'epoch'; did you mean 'epochs'?",
    ]
    assert type(caught.value) is ValueError and caught.value.__cause__ is None


def test_the_default_task_of_a_public_dataset_is_filled_in():
    config = make_config(source="ram-w600")
    assert (config.label_column, config.positive) == ("erosive", "1")
    config = make_config(source="ram-w600", positive=0)
    assert (config.label_column, config.positive) == ("erosive", "0")
    with pytest.raises(ValueError, match="label_column='sex' needs positive"):
        make_config(source="ram-w600", label_column="sex")


def test_a_config_is_changed_only_by_a_checked_copy():
    config = make_config(seed=3)
    with pytest.raises(AttributeError, match=r"config.replace\(seed="):
        config.seed = 4
    assert config.replace(seed="4") == make_config(seed=4) and config.seed == 3
    assert len({config, make_config(seed=3), config.replace(seed=4)}) == 2
    with pytest.raises(ValueError, match="seed=-1 is out of range"):
        config.replace(seed=-1)
    assert pickle.loads(pickle.dumps(config)) == config

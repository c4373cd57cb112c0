"""Configs: plugins, types and overrides are checked before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.engine.build import build_runner
from perception.engine.config import load_config, parse_overrides
from perception.errors import ConfigError, PluginError

BASE = 'data_root = "data/base"\nnumber = 10\ndataset = dict(root=data_root, numbers=[number, 2])\n'
CHILD = '_base_ = ["./bases/base.py"]\nnumber = 20\ntrain = dict(number=number, nested=dict(value=1))\n'
TOY = Path(__file__).with_name("toy_config.py")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases/base.py").write_text(BASE)
    (tmp_path / "child.py").write_text(CHILD)
    return tmp_path / "child.py"


def test_a_config_inherits_and_gets_our_scope(config: Path):
    cfg = load_config(config)
    assert (cfg.number, cfg.dataset.root, cfg.default_scope) == (20, "data/base", "perception")
    assert cfg.filename == str(config)


@pytest.mark.parametrize("overrides", [["data_root=elsewhere", "number=7"], {"data_root": "elsewhere", "number": 7}])
def test_a_variable_is_changed_wherever_it_is_used(config: Path, overrides: list[str] | dict[str, object]):
    cfg = load_config(config, overrides)
    assert cfg.dataset.root == "elsewhere"
    assert cfg.dataset.numbers == [7, 2]
    assert cfg.train.number == cfg.number == 7
    assert cfg.filename == str(config)


def test_a_variable_is_changed_in_bases_given_by_absolute_paths_too(config: Path, tmp_path: Path):
    far = tmp_path / "far/away.py"
    far.parent.mkdir()
    far.write_text(f"_base_ = {str(config)!r}\nnumber = 30\n")
    cfg = load_config(far, ["data_root=elsewhere"])
    assert (cfg.dataset.root, cfg.number, cfg.train.number) == ("elsewhere", 30, 20)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.nested.value=2", 2), ("train.nested.value=1e-3", 1e-3), ("train.nested.value=[1, 'b']", [1, "b"]),
        ("train.nested.value=true", True), ("train.nested.value=None", None), ("train.nested.value=a=b", "a=b"),
        ("train.nested.value=work_dirs/try 1", "work_dirs/try 1"),
    ],
)
def test_override_texts_are_read_as_literals_or_texts(config: Path, text: str, value: object):
    assert load_config(config, [text]).train.nested.value == value


def test_list_elements_are_overridden_by_position(config: Path):
    assert load_config(config, {"dataset.numbers.1": 5}).dataset.numbers == [10, 5]


def test_the_last_part_of_a_key_may_be_new(config: Path):
    assert load_config(config, ["train.fresh=1", "device=cpu"]).train.fresh == 1


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trian.number=1", r'override "trian": the config has no such key \(did you mean "train"\?\)'),
        ("train.nestd.value=1", r'override "train.nestd": the config has no such key \(did you mean "nested"\?\)'),
        ("devise=cpu", r'override "devise": the config has no such key \(did you mean "device"\?\)'),
        ("dataset.numbers.4=1", r'override "dataset.numbers.4": a list of 2 has no element 4'),
        ("train.number.digits=1", r'override "train.number.digits": train.number is 20, which has no parts'),
        ("train.number", 'an override reads key=value, got "train.number"'),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(config: Path, override: str, reason: str):
    with pytest.raises(ConfigError, match=reason):
        load_config(config, [override])


def test_no_overrides_parse_to_nothing():
    assert parse_overrides(None) == parse_overrides([]) == {}


def test_an_absent_config_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gone\.py: no such config file"):
        load_config(tmp_path / "gone.py")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = dict(", "SyntaxError"),
        ('_base_ = ["absent.py"]', r"absent\.py"),
        ("a = 1 / 0", "ZeroDivisionError: division by zero"),
        ('plugins = "flatformer"', "plugins: expected a list of names, got 'flatformer'"),
        ('model = dict(type="Detektor")', r'config\.model\.type: .*"Detektor"'),
        ('model = [dict(head=dict(type="CenterHed"))]', r'config\.model\[0\]\.head\.type: .*"CenterHed"'),
    ],
)
def test_a_broken_config_names_the_file_and_the_place(tmp_path: Path, text: str, reason: str):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"broken\.py: (.|\n)*{reason}"):
        load_config(tmp_path / "broken.py")


def test_an_unknown_plugin_is_told_with_the_nearest_name(tmp_path: Path):
    (tmp_path / "config.py").write_text('plugins = ["flatformr"]')
    with pytest.raises(PluginError, match=r'config\.py: no plugin named "flatformr".*did you mean "flatformer"'):
        load_config(tmp_path / "config.py")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["val_evaluator=None"], "evaluation needs val_dataloader, val_cfg, val_evaluator; missing: val_evaluator"),
        (["optim_wrapper=None"], "training needs .*missing: optim_wrapper"),
        (["model.widht=3"], "config: ToyModel.*unexpected keyword argument 'widht'"),
        (["device=cuda:banana"], 'device: expected "auto", "cpu", "cuda" or "cuda:N", got "cuda:banana"'),
    ],
)
def test_a_config_that_does_not_make_a_run_is_refused(tmp_path: Path, options: list[str], reason: str):
    with pytest.raises(ConfigError, match=reason):
        build_runner(load_config(TOY, options), tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["train_cfg.max_epochs=2"], "give either max_iters or max_epochs, got 12 and 2"),
        (["train_cfg.max_iters=0"], "expected a whole number of iterations or epochs > 0, got 0"),
        (["train_cfg.max_iters=1.5"], "expected a whole number of iterations or epochs > 0, got 1.5"),
        (["train_dataloader.sampler.type=DefaultSampler"], "expected an EpochSampler, got DefaultSampler"),
        (["val_dataloader.dataset.length=0"], "val_dataloader: the dataset is empty"),
        (["param_scheduler.1.begin=40"], "param_scheduler: end should be larger than begin"),
        (["default_hooks.checkpoint.save_best=AP"], 'save_best: .* got "AP"; there are toy/accuracy, toy/frames'),
        (["sync_bn=sometimes"], "sync_bn: expected"),
    ],
)
def test_a_setting_that_cannot_be_trained_with_is_refused(tmp_path: Path, options: list[str], reason: str):
    with pytest.raises(ConfigError, match=reason):
        build_runner(load_config(TOY, options), tmp_path).train()


def test_epochs_are_counted_in_iterations(tmp_path: Path):
    runner = build_runner(load_config(TOY, ["train_cfg={'type': 'IterationLoop', 'max_epochs': 2}"]), tmp_path)
    assert runner.max_iters == 11                  # twice 22 frames in batches of 4

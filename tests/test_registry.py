"""Plugins are found without being imported, built from configs, and never break each other."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from mmengine.registry import DefaultScope

from perception import registry
from perception.errors import ConfigError, PluginError
from perception.registry import (
    ALL_REGISTRIES,
    HOOKS,
    MODELS,
    TRANSFORMS,
    Registry,
    check_types,
    list_registered,
    load_plugin,
    load_plugins,
    plugin_modules,
)

Install = Callable[..., Path]

GOOD = """
from torch import nn
from perception.registry import MODELS, PluginInfo
{before}
@MODELS.register_module(role="channel_mixer")
class {cls}(nn.Linear):
    pass
{after}
PLUGIN = PluginInfo(name="{name}", title="A Title", year=2024, roles=("channel_mixer",))
"""


def good(name: str, cls: str, before: str = "", after: str = "") -> str:
    return GOOD.format(name=name, cls=cls, before=before, after=after)


def write_package(site: Path, files: dict[str, str], entries: dict[str, str]) -> None:
    """A package folder and the metadata that pip would have left beside it."""
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(dedent(text))
    info = site / f"{next(iter(files)).partition('/')[0]}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {info.name.partition('-')[0]}\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[perception.plugins]", *lines, ""]))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package for the length of a test; registries and modules are then as they were."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_failures", {})
    TRANSFORMS.import_from_location()
    MODELS.import_from_location()
    before = [(known, dict(known.module_dict), dict(known.roles)) for known in ALL_REGISTRIES]
    modules = set(sys.modules)

    def write(files: dict[str, str], entries: dict[str, str]) -> Path:
        write_package(tmp_path, files, entries)
        return tmp_path

    yield write
    for known, module_dict, roles in before:
        known._module_dict, known.roles = module_dict, roles
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_plugin_package_is_found_without_being_imported(install: Install):
    install({"acme_one/__init__.py": good("acme_one", "AcmeOne")}, {"acme_one": "acme_one"})
    assert plugin_modules()["acme_one"] == "acme_one"
    assert "acme_one" not in sys.modules


def test_a_collection_is_listed_without_importing_any_member(install: Install):
    install(
        {
            "acme_many/__init__.py": '"""A collection."""',
            "acme_many/first/__init__.py": "raise RuntimeError",
            "acme_many/second/__init__.py": good("second", "AcmeSecond"),
            "acme_many/_shared/__init__.py": "",
            "acme_many/module.py": "",
        },
        {"acme": "acme_many"},
    )
    found = {name: module for name, module in plugin_modules().items() if module.startswith("acme_many")}
    assert found == {"first": "acme_many.first", "second": "acme_many.second"}
    assert not [name for name in sys.modules if name.startswith("acme_many")]


@pytest.mark.parametrize(
    "text", ["PLUGIN = 1", "PLUGIN: int = 1", "from .info import PLUGIN", "if True:\n    PLUGIN = 1", "def broken(:"]
)
def test_a_package_with_a_plugin_is_no_collection(install: Install, text: str):
    install({"acme_solo/__init__.py": text, "acme_solo/part/__init__.py": ""}, {"solo": "acme_solo"})
    assert plugin_modules()["solo"] == "acme_solo"
    assert "part" not in plugin_modules()


@pytest.mark.parametrize("value", ["acme_gone", "acme_gone.part:PLUGIN", "not a module!", "acme_bad_parent.part"])
def test_a_broken_entry_is_listed_and_told_when_asked_for(install: Install, value: str):
    install(
        {"acme_bad_parent/__init__.py": "raise OSError('no licence')", "acme_bad_parent/part/__init__.py": ""},
        {"acme_bad": value},
    )
    assert {"acme_bad", "flatformer"} <= set(plugin_modules())
    with pytest.raises(PluginError, match=r'plugin "acme_bad" .* cannot be imported'):
        load_plugin("acme_bad")


def test_loading_a_plugin_registers_its_classes_with_their_roles(install: Install):
    install({"acme_one/__init__.py": good("acme_one", "AcmeOne")}, {"acme_one": "acme_one"})
    (info,) = load_plugins(["acme_one"])
    assert (info.name, info.year) == ("acme_one", 2024)
    assert "AcmeOne" in list_registered(MODELS, role="channel_mixer")
    assert "AcmeOne" not in list_registered(MODELS, role="token_mixer")
    assert MODELS.build({"type": "AcmeOne", "in_features": 2, "out_features": 3}).weight.shape == (3, 2)


def test_a_plugin_that_fails_is_told_by_name_and_leaves_nothing_behind(install: Install):
    files = {"acme_bad/__init__.py": good("acme_bad", "AcmeHalf", after="import acme_missing")}
    install(files, {"acme_bad": "acme_bad"})
    message = r'plugin "acme_bad" \(acme_bad\) cannot be imported: ModuleNotFoundError: No module named .acme_missing.'
    for _ in range(2):                             # the second time tells the same, not that AcmeHalf is registered
        with pytest.raises(PluginError, match=message):
            load_plugin("acme_bad")
    assert "AcmeHalf" not in MODELS.module_dict
    assert "AcmeHalf" not in MODELS.roles


def test_a_broken_plugin_breaks_no_other(install: Install):
    install(
        {
            "acme_set/__init__.py": "",
            "acme_set/bad/__init__.py": "raise ValueError('out of order')",
            "acme_set/fine/__init__.py": good("fine", "AcmeFine"),
        },
        {"acme_set": "acme_set"},
    )
    with pytest.raises(ConfigError, match=r'model "AcmeFine" belongs to a plugin: add plugins = \["fine"\] to'):
        MODELS.build({"type": "AcmeFine"})
    with pytest.raises(ConfigError, match=r'unknown model "AcmeFein" .did you mean "AcmeFine".*not searched: bad'):
        MODELS.build({"type": "AcmeFein"})


@pytest.mark.parametrize("failure", ["import sys; sys.exit(3)", "raise KeyError('x')", "assert False"])
def test_whatever_a_plugin_raises_is_a_plugin_error(install: Install, failure: str):
    install({"acme_bad/__init__.py": f"PLUGIN = None\n{failure}"}, {"acme_bad": "acme_bad"})
    with pytest.raises(PluginError, match=r"cannot be imported: (SystemExit|KeyError|AssertionError)"):
        load_plugin("acme_bad")


@pytest.mark.parametrize("text", ["", "PLUGIN = {'name': 'acme_plain'}"])
def test_a_package_without_a_plugin_info_is_told(install: Install, text: str):
    install({"acme_plain/__init__.py": text}, {"acme_plain": "acme_plain.__init__"})
    with pytest.raises(PluginError, match="it has no PLUGIN of type PluginInfo"):
        load_plugin("acme_plain")


def test_a_name_that_two_packages_claim_is_refused_and_the_others_work(install: Install):
    install({"acme_a/__init__.py": good("twin", "AcmeTwinA")}, {"twin": "acme_a", "acme_a": "acme_a"})
    install({"acme_b/__init__.py": good("twin", "AcmeTwinB")}, {"twin": "acme_b"})
    with pytest.raises(PluginError, match=r'"twin" is claimed by acme_[ab] and by acme_[ab]: uninstall all but one'):
        load_plugin("twin")
    assert load_plugin("acme_a").title == "A Title"


def test_a_class_name_that_is_taken_is_told_with_its_owner(install: Install):
    install({"acme_a/__init__.py": good("acme_a", "AcmeSame")}, {"acme_a": "acme_a"})
    install({"acme_b/__init__.py": good("acme_b", "AcmeSame")}, {"acme_b": "acme_b"})
    load_plugin("acme_a")
    with pytest.raises(PluginError, match=r'"acme_b".*AcmeSame is already registered in model at acme_a'):
        load_plugin("acme_b")
    assert MODELS.get("AcmeSame").__module__ == "acme_a"


def test_an_unknown_plugin_suggests_the_nearest(install: Install):
    install({"acme_one/__init__.py": good("acme_one", "AcmeOne")}, {"acme_one": "acme_one"})
    with pytest.raises(PluginError, match=r'no plugin named "acme_oen" is installed \(did you mean "acme_one"\?\)'):
        load_plugin("acme_oen")


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"steps": [{"type": "PointShuffle"}, {"type": "PointShufle"}]}, r"config.steps\[1\].type: .*PointShuffle"),
        ({"hook": {"type": "no.such.module.Hook"}}, "config.hook.type: unknown type"),
        ({"a": ({"b": {"type": "Runnner"}},)}, r'config.a\[0\].b.type: unknown type "Runnner" \(did you mean "Runner"'),
    ],
)
def test_a_slip_in_a_config_is_told_by_its_place(cfg, message):
    with pytest.raises(ConfigError, match=message):
        check_types(cfg)


def test_types_of_mmengine_and_torch_pass():
    check_types(
        {
            "hooks": [{"type": "CheckpointHook"}],
            "collate_fn": {"type": "pseudo_collate"},
            "log_processor": {"type": "LogProcessor"},
            "backends": [{"type": "TensorboardVisBackend"}],
            "optimizer": {"type": "torch.optim.AdamW"},
            "init_cfg": {"type": "Constant"},
            "name": "type",
        }
    )


def test_every_name_of_a_list_gets_the_role_and_the_plain_call_too():
    registry = Registry("test of roles", scope="perception")
    registry.register_module(name=["first", "second"], role="neck")(type("Neck", (), {}))
    registry.register_module(module=type("Head", (), {}), role="head")
    assert registry.roles == {"first": "neck", "second": "neck", "Head": "head"}


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match=r"unknown role 'heads' \(did you mean \"head\"\?\); known: image_backbone"):
        MODELS.register_module(role="heads")


def test_a_name_is_not_taken_twice():
    registry = Registry("test of names", scope="perception")
    registry.register_module(module=dict)
    with pytest.raises(KeyError, match="dict is already registered"):
        registry.register_module(module=dict, role="neck")
    assert registry.roles == {}


def test_a_core_module_that_fails_to_import_fails_every_time(install: Install):
    install({"acme_core/__init__.py": "", "acme_core/broken.py": "import acme_missing"}, {})
    registry = Registry("test of locations", scope="perception", locations=["acme_core"])
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="acme_missing"):
            registry.get("Anything")


def test_classes_of_mmengine_build_through_our_registry():
    with DefaultScope.overwrite_default_scope("perception"):
        assert HOOKS.build({"type": "IterTimerHook"}).__class__.__module__.startswith("mmengine")
    with pytest.raises(ConfigError, match='unknown hook "IterTimerHok"'):
        HOOKS.build({"type": "IterTimerHok"})


BACKBONE = """
from torch import nn
from perception.models.pillar_scatter import PillarScatter
from perception.registry import MODELS, PluginInfo

@MODELS.register_module(role="lidar_backbone")
class AcmeBackbone(nn.Module):
    def __init__(self, channels, grid):
        super().__init__()
        self.linear, self.scatter = nn.Linear(channels, channels), PillarScatter(grid)

    def forward(self, features, coords, batch_size):
        return self.scatter(self.linear(features), coords, batch_size)

PLUGIN = PluginInfo(name="acme_lidar", title="Acme", year=2025, roles=("lidar_backbone",))
"""

TRAIN = """
import torch
from perception.engine.config import load_config
from perception.registry import MODELS, plugin_modules
from perception.structures import Annotations, Boxes3D, Frame, PointCloud

assert plugin_modules()["acme_lidar"] == "acme_lidar"
torch.manual_seed(0)
cfg = load_config("config.py")
model = MODELS.build(cfg.model)
points = PointCloud(torch.rand(200, 4) * torch.tensor([20.0, 20.0, 2.0, 1.0]), ("x", "y", "z", "intensity"))
boxes = Boxes3D(torch.tensor([[10.0, 10.0, 0.0, 4.0, 2.0, 1.5, 0.3, 0.0, 0.0]]))
frame = Frame("a", 0, points=points, annotations=Annotations(boxes, torch.tensor([0]), model.classes))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
before = model.lidar_backbone.linear.weight.detach().clone()
sum(model(**model.data_preprocessor([frame], True), mode="loss").values()).backward()
optimizer.step()
assert not torch.equal(before, model.lidar_backbone.linear.weight)
print("trained", type(model.lidar_backbone).__module__)
"""


def test_a_third_partys_backbone_trains_in_a_detector_by_two_lines_of_config(tmp_path: Path):
    write_package(tmp_path, {"acme_lidar/__init__.py": BACKBONE}, {"acme_lidar": "acme_lidar"})
    base = Path(__file__).resolve().parents[1] / "configs" / "flatformer" / "flatformer_tiny.py"
    backbone = "dict(_delete_=True, type='AcmeBackbone', channels=8, grid=(64, 64))"
    config = f"_base_ = [{str(base)!r}]\nplugins = ['acme_lidar']\nmodel = dict(lidar_backbone={backbone})\n"
    (tmp_path / "config.py").write_text(config)
    result = subprocess.run(
        [sys.executable, "-c", TRAIN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "trained acme_lidar" in result.stdout

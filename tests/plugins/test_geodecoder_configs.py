"""GeoDecoder's published variants: parameters, the keys of their weights, and a run of each config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from located_frames import located_frame, partition
from torch import Tensor

from perception.engine.config import load_config
from perception.engine.convert import convert_checkpoint
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.geodecoder import GeoDecoderHead, LegacyGeoHead, load_official
from perception_plugins.geodecoder.legacy import LegacyDecoder

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path for path in (ROOT / "configs/geodecoder").glob("*.py") if "synthetic" not in path.name)
MP16 = (3298, 7202, 12893)
SWIN_B = 86_741_176                                   # torchvision's 87,768,224 without its norm and classifier
WB = ("weight", "bias")


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_the_public_code_are_as_many_as_counted_there():
    cfg = load_config(ROOT / "configs/geodecoder/geodecoder_legacy_swinb_mp16.py")
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
        narrow = LegacyGeoHead([768], MP16, channels=768)
    assert model.head.num_classes == MP16
    assert parameters(model.head.decoder) == 50_397_184
    assert parameters(model.head) == 74_950_497       # "74.95 M"
    assert parameters(narrow) == 55_825_505           # "55.83 M"
    assert parameters(model.backbone) == SWIN_B       # "86.7 M"


def test_parameters_of_the_papers_decoder_are_the_sum_of_its_parts():
    width, inner, hidden, hierarchies, scenes = 1024, 16 * 64, 1024, 7, 16
    attention, feed = 4 * width * inner + width, 2 * width * hidden + hidden + width
    norm = 2 * width
    independent, dependent = 2 * attention + 4 * norm + feed, 2 * attention + 3 * norm + hierarchies * (norm + feed)
    cfg = load_config(ROOT / "configs/geodecoder/geodecoder_swinb_mp16.py")
    with torch.device("meta"):
        head = MODELS.build(cfg.model).head
    classes = (684, 1744, 3298, 7202, 12893, 16150, 21673)
    tokens = 2 * 512 + 512 * width + width
    assert head.num_classes == classes
    assert parameters(head.decoder) == 5 * independent + 3 * dependent
    assert parameters(head) == (
        5 * independent + 3 * dependent + scenes * hierarchies * width + sum(classes) * (width + 1) + tokens
    )


def legacy_keys(depth: int, with_stage2: bool, project: bool) -> list[str]:
    """Every key of the public code's model but its backbone's."""
    keys = ["queries", *(f"{part}.{name}" for part in ("trans.lnk", "trans.lnv") for name in WB)]
    keys += [f"classification{number}.{name}" for number in (1, 2, 3) for name in WB]
    keys += [f"{part}.{name}" for part in ("ppnorm", "project") for name in WB if with_stage2]
    for layer in (f"trans.layers.{number}" for number in range(depth)):
        keys += [f"{layer}.{part}.{name}" for part in ("0", "2", "4.norm", "4.fn.net.0", "4.fn.net.3") for name in WB]
        for attention in (f"{layer}.1", f"{layer}.3"):
            keys += [f"{attention}.to_{part}.weight" for part in "qkv"]
            keys += [f"{attention}.to_out.0.{name}" for name in WB if project]
    return keys


@pytest.mark.parametrize(
    ("widths", "heads", "head_channels"), [((512, 1024), 12, 64), ((1024,), 12, 64), ((1024,), 1, 1024)]
)
def test_every_key_of_the_public_code_has_its_place_and_every_place_its_key(widths, heads, head_channels):
    with torch.device("meta"):
        head = LegacyGeoHead(widths, MP16, decoder={"heads": heads, "head_channels": head_channels})
    assert isinstance(head.decoder, LegacyDecoder)
    official = legacy_keys(6, len(widths) > 1, heads > 1)
    mapped = load_official(dict.fromkeys(official, torch.ones(1)))
    assert set(mapped) == {f"head.{key}" for key in head.state_dict()}


def paper_keys(independent: int, dependent: int, hierarchies: int) -> list[str]:
    keys = ["queries", *(f"head.{number}.{name}" for number in range(hierarchies) for name in WB)]
    for kind, count in (("hid", independent), ("hdd", dependent)):
        own = [""] if kind == "hid" else [f".{number}" for number in range(hierarchies)]
        for layer in (f"{kind}.{number}" for number in range(count)):
            parts = ["norm_sa", "norm_q", "norm_x", "sa.to_out", "ca.to_out"]
            parts += [f"{part}{which}" for which in own for part in ("norm_ffn",)]
            parts += [f"ffn{which}.{part}" for which in own for part in ("fc1", "fc2")]
            keys += [f"{layer}.{part}.{name}" for part in parts for name in WB]
            keys += [f"{layer}.{kind}.to_{part}.weight" for kind in ("sa", "ca") for part in "qkv"]
    return keys


def test_every_key_of_the_papers_decoder_has_its_place_and_every_place_its_key():
    with torch.device("meta"):
        head = GeoDecoderHead([1024], (4, 5, 6, 7), decoder={"num_independent": 2, "num_dependent": 3})
    mapped = load_official(dict.fromkeys(paper_keys(2, 3, 4), torch.ones(1)))
    assert set(mapped) == {f"head.{key}" for key in head.state_dict()}


@pytest.mark.parametrize(
    "key",
    ["backbone.embeddings.norm.weight", "classification0.weight", "trans.layers.0.5.weight", "hid.0.ffn.fc3.weight",
     "trans.layers.0.1.to_q.bias"],
)
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({"queries": torch.ones(1), key: torch.ones(1)})


def test_a_checkpoint_is_converted(tmp_path: Path):
    state: dict[str, Tensor] = {key: torch.ones(2) for key in legacy_keys(1, True, True)}
    torch.save({"state_dict": state}, tmp_path / "theirs.pth")
    converted = convert_checkpoint("geodecoder", tmp_path / "theirs.pth", tmp_path / "ours.pth")
    assert converted.num_tensors == len(state)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_learns_from_a_batch_and_predicts_one(path: Path):
    """The models are made narrow; all else is as in the config."""
    cfg, cells = load_config(path), partition()
    cfg.model.backbone.update(variant="tiny", channels=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2))
    cfg.model.head.update(channels=64, num_classes=cells.num_classes)
    cfg.model.head.decoder.update(heads=2, head_channels=16, hidden=32)
    if "hierarchy_weights" in cfg.model.head:
        cfg.model.head.hierarchy_weights = (0.5, 0.3)
    model = MODELS.build({**cfg.model, "partition": cells})
    frames = [located_frame(number, 64, 96, cells=cells) for number in range(2)]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    model.eval()
    batch = model.data_preprocessor(frames, False)
    assert batch["inputs"]["images"].shape[2:] == (3, 224, 224)
    found = model(**batch, mode="predict")
    assert [one.token for one in found] == ["f0", "f1"]
    assert all(one.cells[-1].polygon()["type"] == "Polygon" for one in found)

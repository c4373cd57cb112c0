"""The BEV mixer: its mask, and its two places, between pillars and BEV backbone and in the map decoder's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perception.engine.config import load_config
from perception.models.detector import Detector
from perception.models.lidar_bev_encoder import LidarBEVEncoder
from perception.models.occupied_cells import mix_occupied, occupied_cells
from perception.registry import MODELS
from perception_plugins.ssm_vision import BEVSS2D

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
close = torch.testing.assert_close
MIXER = {"type": "BEVSS2D", "channels": 8, "depth": 1}


def mixer(depth: int = 2) -> BEVSS2D:
    torch.manual_seed(0)
    return BEVSS2D(8, depth=depth).eval()


def bev(seed: int = 0) -> Tensor:
    return torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(seed))


def seen() -> Tensor:
    return torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(2)) > 0.4


def detector(**options: Any) -> Detector:
    torch.manual_seed(0)
    cfg = load_config(CONFIGS / "flatformer/flatformer_tiny.py", {"plugins": ["flatformer", "ssm_vision"]})
    return MODELS.build({**cfg.model, **options})


def pillars() -> tuple[Tensor, Tensor]:
    """Features and coordinates of 40 pillars in two samples of a 64 x 64 grid."""
    draw = torch.Generator().manual_seed(0)
    cells = torch.randperm(2 * 64 * 64, generator=draw)[:40].sort().values
    coords = torch.stack([cells // 4096, torch.zeros_like(cells), cells // 64 % 64, cells % 64], 1).int()
    return torch.randn(40, 8, generator=draw), coords


def test_what_invalid_cells_hold_changes_no_valid_one_and_they_become_zero():
    net, mask = mixer(), seen()
    out = net(bev(), mask)
    broken = torch.where(mask, bev(), torch.nan)
    close(net(broken, mask), out)
    assert not out[~mask.expand_as(out)].any()
    assert out[mask.expand_as(out)].all()


def test_a_mask_of_valid_cells_alone_changes_nothing():
    close(mixer()(bev(), torch.ones(2, 1, 5, 7, dtype=torch.bool)), mixer()(bev()), atol=1e-6, rtol=1e-5)


def test_nothing_valid_gives_zeros_and_finite_gradients():
    net, x = mixer(), bev().requires_grad_()
    out = net(x, torch.zeros(2, 1, 5, 7, dtype=torch.bool))
    out.sum().backward()
    assert not out.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_state_passes_through_a_gap():
    net, mask = mixer(1), torch.ones(2, 1, 5, 7, dtype=torch.bool)
    mask[..., 2:5] = False                             # wider than the convolution
    other = bev()
    other[..., 0] = bev(seed=1)[..., 0]
    assert (net(other, mask) - net(bev(), mask))[..., 6].abs().max() > 1e-5


@pytest.mark.parametrize("size", [(1, 6), (6, 1), (1, 1), (0, 4)])
def test_maps_of_any_shape(size: tuple[int, int]):
    x = torch.randn(1, 8, *size)
    assert mixer()(x, torch.ones(1, 1, *size, dtype=torch.bool)).shape == x.shape


def test_occupied_cells_by_hand():
    coords = torch.tensor([[0, 0, 0, 3], [1, 2, 3, 0], [1, 0, 2, 1]], dtype=torch.int32)
    cells = occupied_cells(coords, 2, (4, 4))
    assert cells.nonzero().tolist() == [[0, 0, 0, 3], [1, 0, 2, 1], [1, 0, 3, 0]]
    assert occupied_cells(coords, 2, (2, 2), stride=2).nonzero().tolist() == [[0, 0, 0, 1], [1, 0, 1, 0]]
    assert not occupied_cells(coords[:0], 1, (4, 4)).any()


def test_a_mixer_is_told_the_cells_of_the_samples_that_the_canvas_has():
    class Told(nn.Module):
        def forward(self, canvas: Tensor, mask: Tensor) -> Tensor:
            return canvas + mask

    coords = torch.tensor([[0, 0, 1, 2], [1, 0, 0, 0]], dtype=torch.int32)
    canvas = torch.zeros(1, 1, 2, 3)
    mixed = mix_occupied(Told(), canvas, coords, spare_samples=1)
    assert mixed.nonzero().tolist() == [[0, 0, 1, 2]]
    assert mix_occupied(None, canvas, coords) is canvas


def test_the_detector_mixes_its_canvas_over_the_cells_with_pillars_alone():
    model, (features, coords) = detector(bev_mixer=MIXER).eval(), pillars()
    seen_maps = []
    model.bev_backbone.register_forward_pre_hook(lambda _, given: seen_maps.append(given[0]))
    model.network(features, coords, 2)
    canvas = model.lidar_backbone(features, coords, 2)
    mask = occupied_cells(coords, 2, (64, 64))
    close(seen_maps[0], model.bev_mixer(canvas, mask))
    assert not seen_maps[0][~mask.expand_as(canvas)].any()
    assert int(mask.sum()) == 40


def test_spare_samples_change_nothing():
    model, (features, coords) = detector(bev_mixer=MIXER).eval(), pillars()
    padded = torch.cat([coords, torch.tensor([[2, 0, 5, 5]], dtype=torch.int32)])
    spared = model.network(torch.cat([features, features[:1]]), padded, 2, spare_samples=1)
    close(spared[0]["heatmap"], model.network(features, coords, 2)[0]["heatmap"])


def test_a_detector_learns_with_every_parameter_of_its_mixer():
    model, (features, coords) = detector(bev_mixer=MIXER), pillars()
    sum(x.square().sum() for task in model.network(features, coords, 2) for x in task.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.bev_mixer.parameters())


def test_the_stages_of_a_detector_count_its_mixer():
    model = detector(bev_mixer=MIXER)
    batch = {"inputs": {"points": [torch.rand(9, 4)]}, "data_samples": []}
    (stage,) = (stage for stage in model.stages(batch) if stage.name == "LiDAR backbone")
    assert model.bev_mixer in stage.parts


def test_a_lidar_encoder_of_other_tasks_mixes_too():
    torch.manual_seed(0)
    parts = load_config(CONFIGS / "flatformer/flatformer_tiny.py").model
    names = ("voxel_encoder", "lidar_backbone", "bev_backbone", "neck")
    encoder = LidarBEVEncoder(**{name: parts[name] for name in names}, bev_mixer=MIXER).eval()
    canvas, _ = encoder.maps({"points": [torch.rand(50, 4) * 20]})
    occupied = canvas.abs().sum(1) > 0
    assert 0 < int(occupied.sum()) <= 50


@pytest.mark.parametrize("name", ["flatformer_bevss2d_synthetic", "maptr_bevss2d_synthetic"])
def test_a_config_builds_with_the_mixer_in_its_place(name: str):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"ssm_vision/{name}.py").model)
    assert any(isinstance(part, BEVSS2D) for part in model.modules())


def test_the_memory_of_the_map_decoder_is_mixed():
    cfg = load_config(CONFIGS / "ssm_vision/maptr_bevss2d_synthetic.py").model.head
    torch.manual_seed(0)
    head = MODELS.build({**cfg, "in_channels": 8, "channels": 16, "heads": 2, "layers": 1, "num_queries": 3}).eval()
    x = torch.randn(1, 8, 4, 6)
    ((logits, _),) = head(x)
    far = x.clone()
    far[..., -1] += 5.0                                # a cell that looks at others through the scans alone
    memory = head.input_proj(x).flatten(2).transpose(1, 2)
    changed = head.input_proj(far).flatten(2).transpose(1, 2)
    moved = head.memory_mixer(changed, (4, 6)) - head.memory_mixer(memory, (4, 6))
    assert moved[:, 0].abs().max() > 1e-6
    assert logits.shape == (1, 3, 3)

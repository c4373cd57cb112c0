from __future__ import annotations

import copy

import pytest
import torch
from kmax_models import SMALL_DECODER, random_maps, small_head
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import fold_batch_norms
from perception.structures.segmentation import Segments
from perception_plugins.kmax.axial_attention import AxialAttention
from perception_plugins.kmax.kmeans_layer import assigned_clusters, kmeans_attention, sum_members
from perception_plugins.kmax.pixel_decoder import ResidualBlock


def squares(height: int, width: int, labels: tuple[int, ...] = (0, 3)) -> Segments:
    """As many vertical strips as labels."""
    strip_of_column = torch.arange(width) * len(labels) // width
    masks = torch.arange(len(labels))[:, None, None] == strip_of_column.expand(height, width)
    return Segments(torch.tensor(labels, dtype=torch.int64), masks)


def randomize(module: torch.nn.Module) -> None:
    """Away from the start, at which the branches' last norms are 0."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]:
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=draw))


@pytest.mark.parametrize(("height", "width"), [(65, 97), (64, 96), (40, 50), (4, 7), (1, 1)])
@pytest.mark.parametrize("branch", ["full", "light", "pixel", None])
def test_an_image_of_any_size_gives_predictions_and_losses(height, width, branch):
    head = small_head(semantic_branch=branch, loss={"pixels": {"count": 50}, "semantic": {"count": 20}})
    raw = head(random_maps(height, width))
    assert raw.logits.shape == (2, 7, 6)
    assert raw.masks.shape == (2, 7, -(-height // 4), -(-width // 4))
    losses = head.loss(raw, [squares(height, width), squares(height, width, ())])
    names = ("loss_ce", "loss_mask", "loss_dice", "loss_pixel_insdis")
    expected = {*names, *(f"{name}_{layer}" for name in names for layer in range(3))}
    assert set(losses) == expected | ({"loss_aux_semantic"} if branch else set())
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    assert head.eval()(random_maps(height, width)).auxiliary == ()


@pytest.mark.parametrize("branch", ["full", "pixel"])
def test_gradients_reach_every_parameter(branch):
    torch.manual_seed(0)
    head = small_head(semantic_branch=branch)
    randomize(head)
    for module in head.modules():
        if isinstance(module, _BatchNorm):           # by batch, a bias in front of one would have none
            module.eval()
    sum(head.loss(head(random_maps(33, 65)), [squares(33, 65), squares(33, 65, (1, 2, 4))]).values()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_masks_begin_as_sharp_as_told():
    torch.manual_seed(0)
    raw = small_head(decoder={**SMALL_DECODER, "mask_scale": 2.0})(random_maps(64, 96))
    assert float(raw.masks.std()) == pytest.approx(2.0, rel=0.05)        # a norm's epsilon away


def test_at_the_start_every_branch_adds_nothing():
    block = ResidualBlock(8, 2, "axial", heads=2).eval()
    x = torch.randn(1, 8, 3, 4)
    torch.testing.assert_close(block(x), torch.nn.functional.gelu(x))


def test_a_small_step_along_the_gradient_lowers_the_loss():
    torch.manual_seed(0)
    head, maps, truth = small_head(), random_maps(64, 96), [squares(64, 96), squares(64, 96, (1, 2, 4))]
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
    before = sum(head.loss(head(maps), truth).values())
    before.backward()
    optimizer.step()
    assert sum(head.loss(head(maps), truth).values()) < before


def test_images_smaller_than_the_batch_are_void_beyond_their_border():
    head = small_head()
    raw = head(random_maps(64, 96))
    small, padded = squares(40, 50), torch.zeros(2, 64, 96, dtype=torch.bool)
    padded[:, :40, :50] = small.masks
    ours = [head.loss(raw, [squares(64, 96), truth])["loss_dice"] for truth in (small, Segments(small.labels, padded))]
    torch.testing.assert_close(*ours, atol=0, rtol=0)


def test_more_segments_than_clusters_leave_some_out():
    head = small_head(num_queries=2)
    losses = head.loss(head(random_maps(64, 96)), [squares(64, 96, (0, 1, 2, 3, 4))] * 2)
    assert all(value.isfinite() for value in losses.values())


def test_an_image_without_segments_teaches_classes_alone():
    head = small_head(semantic_branch=None)
    losses = head.loss(head(random_maps(64, 96)), [squares(64, 96, ())] * 2)
    assert all((value > 0) == name.startswith("loss_ce") for name, value in losses.items())


def test_a_pixel_gives_itself_to_the_first_of_the_highest_clusters():
    masks = torch.tensor([[[1.0, 5.0, 0.0]], [[1.0, 6.0, 3.0]]])[None]                    # (1, 2, 1, 3)
    clusters = assigned_clusters(masks)
    assert clusters.tolist() == [[0, 1, 1]]
    values = torch.tensor([[[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]])                      # (1, 2, 3)
    assert sum_members(values, clusters, 3).tolist() == [[[1.0, 110.0, 0.0], [2.0, 220.0, 0.0]]]


@pytest.mark.parametrize("shape", [(2, 5, 12), (1, 1, 12), (2, 3, 1)])
def test_sums_and_their_gradients_are_alike_in_both_memory_orders(shape):
    B, C, P = shape
    values, clusters = torch.randn(shape), torch.randint(0, 4, (B, P))
    cotangent = torch.randn(B, C, 4)
    found = []
    for laid_out in (values, values.mT.contiguous().mT):
        leaf = laid_out.detach().requires_grad_()
        sums = sum_members(leaf, clusters, 4)
        found.append((sums, *torch.autograd.grad(sums, leaf, cotangent)))
    torch.testing.assert_close(*found)
    member = F.one_hot(clusters, 4).float()                                # (B, P, N)
    torch.testing.assert_close(found[0], (values @ member, cotangent @ member.mT))


def test_each_pixel_attends_with_the_cluster_it_is_most_like():
    queries, keys = torch.eye(2)[None], torch.tensor([[[3.0, 0.0, 1.0], [0.0, 2.0, 5.0]]])
    sums = kmeans_attention(queries, keys, torch.tensor([[[1.0, 10.0, 100.0]]]))
    assert sums.tolist() == [[[1.0, 110.0]]]


def test_attention_knows_which_side_its_neighbours_are_on():
    """Equal places and one code that counts only what lies one place ahead: the last place sees nothing there."""
    axis = AxialAttention(1, 1, 1, heads=1).eval()
    with torch.no_grad():
        for parameter in axis.parameters():
            parameter.zero_()
        axis.value_table[255] = 1.0                                                        # key one place after query
        for norm in (axis.norm_qkv, axis.norm_similarity, axis.norm_retrieved):
            norm.weight.fill_(1.0)
            norm.eps = 0.0
    out = axis(torch.zeros(1, 1, 4))
    torch.testing.assert_close(out, torch.tensor([[[0.25, 0.25, 0.25, 0.0]]]))


def test_folded_norms_change_nothing():
    head = small_head().eval()
    randomize(head)
    folded, maps = copy.deepcopy(head), random_maps(33, 49)
    assert fold_batch_norms(folded) > 0
    with torch.no_grad():
        torch.testing.assert_close(folded(maps).logits, head(maps).logits, atol=1e-4, rtol=1e-4)


def test_losses_are_float32_and_finite_under_autocast():
    head = small_head()
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(head(random_maps(64, 96)), [squares(64, 96)] * 2)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"semantic_branch": "heavy"}, "semantic_branch must be one of full, light, pixel or None, got 'heavy'"),
     ({"map_order": (0, 1, 2)}, r"map_order must order 4 maps, four at least, got \(0, 1, 2\)"),
     ({"map_order": (3, 2, 1, 1)}, r"map_order must order 4 maps, four at least, got \(3, 2, 1, 1\)"),
     ({"num_queries": 0}, "num_classes and num_queries must be > 0, got 5 and 0"),
     ({"panoptic": {"overlap": 1.5}}, r"overlap must lie in \[0, 1\], got 1.5"),
     ({"panoptic": {"mask_power": -1.0}}, "mask_power must be >= 0, got -1.0"),
     ({"loss": {"weights": {"loss_ce": 1.0}}}, "weights must name loss_ce, loss_mask, .*, got loss_ce"),
     ({"loss": {"area_power": 1.5}}, r"area_power must lie in \[0, 1\], got 1.5"),
     ({"loss": {"pixels": {"count": -1}}}, "count must be a number of pixels >= 0, got -1"),
     ({"pixel_decoder": {"layers": (1, 1)}}, r"layers must be one for each of the 4 maps, got \(1, 1\)"),
     ({"pixel_decoder": {"heads": 3}}, r"key_channels \(512\) must be divisible by heads \(3\)"),
     ({"pixel_decoder": {"layer_types": ("axial", "axial", "bottleneck", "plain"), "channels": (8, 8, 8, 8)}},
      "layer_types must be \"axial\" or \"bottleneck\", got 'plain'"),
     ({"decoder": {"layers": (1,)}}, r"layers must be one number for each of 3 maps, got \(1,\)"),
     ({"decoder": {"base_channels": 9}}, r"base_channels \(9\) must be divisible by heads \(8\)")],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        small_head(**options)


def test_bad_inputs_are_told():
    head = small_head(semantic_branch="full")
    with pytest.raises(ValueError, match="features must be 4 maps, got 3"):
        head(random_maps(64, 96)[:3])
    with pytest.raises(ValueError, match="the full semantic branch needs two images at least in a training batch"):
        head(random_maps(64, 96, batch=1))
    with pytest.raises(ValueError, match="axial attention reaches over at most 255 places a side, got 256"):
        AxialAttention(2, 2, 2, heads=1)(torch.zeros(1, 2, 256))
    raw = head(random_maps(64, 96))
    with pytest.raises(ValueError, match="segments must be of 2 images, got 1"):
        head.loss(raw, [squares(64, 96)])
    with pytest.raises(ValueError, match=r"segments\[1\].labels must lie in \[0, 5\), got 5"):
        head.loss(raw, [squares(64, 96), squares(64, 96, (0, 5))])
    with pytest.raises(ValueError, match="segments of 64 x 100 pixels need predictions of 16 x 25, got 16 x 24"):
        head.loss(raw, [squares(64, 96), squares(64, 100)])

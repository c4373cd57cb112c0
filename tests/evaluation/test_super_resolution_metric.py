from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from perception.evaluation.picture_quality import luma, psnr, ssim
from perception.evaluation.super_resolution_metric import SuperResolutionMetric
from perception.structures import Camera, Frame
from perception.structures.super_resolution import EnlargedPicture
from perception.transforms.bicubic import enlarged, to_uint8
from perception.transforms.resolution_pairs import ResolutionPairs


def pair(token: str, seed: int = 0) -> Frame:
    image = torch.randint(0, 256, (3, 40, 44), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    frame = Frame(token, 0, cameras={"front": Camera(None, 0, image=image)})
    return ResolutionPairs(2)(frame, np.random.default_rng(0))


def bicubic(frame: Frame) -> EnlargedPicture:
    return EnlargedPicture(frame.token, 0, to_uint8(enlarged(frame.cameras["front"].image / 255, 2)), 2)


def brighter(frame: Frame) -> EnlargedPicture:
    """What shall be found, but for one level."""
    image = frame.cameras["front/high"].image
    return EnlargedPicture(frame.token, 0, torch.where(image < 255, image + 1, image - 1), 2)


def test_scores_are_means_of_the_plain_functions(tmp_path):
    frames = [pair("a"), pair("b", seed=1)]
    metric = SuperResolutionMetric(output_dir=str(tmp_path), prefix="sr")
    metric.process(frames, [brighter(frame) for frame in frames])
    scores = metric.evaluate(size=2)
    truth, found = (
        [picture.permute(1, 2, 0).numpy() for picture in pictures]
        for pictures in ((f.cameras["front/high"].image for f in frames), (brighter(f).image for f in frames))
    )
    expected = np.mean([psnr(luma(one), luma(other), 2) for one, other in zip(found, truth, strict=True)])
    assert scores["sr/psnr_y_db"] == pytest.approx(expected)
    assert scores["sr/psnr_rgb_db"] == pytest.approx(20 * math.log10(255))
    assert scores["sr/ssim_rgb"] == pytest.approx(np.mean([ssim(*both, 2) for both in zip(found, truth, strict=True)]))
    assert json.loads((tmp_path / "metrics_super_resolution.json").read_text())["psnr_y_db"] == scores["sr/psnr_y_db"]


def test_bicubic_enlargement_gains_nothing_over_itself(tmp_path):
    metric = SuperResolutionMetric(output_dir=str(tmp_path))
    metric.process([pair("a")], [bicubic(pair("a"))])
    scores = metric.evaluate(size=1)
    assert scores["super_resolution/gain_over_bicubic_db"] == 0
    assert scores["super_resolution/bicubic_ssim_y"] == scores["super_resolution/ssim_y"]


def test_a_frame_that_came_twice_counts_once(tmp_path):
    metric = SuperResolutionMetric(output_dir=str(tmp_path), baseline=False)
    frames = [pair("a"), pair("b", seed=1), pair("b", seed=1)]
    rows = [(token, {"psnr_y_db": value}) for token, value in (("a", 20.0), ("b", 40.0), ("b", 40.0))]
    assert metric.compute_metrics(rows) == {"psnr_y_db": 30.0}
    metric.process(frames[:1], [brighter(frames[0])])
    assert set(metric.results[0][1]) == {"psnr_y_db", "ssim_y", "psnr_rgb_db", "ssim_rgb"}


def test_another_border_counts_other_pixels(tmp_path):
    frame = pair("a")
    image = frame.cameras["front/high"].image.clone()
    image[:, :3] = 255 - image[:, :3]
    found = EnlargedPicture("a", 0, image, 2)
    scores = {}
    for border in (None, 3):
        metric = SuperResolutionMetric(output_dir=str(tmp_path), border=border)
        metric.process([frame], [found])
        scores[border] = metric.results[0][1]["psnr_rgb_db"]
    assert scores[None] < 30
    assert scores[3] == math.inf


def test_pictures_that_do_not_belong_together_are_refused():
    frame, metric = pair("a"), SuperResolutionMetric()
    with pytest.raises(ValueError, match="the picture of frame 'b' came with frame 'a'"):
        metric.process([frame], [brighter(pair("b"))])
    small = EnlargedPicture("a", 0, torch.zeros(3, 20, 22, dtype=torch.uint8), 1)
    with pytest.raises(ValueError, match=r"frame 'a': pictures must have one shape, got \(16, 18\) and \(36, 40\)"):
        metric.process([frame], [small])
    alone = Frame("a", 0, cameras={"front": frame.cameras["front"]})
    with pytest.raises(ValueError, match="frame 'a': there is no picture in high resolution"):
        metric.process([alone], [brighter(frame)])


def test_a_negative_border_is_refused():
    with pytest.raises(ValueError, match="border must be >= 0, got -1"):
        SuperResolutionMetric(border=-1)

"""PSNR and SSIM of enlarged pictures, beside those of bicubic enlargement."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import Tensor

from perception.atomic_write import write_json
from perception.registry import METRICS
from perception.structures import Frame
from perception.structures.super_resolution import EnlargedPicture, resolution_pair
from perception.transforms.bicubic import enlarged, to_uint8

from .picture_quality import luma, psnr, ssim

logger = logging.getLogger(__name__)
FILE_NAME = "metrics_super_resolution.json"
Scores = dict[str, float]


@METRICS.register_module()
class SuperResolutionMetric(BaseMetric):
    """Means over pictures of PSNR [dB] and SSIM, of the luma and of RGB.

    ``psnr_y_db``, ``ssim_y``, ``psnr_rgb_db``, ``ssim_rgb``; with the baseline ``bicubic_psnr_y_db`` and so on, and
    ``gain_over_bicubic_db``, the difference of the two PSNR of the luma.

    Args:
        border: pixels at each side that do not count; None takes the scale, as published tables do.
        baseline: enlarge the small pictures bicubically too.
        camera: whose picture is scored; None for the only one of each frame with a partner in high resolution.
        output_dir: folder for the file of the scores.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names.

    Raises:
        ValueError: the border is negative.
    """

    default_prefix = "super_resolution"

    def __init__(
        self,
        *,
        border: int | None = None,
        baseline: bool = True,
        camera: str | None = None,
        output_dir: str = "work_dirs/super_resolution",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        if border is not None and border < 0:
            raise ValueError(f"border must be >= 0, got {border}")
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.border, self.baseline, self.camera, self.output_dir = border, baseline, camera, Path(output_dir)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[EnlargedPicture]) -> None:
        """Score the pictures of a batch.

        Raises:
            ValueError: a frame has no picture in high resolution, or a prediction is of another frame or size.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            if frame.token != sample.token:
                raise ValueError(f"the picture of frame {sample.token!r} came with frame {frame.token!r}")
            try:
                self.results.append((frame.token, self._scores(frame, sample)))
            except ValueError as error:
                raise ValueError(f"frame {frame.token!r}: {error}") from error

    def compute_metrics(self, results: list[tuple[str, Scores]]) -> Scores:
        """Means over the frames that were tested, each counted once; writes them to a file."""
        rows = list(dict(results).values())
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        if self.baseline:
            means["gain_over_bicubic_db"] = means["psnr_y_db"] - means["bicubic_psnr_y_db"]
        logger.info("wrote %s", write_json(self.output_dir / FILE_NAME, means))
        return means

    def _scores(self, frame: Frame, sample: EnlargedPicture) -> Scores:
        pair = resolution_pair(frame, self.camera)
        if pair is None:
            raise ValueError("there is no picture in high resolution to compare with: put ResolutionPairs last")
        assert pair.low.image is not None
        assert pair.high.image is not None
        border = pair.scale if self.border is None else self.border
        truth = _pixels(pair.high.image)
        scores = picture_scores(_pixels(sample.image), truth, border)
        if self.baseline:
            bicubic = to_uint8(enlarged(pair.low.image / 255, pair.scale))
            plain = picture_scores(_pixels(bicubic), truth, border)
            scores |= {f"bicubic_{name}": value for name, value in plain.items()}
        return scores


def picture_scores(found: np.ndarray, truth: np.ndarray, border: int) -> Scores:
    """PSNR [dB] and SSIM of the luma and of RGB by name; arguments and errors as for `psnr`, three channels."""
    lumas = luma(found), luma(truth)
    return {
        "psnr_y_db": psnr(*lumas, border), "ssim_y": ssim(*lumas, border),
        "psnr_rgb_db": psnr(found, truth, border), "ssim_rgb": ssim(found, truth, border),
    }


def _pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)."""
    return image.cpu().permute(1, 2, 0).numpy()

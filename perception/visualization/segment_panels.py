"""Pictures of segmentation: the true classes of a frame beside the predicted ones, each with a legend of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from perception.errors import DataError
from perception.structures import Frame, PointPredictions, SegmentationPredictions

from .camera_overlay import draw_points, mosaic, picture_of
from .class_map import ClassMap, true_points
from .legend import STRIP, legend_strip, with_caption
from .palette import Color

OPACITY = 0.55                                             # of a class over the picture
OUTLINE: Color = (255, 255, 255)
ALONE, BESIDE, TILE = 1280, 960, 480                       # width of one camera, of one of two, of one of many [pixels]
GAP = 8                                                    # pixels between panels
TRUE, PREDICTED = "true", "predicted"


@dataclass(frozen=True)
class Segmentation:
    """What is known of the classes in a frame, by origin: "true", "predicted", or both.

    Args:
        points: of its points.
        pixels: of its pictures, by camera.
    """

    points: Mapping[str, ClassMap]
    pixels: Mapping[str, Mapping[str, ClassMap]]

    @classmethod
    def of(cls, frame: Frame, predictions: object = None, min_score: float = 0.3) -> Segmentation:
        """Of the labels of a frame, and of predictions of its points or, by camera, of its pictures.

        Args:
            frame: with labels or without.
            predictions: `PointPredictions`, or `SegmentationPredictions` by camera; anything else is passed over.
            min_score: predicted objects below it are left out.

        Raises:
            DataError: there are not as many predictions as points.
        """
        points: dict[str, ClassMap] = {}
        pixels: dict[str, dict[str, ClassMap]] = {}
        found = predictions if isinstance(predictions, Mapping) else {}
        known = true_points(frame)
        if known is not None:
            points[TRUE] = known
        if isinstance(predictions, PointPredictions):
            _check_rows(frame, predictions)
            points[PREDICTED] = ClassMap.of_points(predictions)
        for name, camera in frame.cameras.items():
            guess = found.get(name)
            if camera.labels is not None:
                names = guess.class_names if isinstance(guess, SegmentationPredictions) else ()
                pixels.setdefault(TRUE, {})[name] = ClassMap.of_pixels(camera.labels, names)
            if isinstance(guess, SegmentationPredictions):
                pixels.setdefault(PREDICTED, {})[name] = ClassMap.of_picture(guess, min_score)
        return cls(points, pixels)


def point_panels(
    segmentation: Segmentation, frame: Frame, render: Callable[[Frame, ClassMap], np.ndarray]
) -> np.ndarray:
    """True and predicted classes of points, (H, W, 3) uint8 RGB.

    Args:
        segmentation: with classes of points.
        frame: whose points they are; its boxes and maps are not drawn.
        render: draws the frame with the classes of its points.
    """
    bare = replace(frame, annotations=None, vector_map=None, lane_graph=None)
    panels = segmentation.points.items()
    return joined([panel(origin, render(bare, classes), [classes]) for origin, classes in panels])


def camera_panels(segmentation: Segmentation, frame: Frame, *, with_points: bool = False) -> np.ndarray:
    """True and predicted classes over the pictures of a frame, all cameras a panel: (H, W, 3) uint8 RGB.

    Args:
        segmentation: with classes of pixels or, ``with_points``, of points.
        frame: with decoded pictures.
        with_points: draw the points, in the colours of their classes where these are known.
    """
    known = {**segmentation.pixels, **(segmentation.points if with_points else {})}
    origins = [origin for origin in (TRUE, PREDICTED) if origin in known]
    width = TILE if len(frame.cameras) > 1 else (ALONE if len(origins) == 1 else BESIDE)
    panels = []
    for origin in origins:
        pixels, points = segmentation.pixels.get(origin, {}), segmentation.points.get(origin) if with_points else None
        tiles = [_tile(frame, name, width, pixels.get(name), points) for name in frame.cameras]
        drawn = [*pixels.values(), *([] if points is None else [points])]
        panels.append(panel(origin, mosaic(tiles, columns=min(3, len(tiles)), width=width), drawn))
    return joined(panels)


def point_classes(frame: Frame, predictions: object = None) -> ClassMap | None:
    """The classes to show of points: predicted ones, or else the true ones, or None.

    Raises:
        DataError: there are not as many predictions as points.
    """
    points = Segmentation.of(frame, predictions).points
    return points.get(PREDICTED, points.get(TRUE))


def overlay_classes(picture: np.ndarray, classes: ClassMap) -> np.ndarray:
    """The colours of classes over a picture of the same size, instances outlined in white: (H, W, 3) uint8 RGB.

    Pixels without a class stay as they are.
    """
    mixed = (1.0 - OPACITY) * picture + OPACITY * classes.colors
    out = np.where(classes.is_known[..., None], np.round(mixed), picture).astype(np.uint8)
    out[classes.outlines()] = OUTLINE
    return out


def panel(caption: str, picture: np.ndarray, classes: list[ClassMap]) -> np.ndarray:
    """A picture with a caption above it and, below, a legend of the classes that occur in it."""
    names = tuple(dict.fromkeys(name for one in classes for name in one.names))
    colors: dict[str, Color] = {}
    for one in classes:
        colors |= one.legend()
    return np.concatenate([with_caption(picture, caption), legend_strip(colors, names, picture.shape[1])])


def joined(panels: list[np.ndarray]) -> np.ndarray:
    """Panels side by side or, if they are more than twice as wide as high, one below the other."""
    stack = panels[0].shape[1] > 2 * panels[0].shape[0]
    along, across = (0, 1) if stack else (1, 0)
    size = [0, 0, 3]
    size[along] = sum(one.shape[along] for one in panels) + GAP * (len(panels) - 1)
    size[across] = max(one.shape[across] for one in panels)
    canvas = np.full(size, STRIP, dtype=np.uint8)
    begin = 0
    for one in panels:
        top, left = (begin, 0) if stack else (0, begin)
        canvas[top : top + one.shape[0], left : left + one.shape[1]] = one
        begin += one.shape[along] + GAP
    return canvas


def _tile(frame: Frame, name: str, width: int, pixels: ClassMap | None, points: ClassMap | None) -> np.ndarray:
    """One camera in the width in which it is shown, so that outlines are as thin there as they are drawn."""
    camera = frame.cameras[name]
    picture = picture_of(camera)
    if points is not None and frame.points is not None and camera.calibration is not None:
        picture = draw_points(picture, camera.calibration, frame.points.xyz, classes=points)
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    scaled = np.asarray(Image.fromarray(picture).resize((width, height)))
    return scaled if pixels is None else overlay_classes(scaled, pixels.resized(height, width))


def _check_rows(frame: Frame, predictions: PointPredictions) -> None:
    count = 0 if frame.points is None else len(frame.points)
    if len(predictions) != count:
        expected = f"a class for each of its {count} points"
        got = f"{len(predictions)} (the model was given other points than the recording has)"
        raise DataError(f"frame {frame.token}", "points", expected, got)

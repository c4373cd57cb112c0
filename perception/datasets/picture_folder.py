"""A folder of pictures with a folder of masks, in any classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError
from ..registry import DATASETS
from ..structures import PixelLabels
from ..structures.segmentation import IGNORE_LABEL
from .base import Transform
from .label_pictures import Color, classes_of_colors, classes_of_numbers, read_label_colors, read_label_numbers
from .picture_dataset import PictureDataset, PictureRecord, list_pictures


@DATASETS.register_module()
class PictureFolder(PictureDataset):
    """Pictures by name, with masks of the same path and stem; see `PictureDataset`.

    Args:
        root: folder that the others lie below.
        classes: names of the classes.
        pictures: folder of the pictures, with any folders below.
        masks: folder of PNG masks; None leaves the pictures unlabelled.
        mask_ending: what the stems of masks have beside that of the picture.
        values: number, or colour (R, G, B), of each class in the masks; None for 0, 1, 2, ...
        ignored: numbers or colours of pixels that do not count.
        instances: folder of PNG pictures of instance numbers, 0 for none; None if there are none.
        things: classes with instances.

    Raises:
        DataError: there is no picture, or two of one name.
        ConfigError: numbers of values and classes differ, numbers and colours are mixed, a value comes twice, a thing
            is no class, or instances come without masks.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] = (),
        *,
        pictures: str = "images",
        masks: str | None = "masks",
        mask_ending: str = "",
        values: Sequence[int] | Sequence[Sequence[int]] | None = None,
        ignored: Sequence[int] | Sequence[Sequence[int]] = (),
        instances: str | None = None,
        things: Sequence[str] = (),
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        if masks is not None and not classes:
            raise ConfigError("classes must name the classes of the masks, got none")
        if instances is not None and masks is None:
            raise ConfigError("instances need masks that tell their classes, got masks=None")
        if unknown := [name for name in things if name not in classes]:
            raise ConfigError(f'things must be among the classes {", ".join(classes)}, got "{unknown[0]}"')
        self.METAINFO = {"classes": tuple(classes), "things": tuple(things)}
        self.pictures, self.masks, self.mask_ending, self.instances = pictures, masks, mask_ending, instances
        self.numbers, self.colors = named_values(classes, range(len(classes)) if values is None else values, ignored)
        super().__init__(root, transforms=transforms, seed=seed)

    def list_records(self) -> list[PictureRecord]:
        """Pictures by path."""
        folder = self.root / self.pictures
        records: dict[str, PictureRecord] = {}
        for path in list_pictures(folder):
            token = path.relative_to(folder).with_suffix("").as_posix()
            if token in records:
                files = f"{records[token].picture.name} and {path.name}"
                raise DataError(folder, f"picture {token}", "one file", files)
            records[token] = PictureRecord(token, path, self._file(self.masks, token))
        return list(records.values())

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes and, if there are any, instances of one picture."""
        if self.colors:
            classes = classes_of_colors(path, read_label_colors(path), self.colors, self.classes)
        else:
            classes = classes_of_numbers(path, read_label_numbers(path), self.numbers, self.classes)
        if self.instances is None or self.masks is None:
            return PixelLabels(torch.from_numpy(classes))
        file = self.root / self.instances / path.relative_to(self.root / self.masks)
        numbers = read_label_numbers(file)
        if numbers.shape != classes.shape:
            height, width = classes.shape
            raise DataError(file, "size", f"{width} x {height} pixels as the mask", f"{numbers.shape[::-1]}")
        return PixelLabels(torch.from_numpy(classes), torch.from_numpy(numbers))

    def _file(self, folder: str | None, token: str) -> Path | None:
        return None if folder is None else self.root / folder / f"{token}{self.mask_ending}.png"


def named_values(
    classes: Sequence[str], values: Sequence[Any], ignored: Sequence[Any]
) -> tuple[dict[int, str | None], dict[Color, str | None]]:
    """Class, or None to be ignored, by number and by colour; one of the two is empty.

    `IGNORE_LABEL` is ignored among numbers unless it is that of a class. Raises ConfigError as `PictureFolder` does.
    """
    if len(values) != len(classes):
        raise ConfigError(f"values must be those of the {len(classes)} classes, got {len(values)}")
    numbers: dict[int, str | None] = {}
    colors: dict[Color, str | None] = {}
    for value, name in [*zip(values, classes, strict=True), *((value, None) for value in ignored)]:
        known: dict[Any, str | None] = numbers if isinstance(value, int) else colors
        key = value if isinstance(value, int) else tuple(value)
        if key in known:
            raise ConfigError(f"values and ignored must be distinct, got {key} twice")
        if isinstance(key, tuple) and len(key) != 3:
            raise ConfigError(f"colours must be (R, G, B), got {key}")
        known[key] = name
    if numbers and colors:
        raise ConfigError("values and ignored must be all numbers or all colours, got both")
    if not colors:
        numbers.setdefault(IGNORE_LABEL, None)
    return numbers, colors

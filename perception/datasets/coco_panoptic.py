"""Pictures with panoptic labels in COCO's format (Kirillov et al., "Panoptic Segmentation", CVPR 2019).

COCO's 133 categories (Lin et al., ECCV 2014; Caesar et al., CVPR 2018), and other sets that have been converted to the
format: ADE20K, Cityscapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, DataError
from ..registry import DATASETS
from ..structures import PixelLabels
from ..structures.segmentation import IGNORE_LABEL
from .base import Transform
from .cityscapes_panoptic import rgb_to_ids
from .coco_panoptic_file import read_panoptic_file
from .compact_labels import compact
from .label_pictures import read_label_colors
from .picture_dataset import PictureDataset, PictureRecord, list_pictures

VOID = 0                                                    # id of pixels of no segment


@DATASETS.register_module()
class CocoPanopticDataset(PictureDataset):
    """Pictures of one split with classes and instances; see `PictureDataset`.

    The classes are the categories by rising id. Pixels of no segment are ignored; those of a crowd have a class but no
    instance.

    Args:
        root: folder that the others lie below.
        split: replaces ``{split}`` in the others.
        annotations: JSON file of the segments.
        pictures: folder of the pictures, with any folders below.
        masks: folder of the segments' PNG pictures, id = R + 256 G + 65536 B; by default beside the JSON file, of the
            same name without its ending.
        picture_name: which picture an entry of the JSON file is of, made of its fields; by its path below ``pictures``
            or, if that is not there, by the name of the file alone.
        labelled: whether the labels are read.
        names: names of all categories by rising id, in place of those in the file.
        classes: some of them, in the order of the labels.

    Raises:
        DataError: the JSON file is absent or malformed, or a picture that it lists is absent or not labelled.
        ConfigError: ``names`` are more or fewer than the categories, or a class is unknown.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train2017",
        annotations: str = "annotations/panoptic_{split}.json",
        pictures: str = "{split}",
        masks: str | None = None,
        picture_name: str = "{file_name}",
        labelled: bool = True,
        names: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        path = Path(root) / annotations.format(split=split)
        self.file = read_panoptic_file(path)
        self.pictures = Path(root) / pictures.format(split=split)
        self.masks = path.with_suffix("") if masks is None else Path(root) / masks.format(split=split)
        self.picture_name, self.labelled = picture_name, labelled
        categories = self.file.categories
        if names is not None and len(names) != len(categories):
            raise ConfigError(f"names must be those of the {len(categories)} categories of {path}, got {len(names)}")
        self.names = tuple(category.name for category in categories) if names is None else tuple(names)
        things = tuple(name for name, category in zip(self.names, categories, strict=True) if category.is_thing)
        self.METAINFO = {"classes": self.names, "things": things}
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)
        order = {name: label for label, name in enumerate(self.classes)}
        self.label_of_category = np.array([order.get(name, IGNORE_LABEL) for name in self.names], np.int64)
        self.is_thing = np.array([category.is_thing for category in categories], np.bool_)

    def list_records(self) -> list[PictureRecord]:
        """Pictures in the order of the JSON file."""
        if not self.file.pictures:
            raise DataError(self.file.path, "images", "at least one picture", "none")
        files = list_pictures(self.pictures)
        found = {path.name: path for path in files}
        found |= {path.relative_to(self.pictures).as_posix(): path for path in files}
        return [self._record(entry, found) for entry in self.file.pictures]

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes and instances of one picture."""
        values, place = compact(rgb_to_ids(read_label_colors(path)))
        table = self.file.segments[path.name]                                            # (S, 3)
        order = np.argsort(table[:, 0])
        ids, categories, is_crowd = table[order].T
        unknown = values[~np.isin(values, ids) & (values != VOID)]
        if unknown.size:
            raise DataError(path, "pixels", f"ids of the {len(ids)} segments that {self.file.path} lists", unknown[0])
        row = np.searchsorted(ids, values)                                               # of void: any
        labels = np.append(self.label_of_category[categories], IGNORE_LABEL)
        is_instance = np.append(self.is_thing[categories] & (is_crowd == 0), False)
        row = np.where(values == VOID, len(ids), row)
        number = np.cumsum(is_instance[row]) * is_instance[row]
        return PixelLabels(torch.from_numpy(labels[row][place]), torch.from_numpy(number[place]))

    def _record(self, entry: Mapping[str, Any], found: Mapping[str, Path]) -> PictureRecord:
        try:
            name = self.picture_name.format_map(entry)
        except KeyError as error:
            known = ", ".join(entry)
            raise ConfigError(f"picture_name must be made of {known}, got {self.picture_name!r}: no {error}") from None
        token = Path(name).stem
        if name not in found:
            raise DataError(self.file.path, f"image {entry['id']}", f"a picture below {self.pictures}", f"no {name}")
        if not self.labelled:
            return PictureRecord(token, found[name])
        if entry["id"] not in self.file.masks:
            raise DataError(self.file.path, f"image {entry['id']}", "an annotation", "none")
        return PictureRecord(token, found[name], self.masks / self.file.masks[entry["id"]])

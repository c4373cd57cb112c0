"""One segment of the Waymo Open Dataset: 10 Hz sweeps with poses, pictures and boxes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...datasets.index import FrameRecord, write_index
from ...datasets.waymo.component_files import SegmentComponents
from ...datasets.waymo.parquet import BOX_COMPONENT, POINT_COMPONENTS
from ...datasets.waymo.segments import PARQUET_ENDING, RECORD_ENDINGS, file_rows
from ...datasets.waymo_open import CAMERAS, WaymoDataset, index_source
from ...errors import ConfigError, DataError, suggestion
from ..indexed_source import IndexedSource


class WaymoSegmentSource(IndexedSource):
    """One file of frames.

    Args:
        path: a TFRecord, or of the second format ``SPLIT/lidar/SEGMENT.parquet``.
        scene: name of the segment, if a TFRecord holds several.
        map_region: x0, y0, x1, y1 [m] of `Frame.vector_map`, which is None without it.

    Raises:
        DataError: there is no frame, or a record or component is malformed.
        ConfigError: there are several segments and none of them is named, or the name is unknown.
    """

    NAME = "waymo"
    LAYOUT = "a Waymo segment (.tfrecord or lidar/*.parquet)"
    OPTIONS = frozenset({"scene", "map_region"})

    def __init__(self, path: str, scene: str | None = None, map_region: Sequence[float] | None = None) -> None:
        file = Path(path).resolve()
        root = file.parents[1] if file.suffix == PARQUET_ENDING else file.parent
        rows = _rows(root, file, scene)
        present = {camera.name for row in rows for camera in row.cameras}
        with tempfile.TemporaryDirectory() as temporary:
            index = Path(temporary) / "segment.parquet"
            write_index(index, rows, index_source("val"))          # a segment is read alike in every split
            self.dataset = WaymoDataset(
                root, split="val", index=index, cameras=[name for name in CAMERAS if name in present],
                map=None if map_region is None else {"region": map_region},
            )

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A TFRecord, or a Parquet file in a folder that is called lidar."""
        is_component = path.endswith(PARQUET_ENDING) and Path(path).parent.name == POINT_COMPONENTS[0]
        return (path.endswith(RECORD_ENDINGS) or is_component) and Path(path).is_file()


def _rows(root: Path, file: Path, scene: str | None) -> list[FrameRecord]:
    """The rows of one segment; not annotated if none of its frames has an object, as those of the split testing."""
    labelled = file.suffix != PARQUET_ENDING or BOX_COMPONENT in SegmentComponents(root, file.stem)
    rows, _ = file_rows(root, file, labelled=labelled)
    if not rows:
        raise DataError(file, "frames", "at least one", "none")
    scenes = list(dict.fromkeys(row.scene for row in rows))
    chosen = scenes[0] if scene is None and len(scenes) == 1 else scene
    if chosen not in scenes:
        problem = f'has no segment "{scene}"{suggestion(scene, scenes)}' if scene else "needs a scene"
        listed = ", ".join(scenes[:5]) + (", ..." if len(scenes) > 5 else "")
        raise ConfigError(f"{file} {problem}; it has {listed}")
    rows = [row for row in rows if row.scene == chosen]
    return rows if any(row.objects for row in rows) else [replace(row, objects=None) for row in rows]

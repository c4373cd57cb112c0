"""A `GeoPrediction` as a plain record, and back."""

from __future__ import annotations

import math
from typing import Any

from ..geo.s2_cells import ids_of_tokens
from .geo import GeoCell, GeoPrediction

DEGREE_DIGITS, PROBABILITY_DIGITS = 9, 9             # a tenth of a millimetre; products of many hierarchies are small


def place_record(prediction: GeoPrediction) -> dict[str, Any]:
    """Values that JSON knows: the place, entropy and scene, and the cells, coarse to fine; polygons are left out."""
    cells = [
        {
            "cell": cell.token, "probability": float(f"{cell.probability:.{PROBABILITY_DIGITS}g}"),
            "latitude": round(cell.latitude, DEGREE_DIGITS), "longitude": round(cell.longitude, DEGREE_DIGITS),
        }
        for cell in prediction.cells
    ]
    entropy = None if math.isnan(prediction.entropy) else round(prediction.entropy, 6)
    return {"cells": cells, "entropy": entropy, "scene": prediction.scene, "scene_names": list(prediction.scene_names)}


def prediction_of_place(record: dict[str, Any]) -> GeoPrediction:
    """The prediction of a line with ``token``, ``timestamp_ns`` and the ``place`` of `place_record`.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is malformed.
    """
    place = record["place"]
    ids = ids_of_tokens([entry["cell"] for entry in place["cells"]]).tolist()
    cells = tuple(
        GeoCell(number, float(entry["probability"]), float(entry["latitude"]), float(entry["longitude"]))
        for number, entry in zip(ids, place["cells"], strict=True)
    )
    entropy = math.nan if place["entropy"] is None else float(place["entropy"])
    names = tuple(str(name) for name in place["scene_names"])
    return GeoPrediction(record["token"], record["timestamp_ns"], cells, entropy, int(place["scene"]), names)

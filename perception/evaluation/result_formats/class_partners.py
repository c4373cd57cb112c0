"""Which class of one data set's boxes stands for a class of another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perception.errors import ConfigError, suggestion

# By the two formats, the class of the second that each of the first becomes. Classes that are not named have no
# partner, since the other data set has none or several for them:
# - barriers, cones, barrels, bollards and signs where the other does not annotate such things;
# - Argoverse 2's MOTORCYCLIST, and BICYCLE among Waymo's and KITTI's classes: it has one box for the rider and one for
#   the vehicle, where the others have one for both (nuScenes', Waymo's and KITTI's classes all mean vehicle and rider);
# - motorcycles and buses among KITTI's classes.
PARTNERS: dict[tuple[str, str], dict[str, str]] = {
    ("nuscenes", "argoverse2"): {
        "car": "REGULAR_VEHICLE", "truck": "TRUCK", "construction_vehicle": "LARGE_VEHICLE", "bus": "BUS",
        "trailer": "VEHICULAR_TRAILER", "motorcycle": "MOTORCYCLE", "bicycle": "BICYCLE", "pedestrian": "PEDESTRIAN",
        "traffic_cone": "CONSTRUCTION_CONE",
    },
    ("nuscenes", "waymo"): {
        "car": "VEHICLE", "truck": "VEHICLE", "construction_vehicle": "VEHICLE", "bus": "VEHICLE",
        "trailer": "VEHICLE", "motorcycle": "VEHICLE", "bicycle": "CYCLIST", "pedestrian": "PEDESTRIAN",
    },
    ("nuscenes", "kitti"): {
        "car": "Car", "truck": "Truck", "trailer": "Misc", "bicycle": "Cyclist", "pedestrian": "Pedestrian",
    },
    ("argoverse2", "nuscenes"): {
        "REGULAR_VEHICLE": "car", "LARGE_VEHICLE": "truck", "BOX_TRUCK": "truck", "TRUCK": "truck",
        "TRUCK_CAB": "truck", "BUS": "bus", "SCHOOL_BUS": "bus", "ARTICULATED_BUS": "bus",
        "VEHICULAR_TRAILER": "trailer", "MESSAGE_BOARD_TRAILER": "trailer", "TRAFFIC_LIGHT_TRAILER": "trailer",
        "MOTORCYCLE": "motorcycle", "BICYCLE": "bicycle", "PEDESTRIAN": "pedestrian",
        "OFFICIAL_SIGNALER": "pedestrian", "CONSTRUCTION_CONE": "traffic_cone",
    },
    ("argoverse2", "waymo"): {
        "REGULAR_VEHICLE": "VEHICLE", "LARGE_VEHICLE": "VEHICLE", "BOX_TRUCK": "VEHICLE", "TRUCK": "VEHICLE",
        "TRUCK_CAB": "VEHICLE", "BUS": "VEHICLE", "SCHOOL_BUS": "VEHICLE", "ARTICULATED_BUS": "VEHICLE",
        "VEHICULAR_TRAILER": "VEHICLE", "MESSAGE_BOARD_TRAILER": "VEHICLE", "TRAFFIC_LIGHT_TRAILER": "VEHICLE",
        "MOTORCYCLE": "VEHICLE", "BICYCLIST": "CYCLIST", "PEDESTRIAN": "PEDESTRIAN",
        "OFFICIAL_SIGNALER": "PEDESTRIAN", "SIGN": "SIGN", "STOP_SIGN": "SIGN",
    },
    ("argoverse2", "kitti"): {
        "REGULAR_VEHICLE": "Car", "BOX_TRUCK": "Truck", "TRUCK": "Truck", "TRUCK_CAB": "Truck",
        "VEHICULAR_TRAILER": "Misc", "BICYCLIST": "Cyclist", "PEDESTRIAN": "Pedestrian",
        "OFFICIAL_SIGNALER": "Pedestrian", "RAILED_VEHICLE": "Tram",
    },
    ("waymo", "nuscenes"): {"VEHICLE": "car", "PEDESTRIAN": "pedestrian", "CYCLIST": "bicycle"},
    ("waymo", "argoverse2"): {
        "VEHICLE": "REGULAR_VEHICLE", "PEDESTRIAN": "PEDESTRIAN", "CYCLIST": "BICYCLIST", "SIGN": "SIGN",
    },
    ("waymo", "kitti"): {"VEHICLE": "Car", "PEDESTRIAN": "Pedestrian", "CYCLIST": "Cyclist"},
    ("kitti", "nuscenes"): {
        "Car": "car", "Van": "car", "Truck": "truck", "Pedestrian": "pedestrian", "Person_sitting": "pedestrian",
        "Cyclist": "bicycle",
    },
    ("kitti", "argoverse2"): {
        "Car": "REGULAR_VEHICLE", "Van": "REGULAR_VEHICLE", "Truck": "TRUCK", "Pedestrian": "PEDESTRIAN",
        "Person_sitting": "PEDESTRIAN", "Cyclist": "BICYCLIST", "Tram": "RAILED_VEHICLE",
    },
    ("kitti", "waymo"): {
        "Car": "VEHICLE", "Van": "VEHICLE", "Truck": "VEHICLE", "Pedestrian": "PEDESTRIAN",
        "Person_sitting": "PEDESTRIAN", "Cyclist": "CYCLIST",
    },
}


def partners_of(
    own: str, other: str, own_classes: Sequence[str], other_classes: Sequence[str],
    changes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Classes of a format by those of another that become them; classes without a partner are absent.

    Args:
        own: format of the classes that there are.
        other: format of the classes that are wanted.
        own_classes: names of the first.
        other_classes: names of the second.
        changes: partners that go before those of the table; "" takes one away.

    Raises:
        ConfigError: a change names a class that its format does not have (the nearest name is suggested).
    """
    table = {name: name for name in own_classes} if own == other else dict(PARTNERS[own, other])
    for name, partner in (changes or {}).items():
        _check_class(own, name, own_classes)
        if partner:
            _check_class(other, partner, other_classes)
            table[name] = partner
        else:
            table.pop(name, None)
    return table


def _check_class(format_name: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        hint = suggestion(name, known)
        raise ConfigError(f'{format_name} has no class "{name}"{hint}; it has {", ".join(known)}')

"""Protobuf messages of the Waymo Open Dataset: LiDAR and camera frames, results, motion scenarios, maps.

The message types are built from the table below when this module is imported, in a descriptor pool of their own, so
they neither clash with those of an installed Waymo package nor need files generated for one version of protobuf.
Numbers and names of the fields are the published ones (package ``waymo.open_dataset``); enumerations are read as
whole numbers, which keeps values that are not known here; `perception.datasets.waymo.names` names the known ones.
Fields that the table lacks are kept by protobuf and written back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ...errors import DataError

PACKAGE = "waymo.open_dataset"

# Message { field type number; ... }: a type with * is repeated, with ** repeated and written packed; "= value" is a
# default, "| name" a oneof. Keypoints are left as the bytes that they are.
_TABLE = """
Transform { transform double* 1 }
Vector3d { x double 1; y double 2; z double 3 }
MatrixShape { dims int32* 1 }
MatrixFloat { data float** 1; shape MatrixShape 2 }
MatrixInt32 { data int32** 1; shape MatrixShape 2 }

Frame { context Context 1; timestamp_micros int64 2; pose Transform 3; images CameraImage* 4; lasers Laser* 5;
    laser_labels Label* 6; no_label_zones Polygon2d* 7; camera_labels CameraLabels* 8;
    projected_lidar_labels CameraLabels* 9; map_features MapFeature* 10; map_pose_offset Vector3d 11 }
Context { name string 1; camera_calibrations CameraCalibration* 2; laser_calibrations LaserCalibration* 3;
    stats Stats 4 }
Stats { laser_object_counts ObjectCount* 1; time_of_day string 2; location string 3; weather string 4;
    camera_object_counts ObjectCount* 5 }
ObjectCount { type int32 1; count int32 2 }
CameraCalibration { name int32 1; intrinsic double* 2; extrinsic Transform 3; width int32 4; height int32 5;
    rolling_shutter_direction int32 6 }
LaserCalibration { name int32 1; beam_inclinations double* 2; beam_inclination_min double 3;
    beam_inclination_max double 4; extrinsic Transform 5 }
CameraImage { name int32 1; image bytes 2; pose Transform 3; velocity Velocity 4; pose_timestamp double 5;
    shutter double 6; camera_trigger_time double 7; camera_readout_done_time double 8;
    camera_segmentation_label CameraSegmentationLabel 10 }
Velocity { v_x float 1; v_y float 2; v_z float 3; w_x double 4; w_y double 5; w_z double 6 }
CameraSegmentationLabel { panoptic_label_divisor int32 1; panoptic_label bytes 2;
    instance_id_to_global_id_mapping InstanceIdMapping* 3; sequence_id string 4; num_cameras_covered bytes 5 }
InstanceIdMapping { local_instance_id int32 1; global_instance_id int32 2; is_tracked bool 3 }
Laser { name int32 1; ri_return1 RangeImage 2; ri_return2 RangeImage 3 }
RangeImage { range_image MatrixFloat 1; range_image_compressed bytes 2; camera_projection_compressed bytes 3;
    range_image_pose_compressed bytes 4; range_image_flow_compressed bytes 5; segmentation_label_compressed bytes 6 }

Label { box Box 1; metadata Metadata 2; type int32 3; id string 4; detection_difficulty_level int32 5;
    tracking_difficulty_level int32 6; num_lidar_points_in_box int32 7; laser_keypoints bytes 8;
    camera_keypoints bytes 9; association Association 10; most_visible_camera_name string 11;
    camera_synced_box Box 12; num_top_lidar_points_in_box int32 13 }
Box { center_x double 1; center_y double 2; center_z double 3; width double 4; length double 5; height double 6;
    heading double 7 }
Metadata { speed_x double 1; speed_y double 2; accel_x double 3; accel_y double 4; speed_z double 5;
    accel_z double 6 }
Association { laser_object_id string 1 }
CameraLabels { name int32 1; labels Label* 2 }
Polygon2d { x double* 1; y double* 2; id string 3 }

Objects { objects Object* 1; no_label_zone_objects Object* 2 }
Object { object Label 1; score float 2 = 1.0; overlap_with_nlz bool 3; context_name string 4;
    frame_timestamp_micros int64 5; camera_name int32 6 }
SegmentationFrameList { frames SegmentationFrame* 1 }
SegmentationFrame { segmentation_labels Laser* 1; context_name string 2; frame_timestamp_micros int64 3 }

MapFeature { id int64 1; lane LaneCenter 3 | feature_data; road_line RoadLine 4 | feature_data;
    road_edge RoadEdge 5 | feature_data; stop_sign StopSign 7 | feature_data; crosswalk Crosswalk 8 | feature_data;
    speed_bump SpeedBump 9 | feature_data; driveway Driveway 10 | feature_data }
MapPoint { x double 1; y double 2; z double 3 }
LaneCenter { speed_limit_mph double 1; type int32 2; interpolating bool 3; polyline MapPoint* 8; entry_lanes int64** 9;
    exit_lanes int64** 10; left_neighbors LaneNeighbor* 11; right_neighbors LaneNeighbor* 12;
    left_boundaries BoundarySegment* 13; right_boundaries BoundarySegment* 14 }
LaneNeighbor { feature_id int64 1; self_start_index int32 2; self_end_index int32 3; neighbor_start_index int32 4;
    neighbor_end_index int32 5; boundaries BoundarySegment* 6 }
BoundarySegment { lane_start_index int32 1; lane_end_index int32 2; boundary_feature_id int64 3;
    boundary_type int32 4 }
RoadLine { type int32 1; polyline MapPoint* 2 }
RoadEdge { type int32 1; polyline MapPoint* 2 }
StopSign { lane int64* 1; position MapPoint 2 }
Crosswalk { polygon MapPoint* 1 }
SpeedBump { polygon MapPoint* 1 }
Driveway { polygon MapPoint* 1 }

Scenario { timestamps_seconds double* 1; tracks Track* 2; objects_of_interest int32* 4; scenario_id string 5;
    sdc_track_index int32 6; dynamic_map_states DynamicMapState* 7; map_features MapFeature* 8;
    current_time_index int32 10; tracks_to_predict RequiredPrediction* 11 }
Track { id int32 1; object_type int32 2; states ObjectState* 3 }
ObjectState { center_x double 2; center_y double 3; center_z double 4; length float 5; width float 6; height float 7;
    heading float 8; velocity_x float 9; velocity_y float 10; valid bool 11 }
DynamicMapState { lane_states TrafficSignalLaneState* 1 }
TrafficSignalLaneState { lane int64 1; state int32 2; stop_point MapPoint 3 }
RequiredPrediction { track_index int32 1; difficulty int32 2 }
"""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE, "float": _Field.TYPE_FLOAT, "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES,
}


def _file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="perception/waymo.proto", package=PACKAGE, syntax="proto2")
    for entry in _TABLE.split("}")[:-1]:
        name, fields = entry.split("{")
        message = file.message_type.add(name=name.strip())
        for line in fields.split(";"):
            _add_field(message, line)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, line: str) -> None:
    line, _, group = line.partition("|")
    line, _, default = line.partition("=")
    name, kind, number = line.split()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind.endswith("*"):
        field.label = _Field.LABEL_REPEATED
        if kind.endswith("**"):
            field.options.packed = True
    kind = kind.rstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    if default:
        field.default_value = default.strip()
    if group:
        if not message.oneof_decl:
            message.oneof_decl.add(name=group.strip())
        field.oneof_index = 0


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_file_descriptor().SerializeToString())


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Frame = _message_class("Frame")
Context = _message_class("Context")
CameraCalibration = _message_class("CameraCalibration")
LaserCalibration = _message_class("LaserCalibration")
CameraImage = _message_class("CameraImage")
CameraSegmentationLabel = _message_class("CameraSegmentationLabel")
Laser = _message_class("Laser")
RangeImage = _message_class("RangeImage")
MatrixShape = _message_class("MatrixShape")
MatrixFloat = _message_class("MatrixFloat")
MatrixInt32 = _message_class("MatrixInt32")
Label = _message_class("Label")
Object = _message_class("Object")
Objects = _message_class("Objects")
SegmentationFrame = _message_class("SegmentationFrame")
SegmentationFrameList = _message_class("SegmentationFrameList")
MapFeature = _message_class("MapFeature")
Scenario = _message_class("Scenario")


def parse_message(message_class: Any, payload: bytes, place: Path | str) -> Any:
    """A message out of its bytes.

    Args:
        message_class: one of the classes of this module.
        payload: the bytes.
        place: the file, or another name of where they come from, for the error.

    Raises:
        DataError: the bytes are no such message.
    """
    try:
        return message_class.FromString(payload)
    except DecodeError as error:
        name = message_class.DESCRIPTOR.name
        raise DataError(place, "message", f"a serialized {name}", f"{len(payload)} other bytes ({error})") from error

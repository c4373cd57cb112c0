// Whether a point lies in a box that stands upright and is turned about the vertical axis.
#pragma once

#include <cmath>

#include "common/host_device.hpp"
#include "common/turn.hpp"

namespace perception {

// As a row of boxes lies in memory: gravity centre and sizes in metres, yaw in radians counter-clockwise.
struct UprightBox {
    float x, y, z, length, width, height, yaw;
};

// A box with what each of its points asks for.
struct PlacedUprightBox {
    float x, y, z, half_length, half_width, half_height, cos, sin;
};

PERCEPTION_HD inline PlacedUprightBox placed(const UprightBox& box, Turn turn) {
    return {box.x, box.y, box.z, box.length / 2, box.width / 2, box.height / 2, turn.cos, turn.sin};
}

// Faces belong to the box; a NaN lies nowhere.
PERCEPTION_HD inline bool holds(const PlacedUprightBox& box, float px, float py, float pz) {
    const float x = px - box.x, y = py - box.y, z = pz - box.z;
    const float along = box.cos * x + box.sin * y, across = box.cos * y - box.sin * x;
    return (fabsf(along) <= box.half_length) & (fabsf(across) <= box.half_width) & (fabsf(z) <= box.half_height);
}

}  // namespace perception

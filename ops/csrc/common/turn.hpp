// An angle by its cosine and sine. The caller brings them, since every library rounds its own: with torch's, kernels
// and references turn boxes alike, and decide alike at a threshold.
#pragma once

namespace perception {

struct Turn {
    float cos, sin;
};

}  // namespace perception

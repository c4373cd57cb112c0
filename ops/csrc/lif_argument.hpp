// The sequences of spiking neurons from the arrays that Python gives.
#pragma once

#include "common/lif.hpp"

namespace perception {

template <typename Cube, typename Table>
LifSequences lif_sequences(const Cube& x, const Table& membrane, float threshold) {
    const auto size = [&](size_t axis) { return static_cast<int64_t>(x.shape(axis)); };
    return {x.data(), membrane.data(), size(0), size(1), size(2), threshold};
}

}  // namespace perception

// A selective scan's input from the arrays that Python gives.
#pragma once

#include <optional>

#include "common/selective_scan.hpp"

namespace perception {

template <typename Cube, typename Table, typename GroupRows, typename Row>
ScanInput scan_input(const Cube& u, const Cube& delta, const Table& a, const GroupRows& b, const GroupRows& c,
                     const Cube& initial, const std::optional<Row>& bias, bool softplus) {
    const auto size = [](size_t count) { return static_cast<int64_t>(count); };
    return {u.data(), delta.data(), a.data(), b.data(), c.data(), initial.data(), bias ? bias->data() : nullptr,
            softplus,
            {size(u.shape(0)), size(u.shape(1)), size(b.shape(1)), size(a.shape(1)), size(u.shape(2))}};
}

}  // namespace perception

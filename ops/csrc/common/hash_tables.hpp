// Tables that are read by code, and the codes and scores that read them.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

// K tables of R rows of C numbers, one below the other.
template <typename T>
struct HashTables {
    const T* data;
    int64_t each, channels;  // R, C

    PERCEPTION_HD int64_t row(int64_t table, int64_t code) const { return table * each + code; }
    PERCEPTION_HD const T* at(int64_t table, int64_t code) const { return data + row(table, code) * channels; }
};

// scores and codes (M, K).
template <typename T>
struct HashHits {
    const T* scores;
    const int64_t* codes;
    int64_t tokens, tables;  // M, K

    PERCEPTION_HD int64_t count() const { return tokens * tables; }
};

}  // namespace perception

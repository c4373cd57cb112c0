// Tensors of the decode attention and of the hash tables as their kernels take them, on the CPU or on a device.
#pragma once

#include <nanobind/ndarray.h>

#include <optional>

#include "common/decode_input.hpp"
#include "common/hash_tables.hpp"
#include "common/stream_k.hpp"

namespace perception {

template <typename T, typename Device>
using DecodeArray = nanobind::ndarray<T, nanobind::ndim<4>, Device>;  // in any memory order

template <typename Array>
auto memory_rows(const Array& rows) {
    return MemoryRows<std::remove_const_t<typename Array::Scalar>>{rows.data(), rows.stride(0), rows.stride(1),
                                                                   rows.stride(2)};
}

template <typename Queries, typename Rows, typename Lengths, typename Mask>
auto decode_input(const Queries& q, const Rows& k, const Rows& v, const std::optional<Lengths>& lengths,
                  const std::optional<Mask>& mask, double scale) {
    constexpr double log2_e = 1.4426950408889634;
    DecodeMask seen{};
    if (mask) seen = {mask->data(), {mask->stride(0), mask->stride(1), mask->stride(2), mask->stride(3)}};
    const auto size = [](size_t number) { return static_cast<int64_t>(number); };
    return DecodeInput<std::remove_const_t<typename Queries::Scalar>>{
        q.data(), memory_rows(k), memory_rows(v), lengths ? lengths->data() : nullptr, seen, size(k.shape(1)),
        size(q.shape(1) / k.shape(1)), size(q.shape(2)), size(k.shape(2)), size(q.shape(3)),
        static_cast<float>(scale * log2_e)};
}

template <typename Starts>
TileLine tile_line(const Starts& starts, int64_t key_heads) {
    return {starts.data(), static_cast<int64_t>(starts.shape(0)) - 1, key_heads};
}

template <typename T, typename Scores, typename Codes>
HashHits<T> hash_hits(const Scores& scores, const Codes& codes) {
    return {scores.data(), codes.data(), static_cast<int64_t>(codes.shape(0)), static_cast<int64_t>(codes.shape(1))};
}

template <typename T, typename Tables>
HashTables<T> hash_tables(const Tables& tables, int64_t number) {
    return {tables.data(), static_cast<int64_t>(tables.shape(0)) / number, static_cast<int64_t>(tables.shape(1))};
}

}  // namespace perception

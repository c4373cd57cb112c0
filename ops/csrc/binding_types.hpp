// How nanobind sees our 16-bit numbers.
#pragma once

#include <nanobind/ndarray.h>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"

template <>
struct nanobind::detail::dtype_traits<perception::Bfloat16> {
    static constexpr dlpack::dtype value{static_cast<uint8_t>(dlpack::dtype_code::Bfloat), 16, 1};
    static constexpr auto name = const_name("bfloat16");
};

template <>
struct nanobind::detail::dtype_traits<perception::Float16> {
    static constexpr dlpack::dtype value{static_cast<uint8_t>(dlpack::dtype_code::Float), 16, 1};
    static constexpr auto name = const_name("float16");
};

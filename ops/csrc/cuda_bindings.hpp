#pragma once

#include <nanobind/nanobind.h>

namespace perception::cuda {

// Adds the device kernels to a module: to _native.cuda, which takes tensors of a GPU, and to the tests' _emulated, where
// the same kernels run on the host and take tensors of the CPU.
void define_kernels(nanobind::module_& m);

}  // namespace perception::cuda

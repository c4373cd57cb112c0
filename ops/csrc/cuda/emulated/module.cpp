// The tests' module of emulated kernels.
#include "cuda_bindings.hpp"
#include "execution.hpp"

NB_MODULE(_emulated, m) {
    m.doc() = "The device kernels of perception_ops, executed on the host.";
    m.def("set_order_seed", &perception::cuda::emulation::set_order_seed,
          "Shuffle blocks and threads by this seed from the next launch on; 0 is index order.");
    perception::cuda::define_kernels(m);
}

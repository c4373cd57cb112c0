// Executes a launch on the host: the blocks of a grid one after another, the threads of a block as fibers.
//
// A thread runs until it ends or waits at a barrier or a warp operation; then another one of its block does. Blocks and
// threads run in index order, or shuffled by a seed (set_order_seed, or PERCEPTION_EMULATION_SEED in the environment), so
// that a result which depends on the order, as after a missing barrier, differs between seeds: in half of the blocks
// warps go on by turns, in the others mostly one of them as far as it can. Shared memory holds the byte 0xCD when a block
// begins. What the hardware leaves undefined (a barrier that not all threads reach, a shuffle from a lane that does not
// take part) ends the launch with LaunchError, which names kernel, block, thread and place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>

// CUDA's own names for what every thread can read.
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
inline constinit thread_local dim3 threadIdx{}, blockIdx{}, blockDim{}, gridDim{};

namespace perception::cuda::emulation {

using Place = std::source_location;

struct LaunchError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// 0 is index order.
void set_order_seed(uint64_t seed);

struct Launch {
    const char* kernel;  // its name
    dim3 grid, block;
    size_t dynamic_shared_bytes;
    void (*thread)(const void* arguments);  // one thread's work
    const void* arguments;
};
void run(const Launch& launch);

// What follows is called by a running thread.

// The block's array of a declaration, which `site` tells from others; the first thread to come brings it about.
void* shared_array(const void* site, size_t bytes, size_t alignment);
void* dynamic_shared();
bool is_shared(const void* memory, size_t bytes);

void block_barrier(const Place& at);

// An operation of the warp's lanes in `mask`: when all have come, finish(operands, mask) runs once, where operands[i] is
// what lane i brought, or null if lane i takes no part. It may call fail().
struct WarpOperation {
    const char* name;
    uint32_t mask;
    void* operand;
    void (*finish)(void* const* operands, uint32_t mask);
};
void warp_operation(const WarpOperation& operation, const Place& at);

// Copies `bytes` of 16 and fills up with zeros, when the thread waits for it: as late as the hardware may. close_copies()
// ends a group; wait_for_copies() leaves out the last `open_groups` of those that have ended.
void copy_later(void* to, const void* from, size_t bytes);
void close_copies();
void wait_for_copies(int open_groups);

[[noreturn]] void fail(const std::string& what);

}  // namespace perception::cuda::emulation

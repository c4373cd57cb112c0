#include "execution.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "block.hpp"

namespace perception::cuda::emulation {
namespace {

uint64_t seed_of_environment() {
    const char* seed = std::getenv("PERCEPTION_EMULATION_SEED");
    return seed ? std::strtoull(seed, nullptr, 10) : 0;
}

uint64_t order_seed = seed_of_environment();
std::mutex one_launch_at_a_time;
Block* running = nullptr;

void check_limits(const Launch& launch) {
    const dim3 &grid = launch.grid, &block = launch.block;
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64 || grid.x > 0x7FFFFFFFu || grid.y > 0xFFFFu ||
        grid.z > 0xFFFFu) {
        throw LaunchError(std::string(launch.kernel) + ": no device takes grid " + text(grid) + " of blocks " +
                          text(block));
    }
    if (launch.dynamic_shared_bytes > max_shared_bytes) {
        throw LaunchError(std::string(launch.kernel) + ": " + std::to_string(launch.dynamic_shared_bytes) +
                          " bytes of shared memory are more than 99 KiB");
    }
}

std::vector<size_t> block_numbers(const dim3& grid, Order& order) {
    std::vector<size_t> numbers(size_t{grid.x} * grid.y * grid.z);
    std::iota(numbers.begin(), numbers.end(), size_t{0});
    for (size_t left = numbers.size(); order.is_shuffled() && left > 1; --left) {
        std::swap(numbers[left - 1], numbers[order.below(left)]);
    }
    return numbers;
}

}  // namespace

void set_order_seed(uint64_t seed) { order_seed = seed; }

void run(const Launch& launch) {
    check_limits(launch);
    const std::lock_guard<std::mutex> alone(one_launch_at_a_time);
    static Block::Fibers idle_fibers;
    Order order(order_seed);
    gridDim = launch.grid;
    blockDim = launch.block;
    for (const size_t number : block_numbers(launch.grid, order)) {
        const size_t row = number / launch.grid.x;
        const dim3 index(static_cast<unsigned>(number % launch.grid.x), static_cast<unsigned>(row % launch.grid.y),
                         static_cast<unsigned>(row / launch.grid.y));
        Block block(launch, index, order, idle_fibers);
        running = &block;
        block.run();
    }
}

void* shared_array(const void* site, size_t bytes, size_t alignment) {
    void* memory = running->shared().array(site, bytes, alignment);
    if (memory == nullptr) fail("more than 48 KiB of static or more than 99 KiB of shared memory in all");
    return memory;
}

void* dynamic_shared() { return running->shared().dynamic(); }

bool is_shared(const void* memory, size_t bytes) { return running->shared().holds(memory, bytes); }

void block_barrier(const Place& at) { running->wait_at_barrier(at); }

void warp_operation(const WarpOperation& operation, const Place& at) { running->join(operation, at); }

void copy_later(void* to, const void* from, size_t bytes) {
    auto& groups = running->current().copies;
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back({to, from, bytes});
}

void close_copies() {
    auto& groups = running->current().copies;
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back();
}

void wait_for_copies(int open_groups) {
    auto& groups = running->current().copies;
    while (groups.size() > static_cast<size_t>(open_groups) + 1) {
        for (const Copy& copy : groups.front()) {
            std::memcpy(copy.to, copy.from, copy.bytes);
            std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, 16 - copy.bytes);
        }
        groups.erase(groups.begin());
    }
}

void fail(const std::string& what) { running->fail(what); }

}  // namespace perception::cuda::emulation

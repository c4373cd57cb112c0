#include "execution.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "fiber.hpp"
#include "shared_memory.hpp"

namespace perception::cuda::emulation {
namespace {

constexpr unsigned warp_size = 32, max_threads = 1024;

std::string text(const dim3& at) {
    return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

std::string text(const Place& at) { return std::string(at.file_name()) + ":" + std::to_string(at.line()); }

bool is_same(const Place& a, const Place& b) {
    if (a.line() != b.line() || a.column() != b.column()) return false;
    return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

// Numbers for shuffling; seed 0 leaves the order alone.
class Order {
public:
    explicit Order(uint64_t seed) : state_(seed) {}

    bool is_shuffled() const { return state_ != 0; }

    // Uniform enough in [0, count).
    size_t below(size_t count) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return static_cast<size_t>((state_ >> 16) % count);
    }

private:
    uint64_t state_;
};

uint64_t seed_of_environment() {
    const char* seed = std::getenv("PERCEPTION_EMULATION_SEED");
    return seed ? std::strtoull(seed, nullptr, 10) : 0;
}

uint64_t order_seed = seed_of_environment();
std::mutex one_launch_at_a_time;

struct Copy {
    void* to;
    const void* from;
    size_t bytes;
};

struct Thread {
    dim3 index;
    unsigned number = 0;  // within the block
    Fiber* fiber = nullptr;
    bool ended = false;
    const char* waits_in = nullptr;  // an operation, or null while it can run
    Place waits_at{};
    std::vector<std::vector<Copy>> groups;  // asynchronous copies; the last group is open

    unsigned warp() const { return number / warp_size; }
    unsigned lane() const { return number % warp_size; }
    uint32_t bit() const { return 1u << lane(); }
};

struct Gathering {  // lanes on their way to a warp operation
    WarpOperation operation;
    Place at;
    uint32_t wanted, arrived = 0;
    std::array<void*, warp_size> operands{};
};

class Block {
public:
    Block(const Launch& launch, dim3 index, Order& order, std::vector<std::unique_ptr<Fiber>>& fibers)
        : launch_(launch), index_(index), order_(order), fibers_(fibers), shared_(launch.dynamic_shared_bytes) {
        threads_.resize(size_t{launch.block.x} * launch.block.y * launch.block.z);
        for (unsigned i = 0; i < threads_.size(); ++i) {
            const unsigned row = i / launch.block.x;
            threads_[i].index = dim3(i % launch.block.x, row % launch.block.y, row / launch.block.y);
            threads_[i].number = i;
            runnable_.push_back(&threads_[i]);
        }
        gatherings_.resize((threads_.size() + warp_size - 1) / warp_size);
    }

    ~Block() {
        for (Thread& thread : threads_) delete thread.fiber;  // left behind by an error
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    void run() {
        blockIdx = index_;
        while (!runnable_.empty()) {
            go_on(next());
            if (!error_.empty()) break;
        }
        if (error_.empty() && ended_ < threads_.size()) error_ = "threads wait for others that never come";
        if (!error_.empty()) throw LaunchError(report());
    }

    Thread& current() { return *current_; }
    SharedMemory& shared() { return shared_; }

    void wait_at_barrier(const Place& at) {
        if (ended_ > 0) fail(text(at) + ": __syncthreads() after " + std::to_string(ended_) + " threads have ended");
        if (at_barrier_.empty()) {
            barrier_ = at;
        } else if (!is_same(*barrier_, at)) {
            fail(text(at) + ": __syncthreads() while other threads wait at " + text(*barrier_));
        }
        at_barrier_.push_back(current_);
        wait_in("__syncthreads()", at);
        if (at_barrier_.size() == threads_.size()) release(at_barrier_);
        current_->fiber->suspend();
    }

    void join(const WarpOperation& operation, const Place& at) {
        const uint32_t bit = current_->bit();
        if ((operation.mask & bit) == 0) fail(named(operation, at) + ": the mask lacks the calling lane");
        Gathering& here = gathering(operation, at);
        here.arrived |= bit;
        here.operands[current_->lane()] = operation.operand;
        wait_in(operation.name, at);
        if (here.arrived == here.wanted) finish(here);
        current_->fiber->suspend();
    }

    [[noreturn]] void fail(const std::string& what) {
        error_ = what + ", in thread " + text(current_->index);
        for (;;) current_->fiber->suspend();  // the launch is over; nobody comes back
    }

private:
    Thread& next() {
        const size_t at = order_.is_shuffled() ? order_.below(runnable_.size()) : 0;
        if (at > 0) std::swap(runnable_[at], runnable_.front());
        Thread* thread = runnable_.front();
        runnable_.pop_front();
        return *thread;
    }

    void go_on(Thread& thread) {
        current_ = &thread;
        threadIdx = thread.index;
        if (thread.fiber == nullptr) {
            thread.fiber = take_fiber();
            thread.fiber->start([](void* launch) {
                const auto* of = static_cast<const Launch*>(launch);
                of->thread(of->arguments);
            }, const_cast<Launch*>(&launch_));
        } else {
            thread.fiber->resume();
        }
        if (error_.empty() && thread.fiber->is_idle()) end(thread);
    }

    void end(Thread& thread) {
        fibers_.emplace_back(thread.fiber);
        thread.fiber = nullptr;
        thread.ended = true;
        ++ended_;
        for (const Gathering& open : gatherings_[thread.warp()]) {
            if (open.wanted & thread.bit()) error_ = named(open.operation, open.at) + ": a lane of its mask has ended";
        }
        if (!at_barrier_.empty()) {
            error_ = text(*barrier_) + ": __syncthreads() is not reached by thread " + text(thread.index);
        }
    }

    Fiber* take_fiber() {
        if (fibers_.empty()) fibers_.push_back(std::make_unique<Fiber>());
        Fiber* fiber = fibers_.back().release();
        fibers_.pop_back();
        return fiber;
    }

    void wait_in(const char* operation, const Place& at) {
        current_->waits_in = operation;
        current_->waits_at = at;
    }

    void release(std::vector<Thread*>& waiting) {
        for (Thread* thread : waiting) make_runnable(*thread);
        waiting.clear();
    }

    void make_runnable(Thread& thread) {
        thread.waits_in = nullptr;
        runnable_.push_back(&thread);
    }

    static std::string named(const WarpOperation& operation, const Place& at) {
        return text(at) + ": " + operation.name;
    }

    // The open gathering that the operation belongs to, or a new one.
    Gathering& gathering(const WarpOperation& operation, const Place& at) {
        auto& open = gatherings_[current_->warp()];
        for (Gathering& other : open) {
            if ((other.operation.mask & operation.mask) == 0) continue;
            if (other.operation.mask == operation.mask && is_same(other.at, at)) return other;
            fail(named(operation, at) + ": lanes of its mask wait in " + named(other.operation, other.at));
        }
        const unsigned first = current_->warp() * warp_size;
        uint32_t exist = 0;
        for (unsigned i = first; i < std::min<size_t>(first + warp_size, threads_.size()); ++i) {
            exist |= threads_[i].bit();
            if (threads_[i].ended && (operation.mask & threads_[i].bit())) {
                fail(named(operation, at) + ": a lane of its mask has ended");
            }
        }
        open.push_back({operation, at, operation.mask & exist});
        return open.back();
    }

    void finish(Gathering& here) {
        here.operation.finish(here.operands.data(), here.arrived);
        auto& open = gatherings_[current_->warp()];
        for (unsigned lane = 0; lane < warp_size; ++lane) {
            if (here.arrived >> lane & 1) make_runnable(threads_[current_->warp() * warp_size + lane]);
        }
        open.erase(open.begin() + (&here - open.data()));
    }

    std::string report() const {
        std::string all = std::string(launch_.kernel) + ", block " + text(index_) + ": " + error_;
        for (const Thread& thread : threads_) {
            if (thread.waits_in == nullptr) continue;
            return all + "; thread " + text(thread.index) + " waits in " + thread.waits_in + " at " +
                   text(thread.waits_at);
        }
        return all;
    }

    const Launch& launch_;
    dim3 index_;
    Order& order_;
    std::vector<std::unique_ptr<Fiber>>& fibers_;  // idle ones
    SharedMemory shared_;
    std::vector<Thread> threads_;
    std::deque<Thread*> runnable_;
    std::vector<Thread*> at_barrier_;
    std::optional<Place> barrier_;
    std::vector<std::vector<Gathering>> gatherings_;  // of each warp
    Thread* current_ = nullptr;
    size_t ended_ = 0;
    std::string error_;
};

Block* running = nullptr;  // launches come one at a time

void check_limits(const Launch& launch) {
    const dim3 &grid = launch.grid, &block = launch.block;
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > max_threads || block.z > 64 || grid.x > 0x7FFFFFFFu || grid.y > 0xFFFFu ||
        grid.z > 0xFFFFu) {
        throw LaunchError(std::string(launch.kernel) + ": no device takes grid " + text(grid) + " of blocks " +
                          text(block));
    }
    if (launch.dynamic_shared_bytes > max_shared_bytes) {
        throw LaunchError(std::string(launch.kernel) + ": " + std::to_string(launch.dynamic_shared_bytes) +
                          " bytes of shared memory are more than 99 KiB");
    }
}

}  // namespace

void set_order_seed(uint64_t seed) { order_seed = seed; }

void run(const Launch& launch) {
    check_limits(launch);
    const std::lock_guard<std::mutex> alone(one_launch_at_a_time);
    static std::vector<std::unique_ptr<Fiber>> idle_fibers;
    Order order(order_seed);
    std::vector<size_t> blocks(size_t{launch.grid.x} * launch.grid.y * launch.grid.z);
    std::iota(blocks.begin(), blocks.end(), size_t{0});
    for (size_t left = blocks.size(); order.is_shuffled() && left > 1; --left) {
        std::swap(blocks[left - 1], blocks[order.below(left)]);
    }
    gridDim = launch.grid;
    blockDim = launch.block;
    for (const size_t at : blocks) {
        const size_t row = at / launch.grid.x;
        const dim3 index(static_cast<unsigned>(at % launch.grid.x), static_cast<unsigned>(row % launch.grid.y),
                         static_cast<unsigned>(row / launch.grid.y));
        Block block(launch, index, order, idle_fibers);
        running = &block;
        block.run();
    }
    running = nullptr;
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
    auto& groups = running->current().groups;
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back({to, from, bytes});
}

void close_copies() {
    auto& groups = running->current().groups;
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back();
}

void wait_for_copies(int open_groups) {
    auto& groups = running->current().groups;
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

// The threads of one block, which take turns until all have ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "execution.hpp"
#include "fiber.hpp"
#include "shared_memory.hpp"

namespace perception::cuda::emulation {

inline constexpr unsigned warp_size = 32;

std::string text(const dim3& at);

// Numbers to shuffle by; seed 0 leaves the order alone.
class Order {
public:
    explicit Order(uint64_t seed) : state_(seed) {}

    bool is_shuffled() const { return state_ != 0; }
    size_t below(size_t count);  // uniform enough in [0, count)

private:
    uint64_t state_;
};

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
    std::vector<std::vector<Copy>> copies;  // asynchronous ones in groups, the last of which is open

    unsigned warp() const { return number / warp_size; }
    unsigned lane() const { return number % warp_size; }
    uint32_t bit() const { return 1u << lane(); }
};

class Block {
public:
    using Fibers = std::vector<std::unique_ptr<Fiber>>;

    // Takes idle fibers from `fibers` and gives them back.
    Block(const Launch& launch, dim3 index, Order& order, Fibers& fibers);
    ~Block();
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    // Raises LaunchError where the threads do what the hardware leaves undefined.
    void run();

    // For the running thread:
    Thread& current() { return *current_; }
    SharedMemory& shared() { return shared_; }
    void wait_at_barrier(const Place& at);
    void join(const WarpOperation& operation, const Place& at);
    [[noreturn]] void fail(const std::string& what);

private:
    struct Gathering {  // lanes on their way to a warp operation
        WarpOperation operation;
        Place at;
        uint32_t wanted, arrived = 0;
        std::array<void*, warp_size> operands{};
    };

    Thread& next();
    void go_on(Thread& thread);
    void end(Thread& thread);
    Fiber* take_fiber();
    void wait_in(const char* operation, const Place& at);
    void make_runnable(Thread& thread);
    Gathering& gathering(const WarpOperation& operation, const Place& at);
    uint32_t lanes_of(const WarpOperation& operation, const Place& at);
    void finish(Gathering& here);
    std::string report() const;

    const Launch& launch_;
    dim3 index_;
    Order& order_;
    Fibers& fibers_;
    SharedMemory shared_;
    std::vector<Thread> threads_;
    std::deque<Thread*> runnable_;
    bool is_hasty_ = false;  // a warp goes on as far as it can before others do
    std::vector<Thread*> at_barrier_;
    std::optional<Place> barrier_;                    // where those wait
    std::vector<std::vector<Gathering>> gatherings_;  // of each warp
    Thread* current_ = nullptr;
    size_t ended_ = 0;
    std::string error_;
};

}  // namespace perception::cuda::emulation

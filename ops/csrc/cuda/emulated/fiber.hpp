// A stack of its own, on which a function runs until it steps aside and from where it goes on later.
#pragma once

#include <cstddef>

namespace perception::cuda::emulation {

class Fiber {
public:
    using Job = void (*)(void*);

    Fiber();
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Runs job(argument) on this stack until it ends or calls suspend(). The fiber must be idle.
    void start(Job job, void* argument);
    // Goes on behind the last suspend().
    void resume();
    // From inside the job: back to whoever called start() or resume().
    void suspend();
    // Whether the last job has ended.
    bool is_idle() const { return idle_; }

private:
    [[noreturn]] void run_jobs();
    [[noreturn]] static void enter(Fiber* fiber);
    void prepare();
    void switch_in();
    void switch_out();

    char* stack_;                     // lowest address; a page without access lies below
    void* place_ = nullptr;           // where this fiber stands while it does not run
    void* caller_ = nullptr;          // where its caller stands while it runs
    void* fake_stack_ = nullptr;      // AddressSanitizer's notes on both
    const void* caller_stack_ = nullptr;
    size_t caller_stack_bytes_ = 0;
    Job job_ = nullptr;
    void* argument_ = nullptr;
    bool idle_ = true;
};

}  // namespace perception::cuda::emulation

#include "fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace perception::cuda::emulation {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t stack_bytes = 256 << 10;  // instrumented frames are several times as large
#else
constexpr size_t stack_bytes = 64 << 10;
#endif

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

#if defined(__SANITIZE_ADDRESS__)
void announce_switch(void** fake_stack, const void* stack, size_t bytes) {
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
void finish_switch(void* fake_stack, const void** old_stack, size_t* old_bytes) {
    __sanitizer_finish_switch_fiber(fake_stack, old_stack, old_bytes);
}
void forget_frames(char* stack) { ASAN_UNPOISON_MEMORY_REGION(stack, stack_bytes); }
#else
void announce_switch(void**, const void*, size_t) {}
void finish_switch(void*, const void**, size_t*) {}
void forget_frames(char*) {}
#endif

}  // namespace

#if defined(__x86_64__)
// Saves what a callee must keep on the present stack, notes the stack's place in *leave, and goes on from `enter`.
// swapcontext would ask the kernel for the signal mask each time, which takes a hundred times as long.
extern "C" void perception_switch_stack(void** leave, void* enter);
asm(R"(
.text
.p2align 4
.hidden perception_switch_stack
.globl perception_switch_stack
.type perception_switch_stack, @function
perception_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size perception_switch_stack, .-perception_switch_stack
.hidden perception_enter_fiber
.globl perception_enter_fiber
.type perception_enter_fiber, @function
perception_enter_fiber:
    movq %r12, %rdi
    call *%r13
    ud2
.size perception_enter_fiber, .-perception_enter_fiber
)");
extern "C" void perception_enter_fiber();

void Fiber::prepare() {
    auto** top = reinterpret_cast<void**>(stack_ + stack_bytes);
    top -= 2;  // a return address that is never used, and the alignment a call expects
    *--top = reinterpret_cast<void*>(&perception_enter_fiber);
    *--top = nullptr;                                 // rbp
    *--top = nullptr;                                 // rbx
    *--top = this;                                    // r12
    *--top = reinterpret_cast<void*>(&Fiber::enter);  // r13
    *--top = nullptr;                                 // r14
    *--top = nullptr;                                 // r15
    place_ = top;
}

void Fiber::switch_in() { perception_switch_stack(&caller_, place_); }
void Fiber::switch_out() { perception_switch_stack(&place_, caller_); }
#else
namespace {

struct Contexts {
    ucontext_t fiber, caller;
};

Contexts& contexts(void* place) { return *static_cast<Contexts*>(place); }

}  // namespace

void Fiber::prepare() {
    place_ = new (stack_) Contexts{};  // at the far end of the stack
    ucontext_t& context = contexts(place_).fiber;
    getcontext(&context);
    context.uc_stack.ss_sp = stack_ + sizeof(Contexts);
    context.uc_stack.ss_size = stack_bytes - sizeof(Contexts);
    const auto bits = reinterpret_cast<uintptr_t>(this);
    void (*const entry)(unsigned, unsigned) = [](unsigned high, unsigned low) {
        enter(reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 16 << 16) | low));
    };
    makecontext(&context, reinterpret_cast<void (*)()>(entry), 2, static_cast<unsigned>(bits >> 16 >> 16),
                static_cast<unsigned>(bits));
}

void Fiber::switch_in() { swapcontext(&contexts(place_).caller, &contexts(place_).fiber); }
void Fiber::switch_out() { swapcontext(&contexts(place_).fiber, &contexts(place_).caller); }
#endif

Fiber::Fiber() {
    void* memory = mmap(nullptr, stack_bytes + page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, page_bytes(), PROT_NONE);
    stack_ = static_cast<char*>(memory) + page_bytes();
    prepare();
}

Fiber::~Fiber() {
    forget_frames(stack_);
    munmap(stack_ - page_bytes(), stack_bytes + page_bytes());
}

void Fiber::start(Job job, void* argument) {
    job_ = job;
    argument_ = argument;
    idle_ = false;
    resume();
}

void Fiber::resume() {
    void* fake_stack = nullptr;
    announce_switch(&fake_stack, stack_, stack_bytes);
    switch_in();
    finish_switch(fake_stack, nullptr, nullptr);
}

void Fiber::suspend() {
    announce_switch(&fake_stack_, caller_stack_, caller_stack_bytes_);
    switch_out();
    finish_switch(fake_stack_, &caller_stack_, &caller_stack_bytes_);
}

void Fiber::run_jobs() {
    finish_switch(nullptr, &caller_stack_, &caller_stack_bytes_);
    for (;;) {
        job_(argument_);
        idle_ = true;
        suspend();
    }
}

void Fiber::enter(Fiber* fiber) { fiber->run_jobs(); }

}  // namespace perception::cuda::emulation

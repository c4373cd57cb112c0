#include "block.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace perception::cuda::emulation {
namespace {

std::string text(const Place& at) { return std::string(at.file_name()) + ":" + std::to_string(at.line()); }

std::string text(const WarpOperation& operation, const Place& at) { return text(at) + ": " + operation.name; }

bool is_same(const Place& a, const Place& b) {
    if (a.line() != b.line() || a.column() != b.column()) return false;
    return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

}  // namespace

std::string text(const dim3& at) {
    return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

size_t Order::below(size_t count) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<size_t>((state_ >> 16) % count);
}

Block::Block(const Launch& launch, dim3 index, Order& order, Fibers& fibers)
    : launch_(launch), index_(index), order_(order), fibers_(fibers), shared_(launch.dynamic_shared_bytes) {
    threads_.resize(size_t{launch.block.x} * launch.block.y * launch.block.z);
    for (unsigned i = 0; i < threads_.size(); ++i) {
        const unsigned row = i / launch.block.x;
        threads_[i].index = dim3(i % launch.block.x, row % launch.block.y, row / launch.block.y);
        threads_[i].number = i;
        runnable_.push_back(&threads_[i]);
    }
    gatherings_.resize((threads_.size() + warp_size - 1) / warp_size);
    if (!order_.is_shuffled()) return;
    for (size_t left = runnable_.size(); left > 1; --left) {
        std::swap(runnable_[left - 1], runnable_[order_.below(left)]);
    }
    is_hasty_ = order_.below(2) == 0;
}

Block::~Block() {
    for (Thread& thread : threads_) delete thread.fiber;  // left behind by an error
}

void Block::run() {
    blockIdx = index_;
    while (!runnable_.empty() && error_.empty()) go_on(next());
    if (error_.empty() && ended_ < threads_.size()) error_ = "threads wait for others that never come";
    if (!error_.empty()) throw LaunchError(report());
}

void Block::wait_at_barrier(const Place& at) {
    if (ended_ > 0) fail(text(at) + ": __syncthreads() after " + std::to_string(ended_) + " threads have ended");
    if (at_barrier_.empty()) {
        barrier_ = at;
    } else if (!is_same(*barrier_, at)) {
        fail(text(at) + ": __syncthreads() while other threads wait at " + text(*barrier_));
    }
    at_barrier_.push_back(current_);
    wait_in("__syncthreads()", at);
    if (at_barrier_.size() == threads_.size()) {
        for (Thread* thread : at_barrier_) make_runnable(*thread);
        at_barrier_.clear();
    }
    current_->fiber->suspend();
}

void Block::join(const WarpOperation& operation, const Place& at) {
    if ((operation.mask & current_->bit()) == 0) fail(text(operation, at) + ": the mask lacks the calling lane");
    Gathering& here = gathering(operation, at);
    here.arrived |= current_->bit();
    here.operands[current_->lane()] = operation.operand;
    wait_in(operation.name, at);
    if (here.arrived == here.wanted) finish(here);
    current_->fiber->suspend();
}

void Block::fail(const std::string& what) {
    error_ = what + ", in thread " + text(current_->index);
    for (;;) current_->fiber->suspend();  // the launch is over; nobody comes back
}

Thread& Block::next() {
    if (is_hasty_ && order_.below(1024) != 0) {
        Thread* latest = runnable_.back();
        runnable_.pop_back();
        return *latest;
    }
    const size_t at = order_.is_shuffled() ? order_.below(runnable_.size()) : 0;
    std::swap(runnable_[at], runnable_.front());
    Thread* thread = runnable_.front();
    runnable_.pop_front();
    return *thread;
}

void Block::go_on(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.index;
    if (thread.fiber == nullptr) {
        thread.fiber = take_fiber();
        const auto job = [](void* launch) {
            const auto* of = static_cast<const Launch*>(launch);
            of->thread(of->arguments);
        };
        thread.fiber->start(job, const_cast<Launch*>(&launch_));
    } else {
        thread.fiber->resume();
    }
    if (error_.empty() && thread.fiber->is_idle()) end(thread);
}

void Block::end(Thread& thread) {
    fibers_.emplace_back(thread.fiber);
    thread.fiber = nullptr;
    thread.ended = true;
    ++ended_;
    for (const Gathering& open : gatherings_[thread.warp()]) {
        if (open.wanted & thread.bit()) error_ = text(open.operation, open.at) + ": a lane of its mask has ended";
    }
    if (!at_barrier_.empty()) {
        error_ = text(*barrier_) + ": __syncthreads() is not reached by thread " + text(thread.index);
    }
}

Fiber* Block::take_fiber() {
    if (fibers_.empty()) fibers_.push_back(std::make_unique<Fiber>());
    Fiber* fiber = fibers_.back().release();
    fibers_.pop_back();
    return fiber;
}

void Block::wait_in(const char* operation, const Place& at) {
    current_->waits_in = operation;
    current_->waits_at = at;
}

void Block::make_runnable(Thread& thread) {
    thread.waits_in = nullptr;
    runnable_.push_back(&thread);
}

// The open gathering that the operation belongs to, or a new one.
Block::Gathering& Block::gathering(const WarpOperation& operation, const Place& at) {
    auto& open = gatherings_[current_->warp()];
    for (Gathering& other : open) {
        if ((other.operation.mask & operation.mask) == 0) continue;
        if (other.operation.mask == operation.mask && is_same(other.at, at)) return other;
        fail(text(operation, at) + ": lanes of its mask wait in " + text(other.operation, other.at));
    }
    open.push_back({operation, at, lanes_of(operation, at)});
    return open.back();
}

// Those lanes of the mask that the warp has; the last warp of a block may be short.
uint32_t Block::lanes_of(const WarpOperation& operation, const Place& at) {
    const size_t first = size_t{current_->warp()} * warp_size, last = std::min(first + warp_size, threads_.size());
    uint32_t lanes = 0;
    for (size_t i = first; i < last; ++i) {
        if ((operation.mask & threads_[i].bit()) == 0) continue;
        if (threads_[i].ended) fail(text(operation, at) + ": a lane of its mask has ended");
        lanes |= threads_[i].bit();
    }
    return lanes;
}

void Block::finish(Gathering& here) {
    here.operation.finish(here.operands.data(), here.arrived);
    for (unsigned lane = 0; lane < warp_size; ++lane) {
        if (here.arrived >> lane & 1) make_runnable(threads_[current_->warp() * warp_size + lane]);
    }
    auto& open = gatherings_[current_->warp()];
    open.erase(open.begin() + (&here - open.data()));
}

std::string Block::report() const {
    const std::string what = std::string(launch_.kernel) + ", block " + text(index_) + ": " + error_;
    for (const Thread& thread : threads_) {
        if (thread.waits_in == nullptr) continue;
        return what + "; thread " + text(thread.index) + " waits in " + thread.waits_in + " at " + text(thread.waits_at);
    }
    return what;
}

}  // namespace perception::cuda::emulation

// Cuts one piece of the caller's memory into arrays.
#pragma once

#include <cstddef>
#include <cstdint>

namespace perception::cuda {

class Workspace {
public:
    // Without memory it only counts: take() then gives pointers that must not be used.
    explicit Workspace(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

    template <typename T>
    T* take(int64_t count) {
        char* piece = memory_ == nullptr ? nullptr : memory_ + bytes_;
        bytes_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;  // every piece is aligned to 256 bytes
        return reinterpret_cast<T*>(piece);
    }

    size_t bytes() const { return bytes_; }  // taken so far

private:
    char* memory_;
    size_t bytes_ = 0;
};

}  // namespace perception::cuda

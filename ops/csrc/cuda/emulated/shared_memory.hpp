// The shared memory of one block: arrays that come about when they are first named, each between bytes that
// AddressSanitizer guards, and one array of the size that the launch asked for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace perception::cuda::emulation {

// What every compute capability from 8.0 on offers to a block: 48 KiB of static arrays, 99 KiB in all.
inline constexpr size_t max_static_bytes = 48 << 10, max_shared_bytes = 99 << 10;

class SharedMemory {
public:
    explicit SharedMemory(size_t dynamic_bytes) : memory_(space()), dynamic_bytes_(dynamic_bytes) {
        dynamic_ = place(dynamic_bytes, 128);
    }
    ~SharedMemory() { open(memory_, capacity); }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    // Null when there is no room left.
    void* array(const void* site, size_t bytes, size_t alignment) {
        for (const Array& known : arrays_) {
            if (known.site == site) return known.memory;
        }
        static_bytes_ += bytes;
        if (static_bytes_ > max_static_bytes || static_bytes_ + dynamic_bytes_ > max_shared_bytes) return nullptr;
        if (arrays_.size() == max_arrays) return nullptr;
        arrays_.push_back({site, place(bytes, std::max<size_t>(alignment, 16)), bytes});
        return arrays_.back().memory;
    }

    void* dynamic() const { return dynamic_; }

    bool holds(const void* memory, size_t bytes) const {
        const auto* from = static_cast<const char*>(memory);
        return from >= memory_ && from + bytes <= memory_ + capacity;
    }

private:
    struct Array {
        const void* site;
        char* memory;
        size_t bytes;
    };
    static constexpr size_t gap = 64, max_arrays = 64;
    static constexpr size_t capacity = max_shared_bytes + (max_arrays + 1) * (gap + 128);

    static char* space() {  // one for all blocks, since they run one after another
        alignas(128) static char bytes[capacity];
        return bytes;
    }

#if defined(__SANITIZE_ADDRESS__)
    static void open(char* memory, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(memory, bytes); }
    static void guard(char* memory, size_t bytes) { ASAN_POISON_MEMORY_REGION(memory, bytes); }
#else
    static void open(char*, size_t) {}
    static void guard(char*, size_t) {}
#endif

    char* place(size_t bytes, size_t alignment) {
        used_ = (used_ + alignment - 1) / alignment * alignment;
        char* memory = memory_ + used_;
        used_ += bytes + gap;
        open(memory, bytes);
        std::memset(memory, 0xCD, bytes);
        guard(memory + bytes, gap);
        return memory;
    }

    char* memory_;
    char* dynamic_;
    size_t dynamic_bytes_, static_bytes_ = 0, used_ = 0;
    std::vector<Array> arrays_;
};

}  // namespace perception::cuda::emulation

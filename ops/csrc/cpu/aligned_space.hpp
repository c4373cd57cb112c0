// Memory of one thread, aligned to the widest vector.
#pragma once

#include <cstdint>
#include <new>

namespace perception::cpu {

class AlignedSpace {
   public:
    explicit AlignedSpace(int64_t floats)
        : floats_(static_cast<float*>(::operator new(static_cast<size_t>(floats) * sizeof(float), alignment))) {}
    ~AlignedSpace() { ::operator delete(floats_, alignment); }
    AlignedSpace(const AlignedSpace&) = delete;
    AlignedSpace& operator=(const AlignedSpace&) = delete;
    float* get() const { return floats_; }

   private:
    static constexpr std::align_val_t alignment{64};
    float* floats_;
};

}  // namespace perception::cpu

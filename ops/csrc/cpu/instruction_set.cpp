#include "cpu/instruction_set.hpp"

#include <algorithm>
#include <atomic>

namespace perception::cpu {
namespace {

InstructionSet detected() {
#ifdef PERCEPTION_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return InstructionSet::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
#endif
    return InstructionSet::baseline;
}

std::atomic<InstructionSet> in_use{detected()};

}  // namespace

InstructionSet instruction_set() { return in_use.load(std::memory_order_relaxed); }

InstructionSet limit_instruction_set(InstructionSet most) {
    in_use = std::min(most, detected());
    return in_use;
}

}  // namespace perception::cpu

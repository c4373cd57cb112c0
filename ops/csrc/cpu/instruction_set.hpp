// Picks, at run time, among the kernels that were compiled for several instruction sets.
//
// A kernel's file defines a table of functions under PERCEPTION_ISA_NAME(name); CMake compiles the file once with each
// of PERCEPTION_ISA = baseline, avx2 and avx512 (only baseline where the processor is no x86). PERCEPTION_KERNELS(name)
// is the best of the tables that this processor runs.
#pragma once

#define PERCEPTION_JOIN_NAMES(a, b) a##_##b
#define PERCEPTION_JOIN(a, b) PERCEPTION_JOIN_NAMES(a, b)
#define PERCEPTION_ISA_NAME(name) PERCEPTION_JOIN(name, PERCEPTION_ISA)

namespace perception::cpu {

enum class InstructionSet { baseline, avx2, avx512 };

InstructionSet instruction_set();

// Takes a lower one for tests, if this processor has it; gives what is now in use.
InstructionSet limit_instruction_set(InstructionSet most);

}  // namespace perception::cpu

#ifdef PERCEPTION_X86
#define PERCEPTION_DECLARE_KERNELS(Table, name) extern const Table name##_baseline, name##_avx2, name##_avx512
#define PERCEPTION_KERNELS(name)                                          \
    (instruction_set() == InstructionSet::avx512 ? name##_avx512          \
     : instruction_set() == InstructionSet::avx2 ? name##_avx2            \
                                                 : name##_baseline)
#else
#define PERCEPTION_DECLARE_KERNELS(Table, name) extern const Table name##_baseline
#define PERCEPTION_KERNELS(name) (name##_baseline)
#endif

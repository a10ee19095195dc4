/* Which instruction sets the processor and the operating system have. */

#include "layers.h"

#if defined(CKN_HAS_X86_SETS) && defined(_MSC_VER)
/* clang-cl: what __builtin_cpu_supports needs is in a library of Clang's that
 * Microsoft's linker does not look for. */

#include <cpuid.h>
#include <stdint.h>

static int ckn_has_bits(uint64_t value, uint64_t bits) {
    return (value & bits) == bits;
}

/* The parts of the registers that the operating system saves. */
static uint64_t ckn_saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Leaves 1 and 7 of cpuid and the bits of XCR0: Intel's manual, volumes 2A and 1. */
static void ckn_detect_sets(int *avx2, int *avx512) {
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
    const uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const uint64_t ymm = 0x06, zmm = 0xe6;
    uint32_t eax, ebx, ecx, edx, leaf7;
    *avx2 = *avx512 = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) ||
        !ckn_has_bits(ecx, fma | osxsave | avx) ||
        !__get_cpuid_count(7, 0, &eax, &leaf7, &ecx, &edx))
        return;
    *avx2 = ckn_has_bits(ckn_saved_state(), ymm) && ckn_has_bits(leaf7, 1u << 5);
    *avx512 = *avx2 && ckn_has_bits(ckn_saved_state(), zmm) &&
              ckn_has_bits(leaf7, f | dq | bw | vl);
}

#elif defined(CKN_HAS_X86_SETS)

static void ckn_detect_sets(int *avx2, int *avx512) {
    __builtin_cpu_init();
    *avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    *avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

#endif

const ckn_instruction_set *ckn_available_set(int rank) {
    const ckn_instruction_set *sets[3];
    int n = 0;
#ifdef CKN_HAS_X86_SETS
    int avx2, avx512;
    ckn_detect_sets(&avx2, &avx512);
    if (avx512)
        sets[n++] = &ckn_avx512;
    if (avx2)
        sets[n++] = &ckn_avx2;
#endif
    sets[n++] = &ckn_baseline;
    return rank < n ? sets[rank] : NULL;
}

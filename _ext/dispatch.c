/* Which instruction sets the processor has. */

#include "layers.h"

const ckn_instruction_set *ckn_available_set(int rank) {
    const ckn_instruction_set *sets[3];
    int n = 0;
#ifdef CKN_HAS_X86_SETS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        sets[n++] = &ckn_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = &ckn_avx2;
#endif
    sets[n++] = &ckn_baseline;
    return rank < n ? sets[rank] : NULL;
}

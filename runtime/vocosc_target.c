/* Which instruction sets this build has and this CPU can run. */
#include "vocosc_model.h"
#include "vocosc_network.h"

#if VOCOSC_BUILDS_AVX2 || VOCOSC_BUILDS_AVX512
#include <cpuid.h>

/* The state (XCR0) that the operating system saves: bits 1, 2 for AVX, bits 5 to 7 besides for AVX-512. */
static uint32_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int x86_runs(vocosc_target target) {
  const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29; /* leaf 1, ECX */
  const uint32_t avx2 = 1u << 5;                                                      /* leaf 7, EBX */
  const uint32_t avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);          /* F, DQ, BW, VL */
  const uint32_t vnni = 1u << 11;                                                     /* leaf 7, ECX */
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  const uint32_t wanted = fma | osxsave | avx | f16c;
  if ((ecx & wanted) != wanted) return 0;
  const uint32_t state = saved_state();
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  if (target == VOCOSC_AVX2) return (ebx & avx2) != 0 && (state & 0x06) == 0x06;
  if (INT8_BLOCKS && (ecx & vnni) == 0) return 0;
  return (ebx & avx2) != 0 && (ebx & avx512) == avx512 && (state & 0xe6) == 0xe6;
}
#endif

int vocosc_target_runs(vocosc_target target) {
  switch (target) {
    case VOCOSC_PORTABLE:
      return VOCOSC_BUILDS_PORTABLE;
    case VOCOSC_LIBS:
      return VOCOSC_BUILDS_LIBS;
    case VOCOSC_NEON: /* where it is built, it is there; dot products are its builder's word */
      return VOCOSC_BUILDS_NEON;
#if VOCOSC_BUILDS_AVX2
    case VOCOSC_AVX2:
      return x86_runs(target);
#endif
#if VOCOSC_BUILDS_AVX512
    case VOCOSC_AVX512:
      return x86_runs(target);
#endif
    default:
      return 0;
  }
}

/* Which instruction sets this build has and this CPU can run; the way to their kernels. */
#include "vocosc_target.h"

//% if x86_isas
#include <cpuid.h>

/* The state (XCR0) that the operating system saves. */
static uint32_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/* Whether CPUID's leaf 1 has the bits `ecx_1`, leaf 7 `ebx_7`, `ecx_7` and `edx_7`, and XCR0 `state`. */
static int x86_has(uint32_t ecx_1, uint32_t ebx_7, uint32_t ecx_7, uint32_t edx_7, uint32_t state) {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & ecx_1) != ecx_1) return 0;
  if ((saved_state() & state) != state) return 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  return (ebx & ebx_7) == ebx_7 && (ecx & ecx_7) == ecx_7 && (edx & edx_7) == edx_7;
}

//% endif
static int runs(vocosc_target target) {
  switch (target) {
//% for isa in isas if isa.cpu
    case VOCOSC_${isa.name | upper}:
      /* ${isa.cpu | join(", ")} */
      return x86_has(${isa.cpuid("1_ecx")}, ${isa.cpuid("7_ebx")}, ${isa.cpuid("7_ecx")}, ${isa.cpuid("7_edx")}, ${isa.saved_state});
//% endfor
//% for isa in isas if isa.is_optional
    case VOCOSC_${isa.name | upper}:
      return vocosc_has_${isa.name} != NULL && vocosc_has_${isa.name}();
//% endfor
//% for isa in isas if not isa.cpu and not isa.is_optional
    case VOCOSC_${isa.name | upper}:
//% endfor
      return 1; /* where they are built, they are there */
    default:
      return 0;
  }
}

int vocosc_target_is_built(uint32_t target) {
  switch (target) {
//% for isa in isas if isa.is_optional
    case VOCOSC_${isa.name | upper}:
      return vocosc_network_${isa.name} != NULL;
//% endfor
//% for isa in isas if not isa.is_optional
    case VOCOSC_${isa.name | upper}:
//% endfor
      return 1;
    default:
      return 0;
  }
}

vocosc_target vocosc_best_target(vocosc_target wanted) {
  static const unsigned char best_first[] = {${isas | reverse | map(attribute="name") | map("upper") | map("prefix", "VOCOSC_") | join(", ")}};
  for (size_t i = 0; i < sizeof best_first; i++) {
    const vocosc_target target = (vocosc_target)best_first[i];
//% if isas | selectattr("asks") | list
    const int is_offered = wanted == VOCOSC_BEST && target <= VOCOSC_LAST_TARGET;
    if ((is_offered || wanted == target) && runs(target)) return target;
//% else
    if ((wanted == VOCOSC_BEST || wanted == target) && runs(target)) return target;
//% endif
  }
  return VOCOSC_BEST;
}

const char *vocosc_target_name(int target) {
  switch (target) {
    case VOCOSC_BEST:
      return "best";
//% for isa in all_isas
    case VOCOSC_${isa.name | upper}:
      return "${isa.name}";
//% endfor
    default:
      return "unknown";
  }
}

void vocosc_run_network(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  switch (jobs->stream->target) {
//% for isa in isas
    ${"default" if loop.last else "case VOCOSC_" ~ isa.name | upper}:
//% if loop.last or loop.nextitem.kernels != isa.kernels
      vocosc_network_${isa.kernels}(jobs, count, scratch, frames, team);
      break;
//% endif
//% endfor
  }
}

//% if config.mel
void vocosc_run_analysis(uint32_t target, const float *window, vocosc_scratch *scratch, float *mel) {
  switch (target) {
//% for isa in isas
    ${"default" if loop.last else "case VOCOSC_" ~ isa.name | upper}:
//% if loop.last or loop.nextitem.kernels != isa.kernels
      vocosc_analysis_${isa.kernels}(window, scratch, mel);
      break;
//% endif
//% endfor
  }
}
//% endif

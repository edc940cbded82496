/* The network and the analysis for ${isa.text}: compiled with ${isa.flags | join(" ") or "no flags of their own"}. */
#define VOCOSC_ISA_${isa.name | upper}
#include "vocosc_network.h"

void vocosc_network_${isa.name}(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  network(jobs, count, scratch, frames, team);
}
//% if config.mel

void vocosc_analysis_${isa.name}(const float *window, vocosc_scratch *scratch, float *mel) {
  analysis(window, scratch, mel);
}
//% endif
//% if isa.is_optional

int vocosc_has_${isa.name}(void) { return vec_fma_is_fused(); }
//% endif

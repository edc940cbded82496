/* The instruction sets of this build, and what the API calls in the kernels of each. Private to the object. */
#ifndef VOCOSC_TARGET_H
#define VOCOSC_TARGET_H

#include "vocosc.h"
#include "vocosc_model.h"

/* The weights that a stream decodes with. */
static inline const weights_file *weights_of(const vocosc_stream *stream) {
#if VOCOSC_BAKED
  (void)stream;
  return &vocosc_weights;
#else
  const void *weights;
  __builtin_memcpy(&weights, stream->weights, sizeof weights);
  return weights;
#endif
}

/*
 * Decodes `frames` frames for each of `count` jobs, at most VOCOSC_MAX_FRAMES in all. Every member of the team calls
 * this; the arguments were checked.
 */
typedef void vocosc_network_function(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames,
                                     const vocosc_team *team);

/* The log-mel [VOCOSC_MELS] of one window [VOCOSC_N_FFT] of audio. */
typedef void vocosc_analysis_function(const float *window, vocosc_scratch *scratch, float *mel);

#pragma GCC visibility push(hidden)
//% for isa in isas if not isa.base
vocosc_network_function vocosc_network_${isa.name}; /* ${isa.text} */
vocosc_analysis_function vocosc_analysis_${isa.name};
//% endfor
//% for isa in isas if isa.is_optional
/* In one of two modules only. Whether its multiply-adds are fused here. */
#pragma weak vocosc_network_${isa.name}
#pragma weak vocosc_analysis_${isa.name}
#pragma weak vocosc_has_${isa.name}
int vocosc_has_${isa.name}(void);
//% endfor

/* The same on a target of this build. */
vocosc_network_function vocosc_run_network;
void vocosc_run_analysis(uint32_t target, const float *window, vocosc_scratch *scratch, float *mel);

/* Whether this build has the target's kernels; and the best that this CPU and operating system can run, or VOCOSC_BEST. */
int vocosc_target_is_built(uint32_t target);
vocosc_target vocosc_best_target(vocosc_target wanted);
#pragma GCC visibility pop

#endif /* VOCOSC_TARGET_H */

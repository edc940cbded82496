/* What the API calls in the compiled kernels, once per instruction set. Private to the object. */
#ifndef VOCOSC_NETWORK_H
#define VOCOSC_NETWORK_H

#include <string.h>

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

/*
 * Single values are copied by __builtin_memcpy here: a freestanding compiler makes a call of memcpy, whatever the size.
 */

/* condition ? a : b, by masks, so that no compiler makes a branch of it: the time must not depend on data. */
static inline float float_select(int condition, float a, float b) {
  const uint32_t mask = 0u - (uint32_t)condition; /* condition is 0 or 1 */
  uint32_t bits_a, bits_b;
  __builtin_memcpy(&bits_a, &a, sizeof a);
  __builtin_memcpy(&bits_b, &b, sizeof b);
  const uint32_t chosen = (bits_a & mask) | (bits_b & ~mask);
  float value;
  __builtin_memcpy(&value, &chosen, sizeof value);
  return value;
}

/*
 * Inputs below 1e-20 count as zero. No ear or tolerance can tell, but arithmetic on denormal numbers takes many CPUs
 * a hundred times as long: a chunk of 1e-38 must not take longer than a chunk of speech.
 */
static inline float without_denormals(float value) {
  return float_select((value <= -1e-20f) | (value >= 1e-20f), value, 0.0f);
}

/* True if none of the values is NaN or infinite; by the bits, so that no compiler option can spoil it. */
static inline int all_finite(const float *values, int count) {
  uint32_t bad = 0;
  for (int i = 0; i < count; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, values + i, sizeof bits);
    bad |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return !bad;
}

#pragma GCC visibility push(hidden)
vocosc_network_function vocosc_network_portable, vocosc_network_avx2, vocosc_network_avx512, vocosc_network_libs,
    vocosc_network_neon;
vocosc_analysis_function vocosc_analysis_portable, vocosc_analysis_avx2, vocosc_analysis_avx512, vocosc_analysis_libs,
    vocosc_analysis_neon;

/* Whether this build has the target's kernels and this CPU and operating system can run them. */
int vocosc_target_runs(vocosc_target target);
#pragma GCC visibility pop

#endif /* VOCOSC_NETWORK_H */

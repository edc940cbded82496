/* What happens to finished dot products on their way to y: the epilogues of compiler/network.py. */
#ifndef VOCOSC_EPILOGUES_H
#define VOCOSC_EPILOGUES_H

#include "vocosc_model.h"
#include "vocosc_vector.h"
#include "vocosc_vector_math.h"

static inline void epilogue_store(float *y, vec sum) { vec_store(y, sum); }
static inline void epilogue_gelu(float *y, vec sum) { vec_store(y, vec_gelu(sum)); }
//% if enlarged | reject("in", ("conv_norm", "layer_norm")) | list
static inline void epilogue_gelu_enlarged(float *y, vec sum) { vec_store(y, vec_enlarge(vec_gelu(sum))); }
//% endif
static inline void epilogue_add(float *y, vec sum) { vec_store(y, vec_add(vec_load(y), sum)); } /* the residual */
static inline void epilogue_exp(float *y, vec sum) { vec_store(y, vec_min(vec_exp(sum), vec_set(MAX_MAGNITUDE))); }

/* y holds magnitudes, and then the real parts; the imaginary parts stand BINS_PADDED behind them. */
static inline void epilogue_polar(float *y, vec sum) {
  const vec size = vec_load(y);
  vec sine, cosine;
  vec_sincos(sum, &sine, &cosine);
  vec_store(y, vec_mul(size, cosine));
  vec_store(y + BINS_PADDED, vec_mul(size, sine));
}

#endif /* VOCOSC_EPILOGUES_H */

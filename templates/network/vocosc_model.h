/* The model's constants, the map of the scratch memory, and the tables. Private to the object. */
#ifndef VOCOSC_MODEL_H
#define VOCOSC_MODEL_H

#include <stdint.h>

#include "vocosc.h"

/* Of a function: it is not inlined, and one copy of it is enough, whatever constants it is called with. */
#ifdef __clang__
#define ONE_COPY __attribute__((noinline))
#else
#define ONE_COPY __attribute__((noinline, noclone))
#endif

enum {
  N_FFT = ${config.n_fft},
  HOP = ${config.hop_length},
  OVERLAP = ${plan.overlap_floats}, /* N_FFT - HOP */
  BINS = ${plan.bins},
  MELS = ${config.n_mels},
  MEL_PAD = ${framing.pad}, /* samples before and behind the audio that mirror it */
  MEL_START = ${framing.start}, /* samples that the first frame waits for */
  MEL_SPAN = ${framing.span}, /* from a frame's first sample to the last that it waits for */
  MEL_HISTORY = ${framing.history}, /* samples before a frame that are kept */
  DIM = ${plan.dim}, /* channels of the rows that are convolved and normalised */
  TAPS = ${plan.left + 1}, /* frames that a convolution sees */
  LEFT = ${plan.left}, /* those before the last one: what it keeps for the next call */
//% if plan.counts_frames
  LOOKAHEAD = ${plan.lookahead}, /* frames that must have come before the first one is complete */
  TRIM = ${plan.trim}, /* samples at both ends of the sum that are no audio */
  COVER = ${plan.cover}, /* frames that add to a sample, at most */
  SETTLED = LOOKAHEAD + COVER, /* frames after which every call is like the one before */
//% endif
  GOLDEN_FRAMES = ${golden_frames}, /* of the self-test: fewer, and some weights would meet nothing but silence */

  /* Rounded up to whole panels of ${PANEL} */
  DIM_PADDED = ${plan.dim | padded},
  BINS_PADDED = ${plan.bins | padded},
//% for name, width in plan.widths.items()
  ${name | upper}_PADDED = ${width | padded},
//% endfor

  /* Elements from one frame's row to the next */
  DIM_STRIDE = ${plan.dim_stride},
//% for name, stride in plan.strides.items()
  ${name | upper}_STRIDE = ${stride},
//% endfor

  /* State, offsets in floats: what a stream keeps from call to call. */
//% for state in plan.state
  STATE_${state.name | upper} = ${state.offset}, /* ${state.layout} */
//% endfor

  /* Scratch, offsets in floats: buffers that are never alive at the same time share memory. */
//% for buffer in plan.scratch
  SCRATCH_${buffer.name | upper} = ${buffer.offset}, /* ${buffer.floats} floats ${buffer.layout} */
//% endfor
//% if framing.start
  SCRATCH_MEL_WINDOW = SCRATCH_ANALYSIS + 2 * SPECTRUM_STRIDE, /* n_fft floats, the end of the audio mirrored */
//% endif
//% if limits

  /* The largest inputs in int16: times the largest sum of an output's |weights| they stay below 2^31. */
//% for kernel, limit in limits.items()
  ${kernel | upper}_LIMIT = ${limit},
//% endfor
//% endif
};

#define NORM_EPSILON ${norm_epsilon | literal}
#define SMALLEST_NORMALISED ${"%#xu" | format(smallest_normalised)} /* the bits of 2^-64: see layer_norm */
#define MAX_MAGNITUDE ${max_magnitude | literal} /* of a bin of the spectrum */
#define POWER_FLOOR ${power_floor | literal} /* added to the power of a bin of the analysis */
#define MEL_FLOOR ${mel.floor | literal} /* log-mel is the logarithm of this at least */

/* The weights, as vocosc_weights.bin holds them: little-endian, aligned to 64 bytes. compiler/weights.py writes it. */
typedef struct {
  char magic[8];
  uint32_t version;
  uint32_t byte_order; /* BYTE_ORDER_MARK as the machine that the tables are for reads it */
  uint32_t bytes;      /* of the whole file */
  uint32_t crc32;      /* CRC-32 (IEEE 802.3) of all that follows */
  unsigned char architecture[32]; /* SHA-256 of all sizes and layouts that the code was compiled for */
  uint64_t golden_hash;           /* what vocosc_selftest expects; 0 if there is none */

//% for table in tables
  /* ${table.source}: ${table.layout} */
  _Alignas(64) ${table.c_type} ${table.name}[${table.data.size}];
//% endfor
} weights_file;

_Static_assert(sizeof(weights_file) == ${weights.file | length}, "the file and the code agree on the layout");

#define WEIGHTS_MAGIC {${weights_magic | join(", ")}}
#define WEIGHTS_VERSION ${weights_version}u
#define BYTE_ORDER_MARK ${byte_order_mark}u

#pragma GCC visibility push(hidden)
extern const float vocosc_synthesis_window[${config.n_fft}];
//% if plan.is_divided
extern const float vocosc_envelope[${config.hop_length}];
//% endif
//% if config.mel
extern const float vocosc_analysis_window[${config.n_fft}];
//% endif
extern const float vocosc_twiddle_cosines[${plan.fft.cosines | table_length}];
extern const float vocosc_twiddle_sines[${plan.fft.sines | table_length}];
extern const float vocosc_half_cosines[${plan.fft.half_cosines | table_length}];
extern const float vocosc_half_sines[${plan.fft.half_sines | table_length}];
//% if config.mel
extern const int vocosc_mel_first_bin[${config.n_mels}];
extern const int vocosc_mel_first_weight[${config.n_mels + 1}];
extern const float vocosc_mel_weights[${filterbank.weights | table_length}];
//% endif
extern const float vocosc_last_panel_mask[16];

//% if options.baked
extern const weights_file vocosc_weights;
//% else
extern const unsigned char vocosc_architecture[32];
//% endif
//% if options.check or not options.baked
extern const uint32_t vocosc_crc32_tables[4 * 256]; /* of a byte, and with 1 to 3 zeros behind it */
//% endif
//% if options.bit_exact
extern const float vocosc_golden_mel[${config.n_mels}];
//% endif
#pragma GCC visibility pop

#endif /* VOCOSC_MODEL_H */

/* The model's constants, the map of the scratch memory, and the tables. Private to the object. */
#ifndef VOCOSC_MODEL_H
#define VOCOSC_MODEL_H

#include <stdint.h>

/* The instruction sets of this build. */
#define VOCOSC_BUILDS_PORTABLE ${("portable" in isa_names) | int}
#define VOCOSC_BUILDS_AVX2 ${("avx2" in isa_names) | int}
#define VOCOSC_BUILDS_AVX512 ${("avx512" in isa_names) | int}
#define VOCOSC_BUILDS_LIBS ${("libs" in isa_names) | int}
#define VOCOSC_BUILDS_NEON ${("neon" in isa_names) | int}

enum {
  N_FFT = ${config.n_fft},
  HOP = ${config.hop_length},
  OVERLAP = ${plan.overlap_floats}, /* N_FFT - HOP */
  BINS = ${plan.bins},
  MELS = ${config.n_mels},
  DIM = ${config.dim},
  HIDDEN = ${config.hidden},
  BLOCKS = ${config.num_layers},
  TAPS = ${config.kernel_size},
  CONTEXT = ${plan.context}, /* frames before the first that a convolution sees */

  /* Rounded up to whole panels of 16 */
  DIM_PADDED = ${plan.dim_padded},
  HIDDEN_PADDED = ${plan.hidden_padded},
  BINS_PADDED = ${plan.bins_padded},
  EMBED_PANELS = ${plan.dim_padded // 16},
  EXPAND_PANELS = ${plan.hidden_padded // 16},
  CONTRACT_PANELS = ${plan.dim_padded // 16},
  BIN_PANELS = ${plan.bins_padded // 16},

  /* Floats from one frame's row to the next */
  DIM_STRIDE = ${plan.dim_stride},
  HIDDEN_STRIDE = ${plan.hidden_stride},
  SPECTRUM_STRIDE = ${plan.spectrum_stride},
  FFT_STRIDE = ${fft_stride},

  /* Scratch, offsets in floats: buffers that are never alive at the same time share memory. */
//% for buffer in plan.scratch
  SCRATCH_${buffer.name} = ${buffer.offset}, /* ${buffer.floats} floats ${buffer.layout} */
//% endfor
};

#define NORM_EPSILON 1e-6f
#define MAX_MAGNITUDE 100.0f /* of a bin of the spectrum */
#define MEL_FLOOR 1e-5f      /* log-mel is the logarithm of this at least */

/* An element of the blocks' tables. */
typedef ${products[1].weight_type} block_weight;
//% if is_int8

/* Blocks multiply integers: int8 weights by rows whose values are row_scale.scale * ${"(y - row_scale.zero)" if precision == "w8a8" else "y"}. */
#define INT8_BLOCKS 1
#define BYTE_ROWS ${(precision == "w8a8") | int}
typedef ${products[1].x_type} quantised;
typedef struct {
  float scale;
//% if precision == "w8a8"
  int32_t zero;
//% endif
} row_scale;
enum {
  QUANTISED_STRIDE = ${plan.quantised_stride}, /* from one frame's row to the next */
//% if precision == "w8"
  /* The largest inputs, in int16: times the largest sum of an output's |weights| they stay below 2^31. */
  EXPAND_LIMIT = ${limits.expand},
  CONTRACT_LIMIT = ${limits.contract},
//% endif
};
//% else

#define INT8_BLOCKS 0
#define BYTE_ROWS 0
//% endif

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
extern const float vocosc_analysis_window[${config.n_fft}];
extern const float vocosc_twiddle_cosines[${plan.fft.cosines | table_length}];
extern const float vocosc_twiddle_sines[${plan.fft.sines | table_length}];
extern const float vocosc_half_cosines[${plan.fft.half_cosines | table_length}];
extern const float vocosc_half_sines[${plan.fft.half_sines | table_length}];
extern const int vocosc_mel_first_bin[${config.n_mels}];
extern const int vocosc_mel_first_weight[${config.n_mels + 1}];
extern const float vocosc_mel_weights[${filterbank.weights | table_length}];
extern const float vocosc_last_panel_mask[16];

//% if options.baked
extern const weights_file vocosc_weights;
//% else
extern const unsigned char vocosc_architecture[32];
extern const uint32_t vocosc_crc32_table[256];
//% endif
//% if options.bit_exact
extern const float vocosc_golden_mel[${config.n_mels}];
//% endif
#pragma GCC visibility pop

#endif /* VOCOSC_MODEL_H */

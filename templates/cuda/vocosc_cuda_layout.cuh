/* The sizes of the model and of a call, and where everything lies in device memory. */
#ifndef VOCOSC_CUDA_LAYOUT_CUH
#define VOCOSC_CUDA_LAYOUT_CUH

#define VOCOSC_ISA_CUDA
#define VOCOSC_CUDA_BATCH ${device.batch}
#include "vocosc_cuda_call.h"
#include "vocosc_cuda_machine.h"
#include "vocosc_vector_math.h"

enum {
  LANES = 32, /* of a warp */
  ALIGNMENT_FLOATS = ${device.alignment // 4}, /* tables, and the parts of one, begin at multiples of it */
  ROWS = ${device.rows}, /* frames that a thread block takes at a time, all of one stream */
  PASSES = ${device.passes}, /* such passes of a call, at most */
  TILE_JOBS = ${device.tile_jobs}, /* streams that it takes in turn */

  N_FFT = ${config.n_fft},
  HOP = ${config.hop_length},
  OVERLAP = ${plan.overlap_floats},
  TAPS = ${plan.left + 1}, /* frames that a convolution sees */
  CONVS = ${device.rights | length}, /* depthwise convolutions */
  LEFT = ${plan.left}, /* ${"all but one" if plan.lookahead else "those before the current one"} */
//% if plan.counts_frames
  LOOKAHEAD = ${plan.lookahead}, /* frames that must have come before the first one is complete */
  TRIM = ${plan.trim},      /* samples at both ends of the sum that are no audio */
  COVER = ${plan.cover},     /* frames that add to a sample, at most */
//% endif

  /* Channels of a frame's row, and floats from one row to the next: whole float4. */
//% for name, width in device.widths.items()
  ${name} = ${width},
  ${name}_STRIDE = ${device.strides[name]},
//% endfor

  /* A stream's slot, offsets in floats */
  SLOT_FLOATS = ${device.state_bytes // 4},
//% for state in device.slot
  SLOT_${state.name | upper} = ${state.offset}, /* ${state.layout} */
//% endfor

  /* Scratch, offsets in floats; the call's copy is in front. */
//% for buffer in device.scratch
  SCRATCH_${buffer.name | upper} = ${buffer.offset}, /* ${buffer.layout} */
//% endfor

  /* Tables, offsets in bytes */
//% for table in device.tables
  TABLE_${table.name | upper} = ${table.offset}, /* ${table.layout} */
//% endfor
};

//% if device.resident
typedef vocosc_cuda_mailbox device_mailbox;
/* Of the resident kernel's shared memory, in floats; in front of the weights is what the steps use in turns. */
enum { RESIDENT_FLOATS = ${device.resident.shared_bytes // 4}, HELD_START = ${device.held_start} };

//% endif
//% if device.tuning.data
/*
 * What the single kernel hands over, in one call and in the next in turns, offsets in floats: rows as in scratch. A
 * word is the complement of a float's bits, and 0 until it is there: no kernel makes a float of ones alone.
 */
enum {
  DATA_EMBEDDED = 0,
  DATA_FINAL = DATA_EMBEDDED + ${device.rows_of("embedded")},
  DATA_SPECTRUM = DATA_FINAL + ${device.rows_of("embedded")},
  DATA_CONVOLVED = DATA_SPECTRUM + ${device.rows_of("spectrum")},
  DATA_HIDDEN = DATA_CONVOLVED + ${device.rows_of("convolved")},
  DATA_LAYER = DATA_HIDDEN + ${device.rows_of("hidden")} - DATA_CONVOLVED, /* from one layer's to the next one's */
  DATA_FLOATS = ${device.rows_of("data") // 2},
};

//% endif
#define NORM_EPSILON ${norm_epsilon | literal}
#define MAX_MAGNITUDE ${max_magnitude | literal} /* of a bin of the spectrum */
#define SILENT_MEL ${silent_mel | literal}
#define FLOAT_MAX 0x1.fffffep127f

typedef vocosc_cuda_memory device_memory;
typedef vocosc_cuda_call device_call;
typedef vocosc_cuda_job device_job;

static const float *table(const device_memory &memory, size_t offset) {
  return (const float *)((const char *)memory.weights + offset);
}
static float *scratch(const device_memory &memory, size_t offset) { return (float *)memory.scratch + offset; }
static float *slot(const device_memory &memory, const device_job &job) {
  return (float *)memory.state + (size_t)job.slot * SLOT_FLOATS;
}

/* A kernel is given the memory, in which the first one left the call for the others; or, as the first, the call. */
static const device_call &call_of(const device_memory &memory) { return *(const device_call *)memory.scratch; }
static const device_memory &memory_of(const device_memory &memory) { return memory; }
//% if device.gathers_call
typedef device_memory first_parameter; /* of the first kernel behind those that gather the call */
//% else
typedef device_call first_parameter;
static const device_call &call_of(const device_call &call) { return call; }
static const device_memory &memory_of(const device_call &call) { return call.memory; }
//% endif

/* Rows of `hidden`, in halves or floats. */
//% if device.tuning.half
struct hidden_row {
  uint16_t *p;
  hidden_row operator+(int count) const { return {p + count}; }
};
static float4 load_floats(hidden_row row) {
  const uint32_t *words = (const uint32_t *)row.p;
  const float2 low = widen_halves(words[0]);
  const float2 high = widen_halves(words[1]);
  return {low.x, low.y, high.x, high.y};
}
//% else
struct hidden_row {
  float *p;
};
//% endif
static hidden_row hidden(float *rows, size_t row) { return {(decltype(hidden_row::p))rows + row * HIDDEN_STRIDE}; }

static int least(int a, int b) { return a < b ? a : b; }

#endif /* VOCOSC_CUDA_LAYOUT_CUH */

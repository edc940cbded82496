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
  ROWS = ${device.rows}, /* frames that a thread block takes at a time, all of one stream */
  PASSES = ${device.passes}, /* such passes of a call, at most */
  TILE_JOBS = ${device.tile_jobs}, /* streams that it takes in turn */

  N_FFT = ${config.n_fft},
  HOP = ${config.hop_length},
  OVERLAP = ${plan.overlap_floats},
  BINS = ${plan.bins},
  MELS = ${config.n_mels},
  DIM = ${config.dim},
  TAPS = ${config.kernel_size},
  CONTEXT = ${plan.context}, /* frames before the first that a convolution sees */

  /* Floats from one frame's row to the next: whole float4. */
  MELS_STRIDE = ${device.mels_stride},
  DIM_STRIDE = ${device.dim_stride},
  HIDDEN_STRIDE = ${device.hidden_stride},
  BINS_STRIDE = ${device.bins_stride},

  /* A stream's slot, offsets in floats */
  SLOT_FLOATS = ${device.state_bytes // 4},
  SLOT_MEL_HISTORY = ${device.slot_mel_history}, /* [CONTEXT][MELS] */
  SLOT_HISTORY = ${device.slot_history}, /* [blocks][CONTEXT][DIM] */
  SLOT_OVERLAP = ${device.slot_overlap}, /* [OVERLAP] */

  /* Scratch, offsets in floats; the call's copy is in front. */
//% for buffer in device.scratch
  SCRATCH_${buffer.name} = ${buffer.offset}, /* ${buffer.layout} */
//% endfor

  /* Tables, offsets in bytes */
//% for table in device.tables
  TABLE_${table.name | upper} = ${table.offset}, /* ${table.layout} */
//% endfor
};

#define NORM_EPSILON 1e-6f
#define MAX_MAGNITUDE 100.0f
#define SILENT_MEL (${silent_mel}f)
#define FLOAT_MAX 0x1.fffffep127f

typedef vocosc_cuda_memory device_memory;
typedef vocosc_cuda_call device_call;

/* A table of floats, or of whatever it is. */
static const char *bytes(const device_memory &memory, size_t offset) { return (const char *)memory.weights + offset; }
static const float *table(const device_memory &memory, size_t offset) {
  return (const float *)bytes(memory, offset);
}
static float *scratch(const device_memory &memory, size_t offset) { return (float *)memory.scratch + offset; }
static float *slot(const device_memory &memory, const device_call &call, int job) {
  return (float *)memory.state + (size_t)call.jobs[job].slot * SLOT_FLOATS;
}
/* The call, as the first kernel left it for the others. */
static const device_call &call_of(const device_memory &memory) { return *(const device_call *)memory.scratch; }

static int least(int a, int b) { return a < b ? a : b; }

#endif /* VOCOSC_CUDA_LAYOUT_CUH */

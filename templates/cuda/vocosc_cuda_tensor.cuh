/*
 * Matrix products for many rows, by tensor cores: with --gpu-tune tensor, between the kernels of
 * vocosc_cuda_library_steps.cuh. The weights are the first operand, 16 outputs by 16 inputs at a time, in halves and in
 * the order of a warp's registers. A row's input is the sum of two halves, so that it is as good as a float's 22 bits;
 * sums are float, of 32 inputs by the tensor cores, then in ascending order. A row's bits depend on nothing but that row.
 */
#ifndef VOCOSC_CUDA_TENSOR_CUH
#define VOCOSC_CUDA_TENSOR_CUH

#include "vocosc_cuda_block.cuh"

enum {
  TENSOR_THREADS = ${device.library_threads},
  TENSOR_OUTPUTS = 16 * TENSOR_THREADS / LANES, /* of a thread block, 16 of each warp */
  TENSOR_ROWS = 64,     /* of a thread block */
  TENSOR_INPUTS = 32,  /* at a time */
  TENSOR_WORDS = TENSOR_INPUTS / 2 + 4, /* from one row's pairs of halves to the next one's: no two of a warp in one bank */
  TENSOR_FLOATS = 2 * TENSOR_ROWS * TENSOR_WORDS,
};

/* A value as the sum of two halves. What no half can hold becomes the largest. */
static void split(float value, uint16_t *high, uint16_t *low) {
  const float bounded = vec_min(vec_max(value, -65504.0f), 65504.0f);
  *high = narrow(bounded);
  *low = narrow(bounded - widen_halves(*high).x);
}

/* For each of a lane's sums, body(its tile of rows, its number there, its output of the warp's 16, its row of the block's). */
template <typename function>
static void for_each_sum(function body) {
  const int lane = thread_index() % LANES;
#pragma unroll
  for (int n = 0; n < TENSOR_ROWS / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) body(n, i, lane / 4 + i / 2 * 8, n * 8 + lane % 4 * 2 + i % 2);
  }
}

/* y [rows][outputs] += x [rows][inputs] times a table's matrix, whose outputs have scales. */
template <int INPUTS, int OUTPUTS, int X_STRIDE, int Y_STRIDE>
static void multiply_by_tensor(const device_memory &memory, shared_floats arena, size_t from, size_t matrix, size_t to) {
  enum { STEPS = (INPUTS + TENSOR_INPUTS - 1) / TENSOR_INPUTS, SHARE = TENSOR_ROWS * TENSOR_INPUTS / 4 / TENSOR_THREADS };
  const device_call &call = call_of(memory);
  const int first_row = tile_index() * TENSOR_ROWS;
  const int rows = call.count * call.frames - first_row;
  const int warp = thread_index() / LANES;
  const int lane = thread_index() % LANES;
  const int tile = block_index() * (TENSOR_OUTPUTS / 16) + warp;
  const float *header = table(memory, matrix); /* [biases, scales][outputs] */
  const size_t header_floats = (size_t)(2 * OUTPUTS + ALIGNMENT_FLOATS - 1) / ALIGNMENT_FLOATS * ALIGNMENT_FLOATS;
  const char *weights = (const char *)(header + header_floats) + ((size_t)tile * STEPS * 2 * LANES + lane) * 16;
  const float *x = scratch(memory, from) + (size_t)first_row * X_STRIDE;
  if (rows <= 0) return;
  float sums[TENSOR_ROWS / 8][4] = {};
  for (int step = 0; step < STEPS; step++) {
    /* Rows of inputs, four of them a thread and turn, as halves to shared memory: first all high ones, then the low. */
    float values[SHARE][4];
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
      const int at = thread_index() + i * TENSOR_THREADS;
      const int row = at / (TENSOR_INPUTS / 4);
      const int k = step * TENSOR_INPUTS + at % (TENSOR_INPUTS / 4) * 4;
#pragma unroll
      for (int j = 0; j < 4; j++) values[i][j] = row < rows && k + j < INPUTS ? x[(size_t)row * X_STRIDE + k + j] : 0.0f;
    }
    const uint4 fragments[2] = {load_words(weights + step * 2 * LANES * 16), load_words(weights + (step * 2 + 1) * LANES * 16)};
    barrier(); /* the step before has been read */
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
      const int at = thread_index() + i * TENSOR_THREADS;
      const int word = at / (TENSOR_INPUTS / 4) * TENSOR_WORDS + at % (TENSOR_INPUTS / 4) * 2;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        uint16_t high[2], low[2];
        split(values[i][2 * j], &high[0], &low[0]);
        split(values[i][2 * j + 1], &high[1], &low[1]);
        arena[word + j] = __uint_as_float(high[0] | (uint32_t)high[1] << 16);
        arena[TENSOR_ROWS * TENSOR_WORDS + word + j] = __uint_as_float(low[0] | (uint32_t)low[1] << 16);
      }
    }
    barrier();
#pragma unroll
    for (int n = 0; n < TENSOR_ROWS / 8; n++) {
      float some[4] = {}; /* of this step: tensor cores cut off what a large sum has no bits for */
#pragma unroll
      for (int part = 1; part >= 0; part--) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int at = (part * TENSOR_ROWS + n * 8 + lane / 4) * TENSOR_WORDS + half * 8 + lane % 4;
          multiply_add(some, fragments[half], __float_as_uint(arena[at]), __float_as_uint(arena[at + 4]));
        }
      }
#pragma unroll
      for (int i = 0; i < 4; i++) sums[n][i] += some[i];
    }
  }
  for_each_sum([&](int n, int i, int from_output, int row) {
    const int output = tile * 16 + from_output;
    float *y = scratch(memory, to) + (size_t)(first_row + row) * Y_STRIDE + output;
    if (row < rows && output < OUTPUTS) *y = fma_float(header[OUTPUTS + output], sums[n][i], *y);
  });
}
//% if "integers" in device.scratch | map(attribute="name")

/*
 * With int8 weights rows are integers as well, of 16 bits within a limit for which no sum overflows: a plane of high bytes
 * and one of low ones, and what they are multiples of. Products are exact in any order.
 */
enum { INTEGER_STRIDE = ${device.integer_stride}, INTEGER_WORDS = 2 * INTEGER_STRIDE / 4 }; /* bytes of a plane; words of a row */

/* The thread block's row of COUNT values. */
template <int COUNT, typename pointer>
static void quantise_row(const device_memory &memory, pointer row, int limit) {
  SHARED_FLOATS(largest, TENSOR_THREADS / LANES);
  float most = 1e-30f;
  for (int c = thread_index(); c < COUNT; c += TENSOR_THREADS) most = vec_max(fabsf(row[c]), most);
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) most = vec_max(exchange(most, mask), most);
  if (thread_index() % LANES == 0) largest[thread_index() / LANES] = most;
  barrier();
  for (int warp = 0; warp < TENSOR_THREADS / LANES; warp++) most = vec_max(largest[warp], most);
  const float inverse = (float)limit / most;
  uint32_t *to = (uint32_t *)scratch(memory, SCRATCH_INTEGERS) + (size_t)block_index() * INTEGER_WORDS;
  for (int word = thread_index(); word < INTEGER_STRIDE / 4; word += TENSOR_THREADS) {
    uint32_t high = 0, low = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int c = 4 * word + i;
      const float scaled = c < COUNT ? row[c] * inverse : 0.0f;
      const float bounded = vec_max(vec_min(scaled, (float)limit), -(float)limit);
      const uint32_t whole = __float_as_uint(bounded + 0x1.8p23f); /* to nearest, in the last 16 bits */
      high |= (whole >> 8 & 0xffu) << 8 * i;
      low |= (whole & 0xffu) << 8 * i;
    }
    to[word] = high;
    to[INTEGER_STRIDE / 4 + word] = low;
  }
  if (thread_index() == 0) scratch(memory, SCRATCH_INTEGER_SCALES)[block_index()] = most / (float)limit;
}

/* y [rows][outputs] += rows of integers [rows][inputs] times a table's matrix, whose outputs have scales. */
template <int INPUTS, int OUTPUTS, int Y_STRIDE>
static void multiply_integers(const device_memory &memory, size_t matrix, size_t to) {
  enum { STEPS = (INPUTS + TENSOR_INPUTS - 1) / TENSOR_INPUTS, PLANE = INTEGER_STRIDE / 4 };
  const device_call &call = call_of(memory);
  const int first_row = tile_index() * TENSOR_ROWS;
  const int rows = call.count * call.frames - first_row;
  const int lane = thread_index() % LANES;
  const int tile = block_index() * (TENSOR_OUTPUTS / 16) + thread_index() / LANES;
  const float *header = table(memory, matrix); /* [biases, scales][outputs] */
  const size_t header_floats = (size_t)(2 * OUTPUTS + ALIGNMENT_FLOATS - 1) / ALIGNMENT_FLOATS * ALIGNMENT_FLOATS;
  const char *weights = (const char *)(header + header_floats) + ((size_t)tile * STEPS * LANES + lane) * 16;
  const uint32_t *x = (const uint32_t *)scratch(memory, SCRATCH_INTEGERS) + (size_t)first_row * INTEGER_WORDS + lane % 4;
  const float *scales = scratch(memory, SCRATCH_INTEGER_SCALES) + first_row;
  if (rows <= 0) return;
  int32_t high[TENSOR_ROWS / 8][4] = {}, low[TENSOR_ROWS / 8][4] = {};
  for (int step = 0; step < STEPS; step++) {
    const uint4 fragment = load_words(weights + step * LANES * 16);
#pragma unroll
    for (int n = 0; n < TENSOR_ROWS / 8; n++) {
      const uint32_t *row = x + (size_t)least(n * 8 + lane / 4, rows - 1) * INTEGER_WORDS + step * 8;
      multiply_add_integers<false>(high[n], fragment, row[0], row[4]);
      multiply_add_integers<true>(low[n], fragment, row[PLANE], row[PLANE + 4]);
    }
  }
  for_each_sum([&](int n, int i, int from_output, int row) {
    const int output = tile * 16 + from_output;
    float *y = scratch(memory, to) + (size_t)(first_row + row) * Y_STRIDE + output;
    const float sum = (float)(high[n][i] * 256 + low[n][i]);
    if (row < rows && output < OUTPUTS) *y = fma_float(sum, scales[row] * header[OUTPUTS + output], *y);
  });
}
//% endif

#endif /* VOCOSC_CUDA_TENSOR_CUH */

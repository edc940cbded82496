/* Matrix products, cut into shards of outputs. */
#ifndef VOCOSC_CUDA_PRODUCT_CUH
#define VOCOSC_CUDA_PRODUCT_CUH

#include "vocosc_cuda_block.cuh"

/* A lane's weights of one output: 8 ${device.weights_text}, in loads of 16 bytes. */
enum { LOADS = ${1 if device.is_half else 2} };
struct lane_weights {
  uint4 words[LOADS];
};

static void widen(const lane_weights &weights, float w[8]) {
#pragma unroll
  for (int i = 0; i < LOADS; i++) {
    const uint32_t words[4] = {weights.words[i].x, weights.words[i].y, weights.words[i].z, weights.words[i].w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
//% if device.is_half
      const float2 pair = widen_halves(words[j]);
      w[2 * j] = pair.x;
      w[2 * j + 1] = pair.y;
//% else
      w[4 * i + j] = __uint_as_float(words[j]);
//% endif
    }
  }
}

/* COUNT times four inputs, those at offset at(i) from x; zeros where that is less than 0. */
template <int COUNT, typename block, typename pointer, typename function>
static void load_rows(const block &, pointer x, float4 *values, function at) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    values[i] = at(i) >= 0 ? load_floats(x + at(i)) : float4{0.0f, 0.0f, 0.0f, 0.0f};
  }
}
//% if not device.tuning.half
template <int COUNT, typename block, typename function>
static void load_rows(const block &part, hidden_row x, float4 *values, function at) {
  take<COUNT, uint4>(part, values, [&](int i) -> source { return {at(i) >= 0 ? x.p + at(i) : nullptr, 4}; });
}
//% endif

/*
 * A shard of a matrix product: WIDTH outputs, in GROUPS of COLUMNS. A group has SPLITS warps; each takes 256 of the
 * inputs, of which a lane has 4 in the first half and 4 in the second, so that the loads of a warp are contiguous and
 * hit every bank of shared memory once. A table is [bias, scale][SHARDS][WIDTH] and, aligned, the weights
 * [SHARDS][group][split][column] of 256 inputs. An output is scale * (bias + sum).
 *
 * After the sums of some rows a thread finishes the output `output` of row `row` of them; where PARTS products are
 * multiplied as one, that output of each: a shard has PART_WIDTH outputs of the first product, then those of the next.
 */
template <int INPUTS, int COLUMNS, int GROUPS, int SPLITS, int SHARD_COUNT, int PARTS>
struct shard {
  static constexpr int SHARDS = SHARD_COUNT;
  static constexpr int WIDTH = COLUMNS * GROUPS;
  static constexpr int PART_WIDTH = WIDTH / PARTS;
  static constexpr int WARPS = GROUPS * SPLITS;
  static constexpr int THREADS = WARPS * LANES;
  static constexpr int SUMS = COLUMNS * ROWS;
  static constexpr int PADDED_SUMS = SUMS > 16 ? 32 : SUMS > 8 ? 16 : SUMS > 4 ? 8 : SUMS > 2 ? 4 : SUMS;
  static constexpr int PARTIAL_FLOATS = WARPS * PADDED_SUMS; /* of shared memory */
  static constexpr int HELD_FLOATS = WARPS * COLUMNS * LOADS * LANES * 4; /* of shared memory, where a block holds weights */
  static constexpr int HEADER_FLOATS = (2 * SHARDS * WIDTH + ALIGNMENT_FLOATS - 1) / ALIGNMENT_FLOATS * ALIGNMENT_FLOATS;
  static_assert(SUMS <= LANES, "a lane holds a sum at the end");
  int row, output, channel; /* of this thread; channel is that of the first output among all shards' */
  lane_weights weights[COLUMNS];
  float bias[PARTS], scale[PARTS];

  template <typename block>
  void load(const block &part, size_t offset) {
    const int warp = part.thread / LANES;
    const int lane = part.thread % LANES;
    const float *header = table(part.memory, offset);
    const float *from = header + HEADER_FLOATS + (size_t)part.shard() * HELD_FLOATS;
    row = part.thread / PART_WIDTH;
    output = part.thread % PART_WIDTH;
    channel = part.shard() * PART_WIDTH + output;
    if (block::THREADS == THREADS || part.thread < THREADS) { /* a block may have more threads than the shard */
#pragma unroll
      for (int i = 0; i < COLUMNS * LOADS; i++) {
        const int at = ((warp * COLUMNS * LOADS + i) * LANES + lane) * 4;
        uint4 &words = weights[i / LOADS].words[i % LOADS];
        if constexpr (block::IS_RESIDENT) {
          if (part.fills) hold_words(part.held + at, load_words(from + at)); /* and the same lane will read it */
          words = held_words(part.held + at);
        } else {
          words = load_words(from + at);
        }
      }
    }
    if constexpr (block::IS_RESIDENT) part.held = part.held + HELD_FLOATS;
    const float *own = header + part.shard() * WIDTH + output;
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
      bias[i] = own[i * PART_WIDTH];
      scale[i] = own[SHARDS * WIDTH + i * PART_WIDTH];
    }
  }

  /* This lane's sums for the first `rows` of COUNT rows of x, `stride` apart: [row][column]. */
  template <int COUNT, typename block, typename pointer>
  void sum_rows(const block &part, pointer x, int stride, int rows, float *sums) const {
    const int warp = part.thread / LANES;
    const int first = warp % SPLITS * 8 * LANES + 4 * (part.thread % LANES);
    const int second = first + 4 * LANES;
    /* First all loads, and no branch: so they are under way together. */
    float4 values[2 * COUNT];
    load_rows<2 * COUNT>(part, x, values, [&](int i) {
      const int from = i % 2 == 0 ? first : second;
      return i / 2 < rows && from < INPUTS ? i / 2 * stride + from : -1;
    });
    float w[COLUMNS][8];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) widen(weights[c], w[c]);
#pragma unroll
    for (int row = 0; row < COUNT; row++) {
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        const float4 a = values[2 * row];
        const float4 b = values[2 * row + 1];
        float sum = a.x * w[c][0];
        sum = fma_float(a.y, w[c][1], sum);
        sum = fma_float(a.z, w[c][2], sum);
        sum = fma_float(a.w, w[c][3], sum);
        sum = fma_float(b.x, w[c][4], sum);
        sum = fma_float(b.y, w[c][5], sum);
        sum = fma_float(b.z, w[c][6], sum);
        sum = fma_float(b.w, w[c][7], sum);
        sums[row * COLUMNS + c] = sum;
      }
    }
  }

  /* This warp's sums for the first `rows` rows of x, `stride` apart, to `partial` [WARPS][PADDED_SUMS]. */
  template <typename block, typename pointer>
  void multiply(const block &part, pointer x, int stride, int rows, shared_floats partial) const {
    const int lane = part.thread % LANES;
    const int warp = part.thread / LANES;
    float sums[PADDED_SUMS] = {};
    if (block::THREADS != THREADS && part.thread >= THREADS) return;
    if (rows == 1) {
      sum_rows<1>(part, x, stride, rows, sums);
    } else {
      sum_rows<ROWS>(part, x, stride, rows, sums);
    }
    add_up<PADDED_SUMS, LANES / 2>(sums, lane);
    const int lanes_of_a_sum = LANES / PADDED_SUMS;
    if (lane % lanes_of_a_sum == 0) partial[warp * PADDED_SUMS + lane / lanes_of_a_sum] = sums[0];
  }

  /* This thread's output of a part, finished. */
  float finish(shared_floats partial, int i) const {
    const int at = i * PART_WIDTH + output;
    const int first = at / COLUMNS * SPLITS * PADDED_SUMS + row * COLUMNS + at % COLUMNS;
    float sum = partial[first];
#pragma unroll
    for (int split = 1; split < SPLITS; split++) sum += partial[first + split * PADDED_SUMS];
    return scale[i] * (bias[i] + sum);
  }
};

//% for kernel, p in device.products.items()
typedef shard<${p.inputs}, ${p.columns}, ${p.groups}, ${p.splits}, ${p.shards}, ${p.parts}> ${kernel}_shard;
//% endfor

#endif /* VOCOSC_CUDA_PRODUCT_CUH */

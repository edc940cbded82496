/* What is done to rows of activations: norms, and depthwise convolutions with their history. */
#ifndef VOCOSC_CUDA_ROWS_CUH
#define VOCOSC_CUDA_ROWS_CUH

#include "vocosc_cuda_block.cuh"

/* LayerNorm without its affine part: `count` rows of x to shared rows, one row per warp; the padding becomes zero. */
template <typename block>
static void normalise(const block &part, const float *x, shared_floats rows, int count) {
  enum { SHARE = (DIM_STRIDE + 4 * LANES - 1) / (4 * LANES) }; /* of a lane, in float4 */
  const int lane = part.thread % LANES;
  for (int first = 0; first < ROWS; first += block::THREADS / LANES) {
    const int row = first + part.thread / LANES;
    if (row >= count) break;
    float v[SHARE][4];
    float sum = 0.0f;
    float4 loaded[SHARE];
    take<SHARE, uint4>(part, loaded, [&](int i) -> source {
      const int c = 4 * (i * LANES + lane);
      return {c < DIM_STRIDE ? x + row * DIM_STRIDE + c : nullptr, DIM - c};
    });
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
      const int c = 4 * (i * LANES + lane);
      v[i][0] = c < DIM ? loaded[i].x : 0.0f;
      v[i][1] = c + 1 < DIM ? loaded[i].y : 0.0f;
      v[i][2] = c + 2 < DIM ? loaded[i].z : 0.0f;
      v[i][3] = c + 3 < DIM ? loaded[i].w : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < SHARE; i++) sum += (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
    const float mean = sum_of_lanes(sum) / (float)DIM;
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        v[i][j] = 4 * (i * LANES + lane) + j < DIM ? v[i][j] - mean : 0.0f;
        squares = fma_float(v[i][j], v[i][j], squares);
      }
    }
    const float variance = sum_of_lanes(squares) / (float)DIM;
    const float scale = 1.0f / sqrtf(variance + NORM_EPSILON);
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
      const int c = 4 * (i * LANES + lane);
      const float4 scaled = {v[i][0] * scale, v[i][1] * scale, v[i][2] * scale, v[i][3] * scale};
      if (c < DIM_STRIDE) store_floats(rows + row * DIM_STRIDE + c, scaled);
    }
  }
}

/*
 * A value of mel as the network takes it: denormals count as zero, and what is no number as silence. A host that cannot
 * see device memory cannot refuse it; so it costs a frame and never the stream.
 */
static float clean(float value) {
  if (!(value >= -FLOAT_MAX && value <= FLOAT_MAX)) return SILENT_MEL;
  return value > -1e-20f && value < 1e-20f ? 0.0f : value;
}

/* A value of a frame of mel; those before the first are in the stream's history${", and behind the end there is none" if plan.lookahead}. */
static float mel_at(const float *mels, const float *history, int frame, int mel) {
//% if plan.lookahead
  if (frame >= 0 && mels == nullptr) return 0.0f;
//% endif
  const ptrdiff_t at = (ptrdiff_t)frame * MELS + mel; /* in int, NVRTC 13.0 makes it unsigned for sm_100, wrongly */
  return frame < 0 ? history[LEFT * MELS + at] : mels[at];
}
//% if plan.lookahead

/* Of a depthwise convolution, by its number: the frames that it sees ahead, and by how many its input is behind the mel. */
//% for name, values in [("right", device.rights), ("lag", device.lags)]
static int ${name}_of(int conv) {
  (void)conv;
//% for value in values[:-1]
  if (conv == ${loop.index0}) return ${value};
//% endfor
  return ${values[-1]};
}
//% endfor

/* Whether a frame of a call, of rows that are `lag` behind the mel, is outside of the utterance: then convolutions see zeros. */
static bool is_outside(const device_job &job, int frame, int lag) {
  const int at = job.seen + frame - lag;
  return at < 0 || at >= job.end;
}
//% endif

/* The weights of one channel of a depthwise convolution; the table is [bias, taps, oldest first][DIM]. */
struct channel_taps {
  float bias, taps[TAPS];
  void load(const float *table, int channel) {
    bias = table[channel];
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) taps[tap] = table[(1 + tap) * DIM + channel];
  }
};

/* For each of LEFT frames of the block's channels, kept(its place in a window, its value in a stream's history). */
template <int WIDTH, typename block, typename function>
static void for_each_kept(const block &part, float *history, function kept) {
  for (int i = part.thread; i < WIDTH * LEFT; i += block::THREADS) {
    const int channel = part.shard() * WIDTH + i % WIDTH;
    if (channel < DIM) kept(i % WIDTH * (LEFT + ROWS) + i / WIDTH, history[i / WIDTH * DIM + channel]);
  }
}

/* The first LEFT frames of a window [channels][LEFT + ROWS], from a stream's history. */
template <int WIDTH, typename block>
static void load_window(const block &part, shared_floats window, float *history) {
  for_each_kept<WIDTH>(part, history, [&](int at, float &value) { window[at] = value; });
}

/* Up to ROWS frames of a job, from `frame` of the call on; `first` is their row in scratch. */
struct pass {
  int job, frame, rows;
  size_t first;
  bool is_last;
};

/*
 * The end of a pass over some frames of x, the residual, for the channels of this block, of which each thread brings one
 * value of one channel (`column`) and row, or none (row >= rows): stores x, convolves it by convolution `conv` for `later`
 * layers on, and keeps the last LEFT frames of x, in the window for the next pass or, at the chunk's end, in the stream's
 * history.
 */
template <int WIDTH, typename block>
static void convolve(const block &part, const channel_taps &taps, shared_floats window, float value, int column,
                     int row, const pass &of, float *history, int conv, int later) {
  const int rows = of.rows;
  const int channel = part.shard() * WIDTH + column;
  const size_t at = (of.first + row) * DIM_STRIDE + channel;
  const bool is_used = row < rows && channel < DIM;
  const shared_floats own = window + column * (LEFT + ROWS);
  if (is_used) {
    own[LEFT + row] = value;
//% if not plan.lookahead
    scratch(part.memory, SCRATCH_RESIDUAL)[at] = value;
//% endif
  }
  barrier();
  if (is_used) {
//% if plan.lookahead
    scratch(part.memory, SCRATCH_RESIDUAL)[at] = own[LEFT + row - right_of(conv)]; /* what the convolution's output is for */
//% else
    (void)conv;
//% endif
    float sum = taps.bias;
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) sum = fma_float(own[row + tap], taps.taps[tap], sum);
    give(part, convolved_rows(part, later) + at, sum);
  }
  if (of.is_last) for_each_kept<WIDTH>(part, history, [&](int at, float &kept) { kept = window[at + rows]; });
  barrier();
  if (!of.is_last) {
    for (int c = part.thread; c < WIDTH && part.shard() * WIDTH + c < DIM; c += block::THREADS) {
      const shared_floats moved = window + c * (LEFT + ROWS);
      for (int i = 0; i < LEFT; i++) moved[i] = moved[rows + i];
    }
  }
}

#endif /* VOCOSC_CUDA_ROWS_CUH */

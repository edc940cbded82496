//% from "fft_steps.h" import column, constants, from_halves, twiddles with context
/*
 * The network on a GPU: a chunk is ${device.launches | length} kernels, one after the other. See vocosc_network.c for the steps.
 *
 *   embed       mel -> embedding                      contract_I  hidden -> x, and the next block's convolution
 *   start       norm -> x, the first convolution      head        norm, magnitude and phase -> spectrum
 *   expand_I    norm, first layer, GELU -> hidden     synthesis   inverse FFT, window, overlap-add -> audio
 *
 * A chunk of a few frames is bound by latency and by the bytes of the weights: all of its multiply-adds take a large
 * chip some 2 us (5 frames of 13.4 M; 132 multiprocessors do 128 each a cycle), so tensor cores would bring nothing.
 * Hence plain fused multiply-adds, few kernels, and every weight read once a chunk:
 *
 * - A matrix product is cut into about ${device.shards} shards of outputs, one a thread block. A lane holds 8 inputs' weights
 *   of up to 4 outputs in registers and uses them for all frames, ${device.rows} at a time, of all streams of its tile. It loads
 *   them before it waits for the kernel before: that one's last microsecond hides the memory's latency.
 * - The 32 lanes of a warp, and the warps that share an output, take different inputs; shuffles and then shared memory
 *   add up their sums in a fixed order. So the audio does not depend on timing, nor on the number of streams; it
 *   differs from the CPU's by rounding only, since the CPU adds in another order.
 * - Depthwise convolutions want one channel of all frames, norms all channels of one frame. So the block that finishes
 *   a channel of x convolves it for the next layer, and every block of that layer norms the rows for itself.
 *
 * Activations are float rows in scratch, [jobs * frames][channels]; weights are ${device.weights_text}, sums float32.
 * There are no atomics, and blocks of one kernel of the chain never talk to each other.
 *
 * The same steps also stand in one kernel, vocosc_chunk: a thread block a multiprocessor for the whole call, and flags
 * in memory between the steps in place of launches. Both ways give the same bits.
 */
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

/* ---- thread blocks -------------------------------------------------------------------------------------------------
 *
 * A step is one function for both ways of running it. What differs is the thread block's part in it, a `block`: how
 * many THREADS it has, which shard and which streams are its own, and how it waits for the step before. Until then a
 * step may read only what no step of the chunk writes.
 */

/* In the chain: a shard, for the streams of a tile. */
template <int BLOCK_THREADS>
struct chain_block {
  static constexpr int THREADS = BLOCK_THREADS;
  static constexpr int JOBS = TILE_JOBS;
  const device_memory &memory;
  const device_call &call;
  int shard() const { return block_index(); }
  int first_job() const { return tile_index() * TILE_JOBS; }
  void wait() const {
    wait_for_previous();
    start_next();
  }
  void wait_for_nothing() const { start_next(); }
};

static constexpr int SINGLE_THREADS = ${device.single.block};
static constexpr int SINGLE_FLOATS = ${device.single.shared_bytes // 4}; /* of shared memory */

/*
 * In the single kernel: some shards in turn, for all streams.
 *
 * Every thread block has a flag, which counts the steps that it has done since init: so flags need no reset, and at a
 * kernel's start all are equal. Who waits for a step waits until all blocks have done it; until then they may still
 * read what it will overwrite. Memory order: the barrier in `done` orders the block's writes before its last thread's
 * store, a release at the scope of the GPU; each flag is loaded by some thread as an acquire of that scope, and the
 * barrier in `wait` orders that before all that the block reads. Releases and acquires are cumulative over barriers, so
 * all threads of a block see what all threads of all others wrote. An acquire also drops what the multiprocessor's
 * first-level cache holds, so plain loads will do after it.
 */
struct single_block {
  static constexpr int THREADS = SINGLE_THREADS;
  static constexpr int JOBS = VOCOSC_CUDA_BATCH;
  const device_memory &memory;
  const device_call &call;
  uint32_t *flags;
  uint32_t steps; /* that this block has done */
  int turn;
  int shard() const { return turn; }
  int first_job() const { return 0; }
  void wait() const {
    for (int i = thread_index(); i < block_count(); i += THREADS) wait_until(flags + i, steps);
    barrier();
  }
  void wait_for_nothing() const {}
  void done() {
    barrier();
    steps++;
    if (thread_index() == THREADS - 1) publish(flags + block_index(), steps); /* its warp has no weights to load */
  }
};

/* The sum of the 32 lanes' values, in all lanes, by one tree. */
static float sum_of_lanes(float value) {
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) value += exchange(value, mask);
  return value;
}

/*
 * The sums over the lanes of COUNT values, a power of two. Each exchange adds up half of them and gives away the other
 * half; lanes that differ in the bits above MASK then hold different ones. The last exchanges add up what is left. At
 * the end lane i * (32 / COUNT) holds sum i, in values[0].
 */
template <int COUNT, int MASK>
static void add_up(float *values, int lane) {
  if constexpr (COUNT > 1) {
    const bool upper = (lane & MASK) != 0;
#pragma unroll
    for (int i = 0; i < COUNT / 2; i++) {
      const float kept = upper ? values[COUNT / 2 + i] : values[i];
      const float given = upper ? values[i] : values[COUNT / 2 + i];
      values[i] = kept + exchange(given, MASK);
    }
  } else {
    values[0] += exchange(values[0], MASK);
  }
  if constexpr (MASK > 1) add_up<(COUNT + 1) / 2, MASK / 2>(values, lane);
}

/* ---- matrix products ------------------------------------------------------------------------------------------- */

//% if device.is_half
/* A lane's weights of one output: 8 halves. */
struct lane_weights {
  uint4 halves;
};
enum { LANE_WEIGHT_BYTES = 16 };

static lane_weights load_weights(const char *p, int lane) { return {load_words(p + lane * 16)}; }

static void widen(const lane_weights &weights, float w[8]) {
  const uint32_t words[4] = {weights.halves.x, weights.halves.y, weights.halves.z, weights.halves.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = widen_halves(words[i]);
    w[2 * i] = pair.x;
    w[2 * i + 1] = pair.y;
  }
}
//% else
/* A lane's weights of one output: 8 floats. */
struct lane_weights {
  float4 first, second;
};
enum { LANE_WEIGHT_BYTES = 32 };

static lane_weights load_weights(const char *p, int lane) {
  const float *from = (const float *)p;
  return {load_floats(from + lane * 4), load_floats(from + LANES * 4 + lane * 4)};
}

static void widen(const lane_weights &weights, float w[8]) {
  const float values[8] = {weights.first.x,  weights.first.y,  weights.first.z,  weights.first.w,
                           weights.second.x, weights.second.y, weights.second.z, weights.second.w};
#pragma unroll
  for (int i = 0; i < 8; i++) w[i] = values[i];
}
//% endif

/*
 * A shard of a matrix product: WIDTH outputs, in GROUPS of COLUMNS. A group has SPLITS warps; each takes 256 of the
 * inputs, of which a lane has 4 in the first half and 4 in the second, so that the loads of a warp are in one piece and
 * hit every bank of shared memory once. A table is [shards][WIDTH] biases and as many scales; another one has
 * [shards][group][split][column] weights of 256 inputs. An output is scale * (bias + sum).
 */
template <int INPUTS, int COLUMNS, int GROUPS, int SPLITS>
struct shard {
  static constexpr int WIDTH = COLUMNS * GROUPS;
  static constexpr int WARPS = GROUPS * SPLITS;
  static constexpr int THREADS = WARPS * LANES;
  static constexpr int SUMS = COLUMNS * ROWS;
  static constexpr int PADDED_SUMS = SUMS > 16 ? 32 : SUMS > 8 ? 16 : SUMS > 4 ? 8 : SUMS > 2 ? 4 : SUMS;
  static constexpr int PARTIAL_FLOATS = WARPS * PADDED_SUMS; /* of shared memory */
  static_assert(SUMS <= LANES, "a lane holds a sum at the end");
  lane_weights weights[COLUMNS];

  /* Whether this thread has weights: a block may have more threads than the shard. */
  template <typename block>
  static bool has_part() {
    return block::THREADS == THREADS || thread_index() < THREADS;
  }

  template <typename block>
  void load(const block &part, size_t table) {
    const int warp = thread_index() / LANES;
    const int lane = thread_index() % LANES;
    const int column_bytes = LANES * LANE_WEIGHT_BYTES;
    const char *from = bytes(part.memory, table) + ((size_t)part.shard() * WARPS + warp) * COLUMNS * column_bytes;
    if (!has_part<block>()) return;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) weights[c] = load_weights(from + c * column_bytes, lane);
  }

  /* This lane's sums for the first `rows` of COUNT rows of x, `stride` apart: [row][column]. */
  template <int COUNT, typename pointer>
  void sum_rows(pointer x, int stride, int rows, float *sums) const {
    const int warp = thread_index() / LANES;
    const int first = warp % SPLITS * 8 * LANES + 4 * (thread_index() % LANES);
    const int second = first + 4 * LANES;
    /* First all loads, and no branch: so they are under way together. */
    float4 a[COUNT], b[COUNT];
#pragma unroll
    for (int row = 0; row < COUNT; row++) {
      const float4 zero = {0.0f, 0.0f, 0.0f, 0.0f};
      a[row] = row < rows && first < INPUTS ? load_floats(x + row * stride + first) : zero;
      b[row] = row < rows && second < INPUTS ? load_floats(x + row * stride + second) : zero;
    }
    float w[COLUMNS][8];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) widen(weights[c], w[c]);
#pragma unroll
    for (int row = 0; row < COUNT; row++) {
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        float sum = a[row].x * w[c][0];
        sum = fma_float(a[row].y, w[c][1], sum);
        sum = fma_float(a[row].z, w[c][2], sum);
        sum = fma_float(a[row].w, w[c][3], sum);
        sum = fma_float(b[row].x, w[c][4], sum);
        sum = fma_float(b[row].y, w[c][5], sum);
        sum = fma_float(b[row].z, w[c][6], sum);
        sum = fma_float(b[row].w, w[c][7], sum);
        sums[row * COLUMNS + c] = sum;
      }
    }
  }

  /* This warp's sums for the first `rows` rows of x, `stride` apart, to `partial` [WARPS][PADDED_SUMS]. */
  template <typename block, typename pointer>
  void multiply(const block &, pointer x, int stride, int rows, shared_floats partial) const {
    const int lane = thread_index() % LANES;
    const int warp = thread_index() / LANES;
    float sums[PADDED_SUMS] = {};
    if (!has_part<block>()) return;
    if (rows == 1) {
      sum_rows<1>(x, stride, rows, sums);
    } else {
      sum_rows<ROWS>(x, stride, rows, sums);
    }
    add_up<PADDED_SUMS, LANES / 2>(sums, lane);
    const int lanes_of_a_sum = LANES / PADDED_SUMS;
    if (lane % lanes_of_a_sum == 0) partial[warp * PADDED_SUMS + lane / lanes_of_a_sum] = sums[0];
  }

  /* The whole sum of one output of the shard. */
  static float sum(shared_floats partial, int row, int output) {
    const int first = output / COLUMNS * SPLITS * PADDED_SUMS + row * COLUMNS + output % COLUMNS;
    float whole = partial[first];
#pragma unroll
    for (int split = 1; split < SPLITS; split++) whole += partial[first + split * PADDED_SUMS];
    return whole;
  }
};

/* The bias and the scale of one output. */
struct output_header {
  float bias, scale;
  void load(const float *table, int shards, int width, int shard, int output) {
    const float *from = table + shard * width + output;
    bias = from[0];
    scale = from[shards * width];
  }
  float finish(float sum) const { return scale * (bias + sum); }
};

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* LayerNorm without its affine part: `count` rows of x to shared rows, a row a warp; the padding becomes zero. */
template <typename block>
static void normalise(const block &, const float *x, shared_floats rows, int count) {
  enum { SHARE = (DIM_STRIDE + 4 * LANES - 1) / (4 * LANES) }; /* of a lane, in float4 */
  const int lane = thread_index() % LANES;
  for (int first = 0; first < ROWS; first += block::THREADS / LANES) {
    const int row = first + thread_index() / LANES;
    if (row >= count) break;
    float v[SHARE][4];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < SHARE; i++) {
      const int c = 4 * (i * LANES + lane);
      const float4 zero = {0.0f, 0.0f, 0.0f, 0.0f};
      const float4 loaded = c < DIM_STRIDE ? load_floats(x + row * DIM_STRIDE + c) : zero;
      v[i][0] = c < DIM ? loaded.x : 0.0f;
      v[i][1] = c + 1 < DIM ? loaded.y : 0.0f;
      v[i][2] = c + 2 < DIM ? loaded.z : 0.0f;
      v[i][3] = c + 3 < DIM ? loaded.w : 0.0f;
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

/* A frame of mel; those before the first are in the stream's history. */
static const float *mel_frame(const float *mels, const float *history, int frame) {
  return frame < 0 ? history + (CONTEXT + frame) * MELS : mels + frame * MELS;
}

/* The weights of one channel of a depthwise convolution; the table is [bias, taps, oldest first][DIM]. */
struct channel_taps {
  float bias, taps[TAPS];
  void load(const float *table, int channel) {
    bias = table[channel];
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) taps[tap] = table[(1 + tap) * DIM + channel];
  }
};

/*
 * The end of a pass over `rows` frames of x for the channels of this block, of which each thread brings one value of
 * one channel (`column`) and row, or none (row >= rows): stores x, convolves it to y, and keeps the last CONTEXT frames
 * of x, in `window` [channels][CONTEXT + ROWS] for the next pass or, at the chunk's end, in the stream's history.
 */
template <int WIDTH, typename block>
static void convolve(const block &part, const channel_taps &taps, shared_floats window, float value, int column,
                     int row, int rows, bool is_last, float *x, float *y, float *history) {
  const int first_channel = part.shard() * WIDTH;
  const int channel = first_channel + column;
  const bool is_used = row < rows && channel < DIM;
  const shared_floats own = window + column * (CONTEXT + ROWS);
  if (is_used) {
    own[CONTEXT + row] = value;
    x[row * DIM_STRIDE + channel] = value;
  }
  barrier();
  if (is_used) {
    float sum = taps.bias;
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) sum = fma_float(own[row + tap], taps.taps[tap], sum);
    y[row * DIM_STRIDE + channel] = sum;
  }
  if (is_last) {
    for (int i = thread_index(); i < WIDTH * CONTEXT; i += block::THREADS) {
      const int c = i % WIDTH;
      const int from = i / WIDTH;
      if (first_channel + c < DIM) history[from * DIM + first_channel + c] = window[c * (CONTEXT + ROWS) + rows + from];
    }
  }
  barrier();
  if (!is_last) {
    for (int c = thread_index(); c < WIDTH; c += block::THREADS) {
      const shared_floats moved = window + c * (CONTEXT + ROWS);
      for (int i = 0; i < CONTEXT; i++) moved[i] = moved[rows + i];
    }
  }
}

/* The window's first CONTEXT frames, from a stream's history. */
template <int WIDTH, typename block>
static void load_window(const block &part, shared_floats window, const float *history) {
  const int first_channel = part.shard() * WIDTH;
  for (int i = thread_index(); i < WIDTH * CONTEXT; i += block::THREADS) {
    const int c = i % WIDTH;
    const int from = i / WIDTH;
    if (first_channel + c < DIM) window[c * (CONTEXT + ROWS) + from] = history[from * DIM + first_channel + c];
  }
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */
//% macro shard_type(p)
shard<${p.inputs}, ${p.columns}, ${p.groups}, ${p.splits}>
//%- endmacro

/* The embedding of each job's mel. */
//% set p = device.products.embed
typedef ${shard_type(p)} embed_shard;
enum { MEL_WINDOW_FLOATS = (CONTEXT + ROWS) * MELS_STRIDE };
enum { EMBED_FLOATS = MEL_WINDOW_FLOATS + embed_shard::PARTIAL_FLOATS };
template <typename block>
static void embed(const block &part, shared_floats arena) {
  enum { WINDOW_SHARE = (MEL_WINDOW_FLOATS + block::THREADS - 1) / block::THREADS };
  const shared_floats mels = slice(arena, 0, MEL_WINDOW_FLOATS);
  const shared_floats partial = slice(arena, MEL_WINDOW_FLOATS, embed_shard::PARTIAL_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int thread = thread_index();
  embed_shard product;
  product.load(part, TABLE_EMBED_WEIGHTS);
  const int row = thread / embed_shard::WIDTH;
  const int output = thread % embed_shard::WIDTH;
  output_header header;
  header.load(table(memory, TABLE_EMBED), ${p.shards}, embed_shard::WIDTH, part.shard(), output);
  const int channel = part.shard() * embed_shard::WIDTH + output;
  const int count = call.count;
  const int frames = call.frames;
  part.wait_for_nothing();
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    const float *history = slot(memory, call, job) + SLOT_MEL_HISTORY;
    const float *mels_of_job = (const float *)call.jobs[job].mel;
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      const int rows = least(ROWS, frames - frame);
      /* First all loads, then the stores: so they are under way together. */
      float values[WINDOW_SHARE];
#pragma unroll
      for (int i = 0; i < WINDOW_SHARE; i++) {
        const int at = least(thread + i * block::THREADS, (CONTEXT + rows) * MELS_STRIDE - 1);
        const float *from = mel_frame(mels_of_job, history, frame + at / MELS_STRIDE - CONTEXT);
        values[i] = from[least(at % MELS_STRIDE, MELS - 1)];
      }
#pragma unroll
      for (int i = 0; i < WINDOW_SHARE; i++) {
        const int at = thread + i * block::THREADS;
        if (at < MEL_WINDOW_FLOATS) mels[at] = at % MELS_STRIDE < MELS ? clean(values[i]) : 0.0f;
      }
      barrier();
      product.multiply(part, mels, MELS_STRIDE, rows, partial);
      barrier();
      if (row < rows && channel < DIM) {
        float *to = scratch(memory, SCRATCH_EMBEDDED) + (size_t)(job * frames + frame + row) * DIM_STRIDE;
        to[channel] = header.finish(embed_shard::sum(partial, row, output));
      }
    }
  }
}

/* The step before the blocks: channels of a shard, and its threads. */
struct start_shard {
  static constexpr int WIDTH = ${device.start.width};
  static constexpr int THREADS = ${device.start.threads};
};

/* A stream's mel history after the chunk: a mel a thread, whose frames are all read before one is written. */
template <typename block>
static void keep_mels(const block &part, int job) {
  const device_call &call = part.call;
  float *history = slot(part.memory, call, job) + SLOT_MEL_HISTORY;
  const float *mels = (const float *)call.jobs[job].mel;
  const int frames = call.frames;
  for (int mel = thread_index(); mel < MELS; mel += block::THREADS) {
    float kept[CONTEXT + 1]; /* one at least */
#pragma unroll
    for (int i = 0; i < CONTEXT; i++) kept[i] = mel_frame(mels, history, frames - CONTEXT + i)[mel];
#pragma unroll
    for (int i = 0; i < CONTEXT; i++) history[i * MELS + mel] = clean(kept[i]);
  }
}

/*
 * The norm of the embedding, with its affine part, to x; the first block's convolution. One shard more keeps the mels.
 */
enum { ROWS_FLOATS = ROWS * DIM_STRIDE, START_WINDOW_FLOATS = start_shard::WIDTH * (CONTEXT + ROWS) };
enum { START_FLOATS = ROWS_FLOATS + START_WINDOW_FLOATS };
template <typename block>
static void start(const block &part, shared_floats arena) {
  const shared_floats normalised = slice(arena, 0, ROWS_FLOATS);
  const shared_floats window = slice(arena, ROWS_FLOATS, START_WINDOW_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int thread = thread_index();
  const int row = thread / start_shard::WIDTH;
  const int column = thread % start_shard::WIDTH;
  const int channel = part.shard() * start_shard::WIDTH + column;
  float scale = 0.0f;
  float shift = 0.0f;
  channel_taps taps = {};
  if (channel < DIM) {
    scale = table(memory, TABLE_EMBED_NORM)[channel];
    shift = table(memory, TABLE_EMBED_NORM)[DIM + channel];
    taps.load(table(memory, TABLE_CONV_0), channel);
  }
  const int count = call.count;
  const int frames = call.frames;
  part.wait();
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    if (part.shard() == ${device.start.shards}) {
      keep_mels(part, job);
      continue;
    }
    float *history = slot(memory, call, job) + SLOT_HISTORY;
    load_window<start_shard::WIDTH>(part, window, history);
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      const int rows = least(ROWS, frames - frame);
      const size_t first = (size_t)(job * frames + frame) * DIM_STRIDE;
      normalise(part, scratch(memory, SCRATCH_EMBEDDED) + first, normalised, rows);
      barrier();
      float value = 0.0f;
      if (row < rows && channel < DIM) value = fma_float(normalised[row * DIM_STRIDE + channel], scale, shift);
      convolve<start_shard::WIDTH>(part, taps, window, value, column, row, rows, frame + ROWS >= frames,
                                   scratch(memory, SCRATCH_RESIDUAL) + first,
                                   scratch(memory, SCRATCH_CONVOLVED) + first, history);
    }
  }
}

/* A block's norm, first layer and GELU. */
//% set p = device.products.expand
typedef ${shard_type(p)} expand_shard;
enum { EXPAND_FLOATS = ROWS_FLOATS + expand_shard::PARTIAL_FLOATS };
template <typename block>
static void expand(const block &part, shared_floats arena, size_t headers, size_t weights) {
  const shared_floats normalised = slice(arena, 0, ROWS_FLOATS);
  const shared_floats partial = slice(arena, ROWS_FLOATS, expand_shard::PARTIAL_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  expand_shard product;
  product.load(part, weights);
  const int row = thread_index() / expand_shard::WIDTH;
  const int output = thread_index() % expand_shard::WIDTH;
  output_header header;
  header.load(table(memory, headers), ${p.shards}, expand_shard::WIDTH, part.shard(), output);
  const int channel = part.shard() * expand_shard::WIDTH + output;
  const int count = call.count;
  const int frames = call.frames;
  part.wait();
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      const int rows = least(ROWS, frames - frame);
      const size_t first = (size_t)(job * frames + frame);
      normalise(part, scratch(memory, SCRATCH_CONVOLVED) + first * DIM_STRIDE, normalised, rows);
      barrier();
      product.multiply(part, normalised, DIM_STRIDE, rows, partial);
      barrier();
      if (row < rows && channel < HIDDEN_STRIDE) {
        float *to = scratch(memory, SCRATCH_HIDDEN) + (first + row) * HIDDEN_STRIDE;
        to[channel] = vec_gelu(header.finish(expand_shard::sum(partial, row, output)));
      }
    }
  }
}

/* A block's second layer, onto x; the next block's convolution, with its history, if there is a next. */
//% set p = device.products.contract
typedef ${shard_type(p)} contract_shard;
enum { CONTRACT_WINDOW_FLOATS = contract_shard::WIDTH * (CONTEXT + ROWS) };
enum { CONTRACT_FLOATS = CONTRACT_WINDOW_FLOATS + contract_shard::PARTIAL_FLOATS };
template <typename block>
static void contract(const block &part, shared_floats arena, size_t headers, size_t weights, bool has_next,
                     size_t next_conv, int next_history) {
  const shared_floats window = slice(arena, 0, CONTRACT_WINDOW_FLOATS);
  const shared_floats partial = slice(arena, CONTRACT_WINDOW_FLOATS, contract_shard::PARTIAL_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  contract_shard product;
  product.load(part, weights);
  const int row = thread_index() / contract_shard::WIDTH;
  const int output = thread_index() % contract_shard::WIDTH;
  output_header header;
  header.load(table(memory, headers), ${p.shards}, contract_shard::WIDTH, part.shard(), output);
  const int channel = part.shard() * contract_shard::WIDTH + output;
  channel_taps taps = {};
  if (has_next && row < ROWS && channel < DIM) taps.load(table(memory, next_conv), channel);
  const int count = call.count;
  const int frames = call.frames;
  /* No other step of the chunk writes this history: the first stream's may be read before the wait. */
  const int first_job = part.first_job();
  if (has_next && first_job < count) {
    load_window<contract_shard::WIDTH>(part, window, slot(memory, call, first_job) + SLOT_HISTORY + next_history);
  }
  part.wait();
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    float *history = slot(memory, call, job) + SLOT_HISTORY + next_history;
    if (has_next && turn > 0) load_window<contract_shard::WIDTH>(part, window, history);
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      const int rows = least(ROWS, frames - frame);
      const size_t first = (size_t)(job * frames + frame);
      float *x = scratch(memory, SCRATCH_RESIDUAL) + first * DIM_STRIDE;
      const float *hidden = scratch(memory, SCRATCH_HIDDEN) + first * HIDDEN_STRIDE;
      const bool is_used = row < rows && channel < DIM;
      float value = is_used ? x[row * DIM_STRIDE + channel] : 0.0f;
      product.multiply(part, hidden, HIDDEN_STRIDE, rows, partial);
      barrier();
      if (is_used) value += header.finish(contract_shard::sum(partial, row, output));
      if (has_next) {
        convolve<contract_shard::WIDTH>(part, taps, window, value, output, row, rows, frame + ROWS >= frames, x,
                                        scratch(memory, SCRATCH_CONVOLVED) + first * DIM_STRIDE, history);
      } else {
        if (is_used) x[row * DIM_STRIDE + channel] = value;
        barrier();
      }
    }
  }
}

/*
 * The last norm; magnitude and phase of a bin, and from them its real and imaginary part. A shard has the magnitudes of
 * its bins first, then their phases.
 */
//% set p = device.products.head
typedef ${shard_type(p)} head_shard;
enum { HEAD_FLOATS = ROWS_FLOATS + head_shard::PARTIAL_FLOATS };
template <typename block>
static void head(const block &part, shared_floats arena) {
  enum { WIDTH = head_shard::WIDTH / 2 };
  const shared_floats normalised = slice(arena, 0, ROWS_FLOATS);
  const shared_floats partial = slice(arena, ROWS_FLOATS, head_shard::PARTIAL_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  head_shard product;
  product.load(part, TABLE_HEAD_WEIGHTS);
  const int row = thread_index() / WIDTH;
  const int output = thread_index() % WIDTH;
  output_header magnitude, phase;
  magnitude.load(table(memory, TABLE_HEAD), ${p.shards}, head_shard::WIDTH, part.shard(), output);
  phase.load(table(memory, TABLE_HEAD), ${p.shards}, head_shard::WIDTH, part.shard(), WIDTH + output);
  const int bin = part.shard() * WIDTH + output;
  const int count = call.count;
  const int frames = call.frames;
  part.wait();
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      const int rows = least(ROWS, frames - frame);
      const size_t first = (size_t)(job * frames + frame);
      normalise(part, scratch(memory, SCRATCH_RESIDUAL) + first * DIM_STRIDE, normalised, rows);
      barrier();
      product.multiply(part, normalised, DIM_STRIDE, rows, partial);
      barrier();
      if (row < rows && bin < BINS) {
        float *to = scratch(memory, SCRATCH_SPECTRUM) + (first + row) * 2 * BINS_STRIDE;
        const float size = vec_min(vec_exp(magnitude.finish(head_shard::sum(partial, row, output))), MAX_MAGNITUDE);
        float sine, cosine;
        vec_sincos(phase.finish(head_shard::sum(partial, row, WIDTH + output)), &sine, &cosine);
        to[bin] = size * cosine;
        to[BINS_STRIDE + bin] = size * sine;
      }
    }
  }
}

/* ---- synthesis --------------------------------------------------------------------------------------------------- */

enum {
  FFT_LENGTH = ${fft.complex_length}, /* complex buffers are [2][FFT_LENGTH]: real parts, then imaginary parts */
  FFT_FRAMES = ${device.fft_frames}, /* frames that are transformed at a time */

  /* Shared memory, offsets in floats: the tables as they lie in the weights, the overlap, two buffers. */
  TABLES_START = TABLE_TWIDDLE_COSINES,
  ARENA_OVERLAP = ${device.synthesis_table_floats},
  ARENA_BUFFERS = ARENA_OVERLAP + ${device.synthesis_overlap_floats},
  ARENA_FLOATS = ${device.synthesis_shared_bytes // 4},
};
${constants() | chomp}

/* The sum of the overlap and of `count` windowed frames, STRIDE apart: what is complete goes out, the rest becomes the overlap. */
template <int THREADS, int STRIDE, typename samples_pointer, typename pointer, typename overlap_pointer>
static void overlap_add(samples_pointer samples, int count, pointer window, overlap_pointer overlap, float *audio) {
  const int complete = count * HOP;
  /* A thread has all positions that are `complete` apart: it alone reads and writes their places in the overlap. */
  for (int start = thread_index(); start < complete; start += THREADS) {
    for (int i = start; i < complete + OVERLAP; i += complete) {
      float sum = i < OVERLAP ? overlap[i] : 0.0f;
      for (int frame = 0; frame < count; frame++) {
        const int at = i - frame * HOP;
        if (at >= 0 && at < N_FFT) sum = fma_float(samples[frame * STRIDE + at], window[at], sum);
      }
      if (i < complete) {
        audio[i] = sum;
      } else {
        overlap[i - complete] = sum;
      }
    }
  }
}

/* A stream a shard: the inverse FFTs of its frames side by side, then their overlap-add. */
template <typename block>
static void synthesis(const block &part, shared_floats arena) {
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const shared_floats overlap = arena + ARENA_OVERLAP;
  const shared_floats first_buffer = arena + ARENA_BUFFERS;
  const shared_floats second_buffer = first_buffer + FFT_FRAMES * 2 * FFT_LENGTH;
  const shared_floats window = arena + (TABLE_SYNTHESIS_WINDOW - TABLES_START) / 4;
//% if fft.is_even
  const shared_floats half_cosines = arena + (TABLE_HALF_COSINES - TABLES_START) / 4;
  const shared_floats half_sines = arena + (TABLE_HALF_SINES - TABLES_START) / 4;
//% endif
//% if fft.passes | map(attribute="groups") | max > 1
  const shared_floats twiddle_cosines = arena + (TABLE_TWIDDLE_COSINES - TABLES_START) / 4;
  const shared_floats twiddle_sines = arena + (TABLE_TWIDDLE_SINES - TABLES_START) / 4;
//% endif
  const int thread = thread_index();
  const int job = part.shard();
  const int frames = call.frames;
  const bool is_used = job < call.count;
  /* No other step writes tables and overlap: they may be read before the wait. */
  for (int i = 4 * thread; i < ARENA_OVERLAP; i += 4 * block::THREADS) {
    store_floats(arena + i, load_floats(table(memory, TABLES_START) + i));
  }
  float *kept = is_used ? slot(memory, call, job) + SLOT_OVERLAP : nullptr;
  float *audio = is_used ? (float *)call.jobs[job].audio : nullptr;
  for (int i = thread; is_used && i < OVERLAP; i += block::THREADS) overlap[i] = kept[i];
  barrier();
  part.wait();
  if (!is_used) return;
  for (int frame = 0; frame < frames; frame += FFT_FRAMES) {
    const int count = least(FFT_FRAMES, frames - frame);
    const float *spectrum = scratch(memory, SCRATCH_SPECTRUM) + (size_t)(job * frames + frame) * 2 * BINS_STRIDE;
    shared_floats to = first_buffer;
    shared_floats from = second_buffer;
//% if fft.is_even
    /* First all loads, of a bin and its mirror image: so they are under way together. */
    enum { SHARE = (FFT_FRAMES * FFT_LENGTH + block::THREADS - 1) / block::THREADS };
    float bins[SHARE][4];
#pragma unroll
    for (int share = 0; share < SHARE; share++) {
      const int i = least(thread + share * block::THREADS, count * FFT_LENGTH - 1);
      const float *re = spectrum + i / FFT_LENGTH * 2 * BINS_STRIDE;
      const float *im = re + BINS_STRIDE;
      const int k = i % FFT_LENGTH;
      bins[share][0] = re[k];
      bins[share][1] = re[FFT_LENGTH - k];
      bins[share][2] = im[k];
      bins[share][3] = im[FFT_LENGTH - k];
    }
#pragma unroll
    for (int share = 0; share < SHARE; share++) {
      const int i = thread + share * block::THREADS;
      const int k = i % FFT_LENGTH;
      const shared_floats work = to + i / FFT_LENGTH * 2 * FFT_LENGTH;
      const float low_r = bins[share][0];
      const float high_r = bins[share][1];
      const float low_i = bins[share][2];
      const float high_i = bins[share][3];
      if (i >= count * FFT_LENGTH) break;
      if (k == 0) {
        work[0] = low_r + high_r;
        work[FFT_LENGTH] = low_r - high_r;
        continue;
      }
${from_halves("") | chomp | indent(2, first=True)}
    }
//% else
    for (int i = thread; i < count * BINS; i += block::THREADS) {
      const float *re = spectrum + i / BINS * 2 * BINS_STRIDE;
      const float *im = re + BINS_STRIDE;
      const int k = i % BINS;
      const shared_floats work = to + i / BINS * 2 * FFT_LENGTH;
      work[k] = re[k];
      work[FFT_LENGTH + k] = k == 0 ? 0.0f : im[k];
      if (k > 0) {
        work[FFT_LENGTH - k] = re[k];
        work[2 * FFT_LENGTH - k] = -im[k];
      }
    }
//% endif
    barrier();
//% for step in fft.passes
//% set butterflies = step.groups * step.columns

    /* Pass ${loop.index}, radix ${step.radix}: groups ${step.groups}, columns ${step.columns}. */
    from = ${"first" if loop.index is odd else "second"}_buffer;
    to = ${"second" if loop.index is odd else "first"}_buffer;
    for (int i = thread; i < count * ${butterflies}; i += block::THREADS) {
      const int buffer = i / ${butterflies} * 2 * FFT_LENGTH;
      const int group = i % ${butterflies} / ${step.columns};
      const int column = i % ${step.columns};
      const shared_floats in = from + buffer + ${step.columns} * group + column;
//% if loop.last and fft.is_even
      const shared_floats out = to + buffer + 2 * column;
//% else
      const shared_floats out = to + buffer + ${step.columns * step.radix} * group + column;
//% endif
//% if step.groups > 1
${twiddles(step, "", "") | chomp | indent(2, first=True)}
//% endif
${column(step, "", loop.last) | chomp | indent(2, first=True)}
    }
    barrier();
//% endfor

    overlap_add<block::THREADS, 2 * FFT_LENGTH>(to, count, window, overlap, audio + (size_t)frame * HOP);
    barrier();
  }
  for (int i = thread; i < OVERLAP; i += block::THREADS) kept[i] = overlap[i];
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

template <int THREADS>
static void leave_copy(const device_call &call) {
  const uint32_t *from = (const uint32_t *)&call;
  uint32_t *to = (uint32_t *)call.memory.scratch;
  const size_t used = sizeof call - sizeof call.jobs + (size_t)call.count * sizeof *call.jobs;
  for (int i = thread_index(); i < (int)(used / sizeof *to); i += THREADS) to[i] = from[i];
}

/* The first: it also leaves a copy of the call for the others, whose parameters never change. */
KERNEL(embed_shard::THREADS) vocosc_embed(PARAMETER(vocosc_cuda_call) call) {
  SHARED_FLOATS(arena, EMBED_FLOATS);
  if (block_index() == 0 && tile_index() == 0) leave_copy<embed_shard::THREADS>(call);
  embed(chain_block<embed_shard::THREADS>{call.memory, call}, arena);
}
KERNEL(start_shard::THREADS) vocosc_start(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, START_FLOATS);
  start(chain_block<start_shard::THREADS>{memory, call_of(memory)}, arena);
}
//% for i in range(config.num_layers)
//% set is_last = i + 1 == config.num_layers
KERNEL(expand_shard::THREADS) vocosc_expand_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, EXPAND_FLOATS);
  expand(chain_block<expand_shard::THREADS>{memory, call_of(memory)}, arena, TABLE_EXPAND_${i},
         TABLE_EXPAND_${i}_WEIGHTS);
}
KERNEL(contract_shard::THREADS) vocosc_contract_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, CONTRACT_FLOATS);
  contract(chain_block<contract_shard::THREADS>{memory, call_of(memory)}, arena, TABLE_CONTRACT_${i},
//% if is_last
           TABLE_CONTRACT_${i}_WEIGHTS, false, 0, 0);
//% else
           TABLE_CONTRACT_${i}_WEIGHTS, true, TABLE_CONV_${i + 1}, ${i + 1} * CONTEXT * DIM);
//% endif
}
//% endfor
KERNEL(head_shard::THREADS) vocosc_head(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(arena, HEAD_FLOATS);
  head(chain_block<head_shard::THREADS>{memory, call_of(memory)}, arena);
}
KERNEL(${device.synthesis_threads}) vocosc_synthesis(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS_OF_LAUNCH(arena, ARENA_FLOATS);
  synthesis(chain_block<${device.synthesis_threads}>{memory, call_of(memory)}, arena);
}

/*
 * All steps. A block may have no shard of a step, and then does not wait for the one before; it has done its part all
 * the same. The layers are a loop: its code is fetched once.
 */
KERNEL(SINGLE_THREADS) vocosc_chunk(PARAMETER(vocosc_cuda_call) call) {
  static_assert(EMBED_FLOATS <= SINGLE_FLOATS && START_FLOATS <= SINGLE_FLOATS && EXPAND_FLOATS <= SINGLE_FLOATS, "");
  static_assert(CONTRACT_FLOATS <= SINGLE_FLOATS && HEAD_FLOATS <= SINGLE_FLOATS && ARENA_FLOATS <= SINGLE_FLOATS, "");
//% set last = config.num_layers - 1
  enum { LAYERS = ${config.num_layers}, LAYER_BYTES = ${device.layer_bytes} };
  static_assert(TABLE_CONTRACT_0_WEIGHTS + ${last} * LAYER_BYTES == TABLE_CONTRACT_${last}_WEIGHTS, "layers are alike");
  SHARED_FLOATS_OF_LAUNCH(arena, SINGLE_FLOATS);
  uint32_t *flags = (uint32_t *)scratch(call.memory, SCRATCH_FLAGS);
  single_block part = {call.memory, call, flags, flags[block_index()], 0};
#define EVERY_SHARD(count) for (part.turn = block_index(); part.turn < (count); part.turn += block_count())
  EVERY_SHARD(${device.products.embed.shards}) embed(part, arena);
  part.done();
  EVERY_SHARD(${device.start.shards + 1}) start(part, arena);
  part.done();
#pragma unroll 1
  for (int layer = 0; layer < LAYERS; layer++) {
    const size_t tables = (size_t)layer * LAYER_BYTES;
    EVERY_SHARD(${device.products.expand.shards}) {
      expand(part, arena, TABLE_EXPAND_0 + tables, TABLE_EXPAND_0_WEIGHTS + tables);
    }
    part.done();
    EVERY_SHARD(${device.products.contract.shards}) {
      contract(part, arena, TABLE_CONTRACT_0 + tables, TABLE_CONTRACT_0_WEIGHTS + tables, layer + 1 < LAYERS,
               TABLE_CONV_0 + tables + LAYER_BYTES, (layer + 1) * CONTEXT * DIM);
    }
    part.done();
  }
  EVERY_SHARD(${device.products.head.shards}) head(part, arena);
  part.done();
  EVERY_SHARD(VOCOSC_CUDA_BATCH) synthesis(part, arena);
#undef EVERY_SHARD
}

//% if device.library_steps
/* ---- between the libraries' steps --------------------------------------------------------------------------------
 *
 * With --link libs the products can be cuBLAS's and the inverse transforms cuFFT's, with these kernels before and behind
 * them. Most have a row a thread block. A product adds to its output, where the kernel before it has left the bias.
 */
enum { LIBRARY_THREADS = ${device.library_threads} };

static bool has_row(const device_call &call) { return block_index() < call.count * call.frames; }
static float *row_of(const device_memory &memory, size_t area, int stride) {
  return scratch(memory, area) + (size_t)block_index() * stride;
}
static void fill_row(float *row, const float *values, int count) {
  for (int i = thread_index(); i < count; i += LIBRARY_THREADS) row[i] = values[i];
}

/* What the embedding sees of each frame. */
KERNEL(LIBRARY_THREADS) vocosc_windows(PARAMETER(vocosc_cuda_call) call) {
  const device_memory &memory = call.memory;
  if (block_index() == 0) leave_copy<LIBRARY_THREADS>(call);
  if (!has_row(call)) return;
  const int job = block_index() / call.frames;
  const int frame = block_index() % call.frames;
  const float *history = slot(memory, call, job) + SLOT_MEL_HISTORY;
  const float *mels = (const float *)call.jobs[job].mel;
  float *row = row_of(memory, SCRATCH_WINDOWS, TAPS * MELS);
  for (int i = thread_index(); i < TAPS * MELS; i += LIBRARY_THREADS) {
    row[i] = clean(mel_frame(mels, history, frame + i / MELS - CONTEXT)[i % MELS]);
  }
  fill_row(row_of(memory, SCRATCH_EMBEDDED, DIM_STRIDE), table(memory, TABLE_EMBED_BIAS), DIM);
}

static void norm_row(const device_memory &memory, size_t area) {
  SHARED_FLOATS(normalised, ROWS_FLOATS);
  normalise(chain_block<LIBRARY_THREADS>{memory, call_of(memory)}, row_of(memory, area, DIM_STRIDE), normalised, 1);
  barrier();
  float *row = row_of(memory, SCRATCH_NORMALISED, DIM_STRIDE);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) row[c] = normalised[c];
}

/* The convolution of x, a channel a thread block's column, as in `start`. */
template <typename block>
static void convolve_rows(const block &part, size_t conv, int history_offset) {
  SHARED_FLOATS(window, START_WINDOW_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int row = thread_index() / start_shard::WIDTH;
  const int column = thread_index() % start_shard::WIDTH;
  const int channel = part.shard() * start_shard::WIDTH + column;
  channel_taps taps = {};
  if (channel < DIM) taps.load(table(memory, conv), channel);
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= call.count) break;
    float *history = slot(memory, call, job) + SLOT_HISTORY + history_offset;
    load_window<start_shard::WIDTH>(part, window, history);
    for (int frame = 0; frame < call.frames; frame += ROWS) {
      const int rows = least(ROWS, call.frames - frame);
      const size_t first = (size_t)(job * call.frames + frame) * DIM_STRIDE;
      float *x = scratch(memory, SCRATCH_RESIDUAL) + first;
      const float value = row < rows && channel < DIM ? x[row * DIM_STRIDE + channel] : 0.0f;
      convolve<start_shard::WIDTH>(part, taps, window, value, column, row, rows, frame + ROWS >= call.frames, x,
                                   scratch(memory, SCRATCH_CONVOLVED) + first, history);
    }
  }
}
//% for i in range(config.num_layers)
KERNEL(LIBRARY_THREADS) vocosc_norm_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  norm_row(memory, SCRATCH_CONVOLVED);
  fill_row(row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE), table(memory, TABLE_EXPAND_${i}_BIAS), ${config.hidden});
}
KERNEL(LIBRARY_THREADS) vocosc_gelu_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  float *hidden = row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE);
  float *x = row_of(memory, SCRATCH_RESIDUAL, DIM_STRIDE);
  for (int c = thread_index(); c < ${config.hidden}; c += LIBRARY_THREADS) hidden[c] = vec_gelu(hidden[c]);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) x[c] += table(memory, TABLE_CONTRACT_${i}_BIAS)[c];
}
//% if i > 0
KERNEL(start_shard::THREADS) vocosc_convolve_${i}(PARAMETER(vocosc_cuda_memory) memory) {
  convolve_rows(chain_block<start_shard::THREADS>{memory, call_of(memory)}, TABLE_CONV_${i}, ${i} * CONTEXT * DIM);
}
//% endif
//% endfor
KERNEL(LIBRARY_THREADS) vocosc_last_norm(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  norm_row(memory, SCRATCH_RESIDUAL);
  fill_row(row_of(memory, SCRATCH_HEAD, 2 * BINS), table(memory, TABLE_HEAD_BIAS), 2 * BINS);
}

/* The imaginary parts of the first bin and, if there is one, of that in the middle are none. */
KERNEL(LIBRARY_THREADS) vocosc_spectrum(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  const float *head = row_of(memory, SCRATCH_HEAD, 2 * BINS);
  float *to = row_of(memory, SCRATCH_COMPLEX, 2 * BINS);
  for (int bin = thread_index(); bin < BINS; bin += LIBRARY_THREADS) {
    const float size = vec_min(vec_exp(head[bin]), MAX_MAGNITUDE);
    float sine, cosine;
    vec_sincos(head[BINS + bin], &sine, &cosine);
    to[2 * bin] = size * cosine;
    to[2 * bin + 1] = bin == 0 || 2 * bin == N_FFT ? 0.0f : size * sine;
  }
}

KERNEL(LIBRARY_THREADS) vocosc_overlap(PARAMETER(vocosc_cuda_memory) memory) {
  const device_call &call = call_of(memory);
  const int job = block_index();
  if (job >= call.count) return;
  const float *samples = scratch(memory, SCRATCH_SAMPLES) + (size_t)job * call.frames * N_FFT;
  overlap_add<LIBRARY_THREADS, N_FFT>(samples, call.frames, table(memory, TABLE_SYNTHESIS_WINDOW),
                                      slot(memory, call, job) + SLOT_OVERLAP, (float *)call.jobs[job].audio);
}

//% endif
/* The overlap's tail, which nothing will be added to any more. The slot stays as it is: the host resets it. */
KERNEL(${device.flush_threads}) vocosc_flush(PARAMETER(vocosc_cuda_call) call) {
  if (block_index() >= call.count) return;
  const float *overlap = slot(call.memory, call, block_index()) + SLOT_OVERLAP;
  float *audio = (float *)call.jobs[block_index()].audio;
  for (int i = thread_index(); i < OVERLAP; i += ${device.flush_threads}) audio[i] = overlap[i];
}

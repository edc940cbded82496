/* The steps of a chunk, but for the last: mel to spectrum. */
#ifndef VOCOSC_CUDA_STEPS_CUH
#define VOCOSC_CUDA_STEPS_CUH

#include "vocosc_cuda_product.cuh"
#include "vocosc_cuda_rows.cuh"

//% macro shard_type(p)
shard<${p.inputs}, ${p.columns}, ${p.groups}, ${p.splits}>
//%- endmacro

/*
 * What a step does to its streams' rows: body(job, frame, rows, first) for up to ROWS frames of a stream at a time, from
 * `frame` on, whose rows in scratch begin with `first`. The bounds of the loops are the build's, so that they unroll.
 */
template <typename block, typename function>
static void for_each_pass(const block &part, int count, int frames, function body) {
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    for (int pass = 0; pass < PASSES; pass++) {
      const int frame = pass * ROWS;
      if (frame >= frames) break;
      body(job, frame, least(ROWS, frames - frame), (size_t)(job * frames + frame));
    }
  }
}

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
  for_each_pass(part, count, frames, [&](int job, int frame, int rows, size_t first) {
    const float *history = slot(memory, call, job) + SLOT_MEL_HISTORY;
    const float *mels_of_job = (const float *)call.jobs[job].mel;
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
      float *to = scratch(memory, SCRATCH_EMBEDDED) + (first + row) * DIM_STRIDE;
      to[channel] = header.finish(embed_shard::sum(partial, row, output));
    }
  });
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
  for_each_pass(part, count, frames, [&](int, int, int rows, size_t first) {
    normalise(part, scratch(memory, SCRATCH_CONVOLVED) + first * DIM_STRIDE, normalised, rows);
    barrier();
    product.multiply(part, normalised, DIM_STRIDE, rows, partial);
    barrier();
    if (row < rows && channel < HIDDEN_STRIDE) {
      float *to = scratch(memory, SCRATCH_HIDDEN) + (first + row) * HIDDEN_STRIDE;
      to[channel] = vec_gelu(header.finish(expand_shard::sum(partial, row, output)));
    }
  });
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
  for_each_pass(part, count, frames, [&](int, int, int rows, size_t first) {
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
  });
}

#endif /* VOCOSC_CUDA_STEPS_CUH */

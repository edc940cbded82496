/* The steps of a chunk, but for the last: mel to spectrum. */
#ifndef VOCOSC_CUDA_STEPS_CUH
#define VOCOSC_CUDA_STEPS_CUH

#include "vocosc_cuda_product.cuh"
#include "vocosc_cuda_rows.cuh"

/* Runs body(job) for each stream of the thread block. The bounds of the loops are the build's, so that they unroll. */
template <typename block, typename function>
static void for_each_job(const block &part, int count, function body) {
  for (int turn = 0; turn < block::JOBS; turn++) {
    const int job = part.first_job() + turn;
    if (job >= count) break;
    body(job);
  }
}

/* Runs body(pass) for all passes. */
template <typename block, typename function>
static void for_each_pass(const block &part, int count, int frames, function body) {
  for_each_job(part, count, [&](int job) {
    for (int turn = 0; turn < PASSES; turn++) {
      const int frame = turn * ROWS;
      if (frame >= frames) break;
      body(pass{job, frame, least(ROWS, frames - frame), (size_t)(job * frames + frame), frame + ROWS >= frames});
    }
  });
}

/*
 * A step around a product. For each pass prepare(inputs, pass) fills FLOATS of shared memory with rows of inputs, STRIDE
 * apart; then every thread that has an output calls epilogue(product, partial, its row in scratch).
 */
template <typename shard, int FLOATS, int STRIDE, bool IS_FIRST, typename block, typename preparation,
          typename function>
static void multiply_rows(const block &part, shared_floats arena, size_t table, preparation prepare, function epilogue) {
  const shared_floats inputs = slice(arena, 0, FLOATS);
  const shared_floats partial = slice(arena, FLOATS, shard::PARTIAL_FLOATS);
  shard product;
  product.load(part, table);
  if (!IS_FIRST) part.begin_loads();
  const int count = part.call.count;
  const int frames = part.call.frames;
  IS_FIRST ? part.wait_for_nothing() : part.wait();
  for_each_pass(part, count, frames, [&](const pass &of) {
    prepare(inputs, of);
    barrier();
    product.multiply(part, inputs, STRIDE, of.rows, partial);
    barrier();
    if (product.row < of.rows) epilogue(product, partial, of.first + product.row);
  });
}

/* The embedding of each job's mel. */
enum { MEL_WINDOW_FLOATS = (LEFT + ROWS) * MELS_STRIDE };
enum { EMBED_FLOATS = MEL_WINDOW_FLOATS + embed_shard::PARTIAL_FLOATS };
template <typename block>
static void embed(const block &part, shared_floats arena, size_t table) {
  enum { WINDOW_SHARE = (MEL_WINDOW_FLOATS + block::THREADS - 1) / block::THREADS };
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int thread = part.thread;
  const auto prepare = [&](shared_floats window, const pass &of) {
    const float *history = slot(memory, call.jobs[of.job]) + SLOT_EMBED;
    const float *mels = (const float *)call.jobs[of.job].mel;
    /* First all loads, then the stores: so they are under way together. */
    float values[WINDOW_SHARE];
#pragma unroll
    for (int i = 0; i < WINDOW_SHARE; i++) {
      const int at = least(thread + i * block::THREADS, (LEFT + of.rows) * MELS_STRIDE - 1);
      values[i] = mel_at(mels, history, of.frame + at / MELS_STRIDE - LEFT, least(at % MELS_STRIDE, MELS - 1));
    }
#pragma unroll
    for (int i = 0; i < WINDOW_SHARE; i++) {
      const int at = thread + i * block::THREADS;
      if (at < MEL_WINDOW_FLOATS) window[at] = at % MELS_STRIDE < MELS ? clean(values[i]) : 0.0f;
    }
  };
  const auto store = [&](const embed_shard &product, shared_floats partial, size_t row) {
    float *to = embedded_rows(part) + row * DIM_STRIDE + product.channel;
    if (product.channel < DIM) give(part, to, product.finish(partial, 0));
  };
  multiply_rows<embed_shard, MEL_WINDOW_FLOATS, MELS_STRIDE, true>(part, arena, table, prepare, store);
}

/* The channels of a thread block of `start`, and its threads. */
struct start_shard {
  static constexpr int SHARDS = ${device.start.shards + 1}; /* the last one keeps the mels */
  static constexpr int WIDTH = ${device.start.width};
  static constexpr int THREADS = ${device.start.threads};
};

/* The streams' mel history after the chunk: one mel per thread, whose frames are all read before one is written. */
template <typename block>
static void keep_mels(const block &part) {
  const device_call &call = part.call;
  for_each_job(part, call.count, [&](int job) {
    float *history = slot(part.memory, call.jobs[job]) + SLOT_EMBED;
    if constexpr (block::BY_DATA) { /* the embedding of all frames is there: nobody reads the history any more */
      const float *rows = embedded_rows(part) + (size_t)job * call.frames * DIM_STRIDE;
      for (int i = 4 * part.thread; i < call.frames * DIM_STRIDE; i += 4 * block::THREADS) {
        float4 values[1];
        take<1, uint4>(part, values, [&](int) -> source { return {rows + i, DIM - i % DIM_STRIDE}; });
      }
      barrier();
    }
    const float *mels = (const float *)call.jobs[job].mel;
    for (int mel = part.thread; mel < MELS; mel += block::THREADS) {
      float kept[LEFT + 1]; /* one at least */
#pragma unroll
      for (int i = 0; i < LEFT; i++) kept[i] = mel_at(mels, history, call.frames - LEFT + i, mel);
#pragma unroll
      for (int i = 0; i < LEFT; i++) history[i * MELS + mel] = clean(kept[i]);
    }
  });
}

/*
 * Convolution `number` of x, of which value(pass, row, channel) is one value per thread. The shards are those of `start`, of which the
 * last one keeps the mels.
 */
enum { START_WINDOW_FLOATS = start_shard::WIDTH * (LEFT + ROWS) };
template <typename block, typename function>
static void convolve_rows(const block &part, shared_floats window, size_t conv, int history_offset, int number,
                          function value) {
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  const int row = part.thread / start_shard::WIDTH;
  const int column = part.thread % start_shard::WIDTH;
  const int channel = part.shard() * start_shard::WIDTH + column;
  channel_taps taps = {};
  if (channel < DIM) taps.load(table(memory, conv), channel);
  const int count = call.count;
  const int frames = call.frames;
  part.wait();
  if (part.shard() == start_shard::SHARDS - 1) return keep_mels(part);
  for_each_pass(part, count, frames, [&](const pass &of) {
    float *history = slot(memory, call.jobs[of.job]) + history_offset;
    if (of.frame == 0) load_window<start_shard::WIDTH>(part, window, history);
//% if plan.lookahead
    const bool is_none = is_outside(call.jobs[of.job], of.frame + row, lag_of(number));
//% endif
    float x = value(of, row, channel); /* by all threads together */
//% if plan.lookahead
    if (is_none) x = 0.0f;
//% endif
    convolve<start_shard::WIDTH>(part, taps, window, x, column, row, of, history, number, 0);
  });
}

/* The norm of the embedding, with its affine part, to x, and the first convolution. */
enum { ROWS_FLOATS = ROWS * DIM_STRIDE, START_FLOATS = ROWS_FLOATS + START_WINDOW_FLOATS };
template <typename block>
static void start(const block &part, shared_floats arena, size_t norm, size_t conv, int history, int number) {
  const shared_floats normalised = slice(arena, 0, ROWS_FLOATS);
  const int own = part.shard() * start_shard::WIDTH + part.thread % start_shard::WIDTH;
  float scale = 0.0f;
  float shift = 0.0f;
  if (own < DIM) {
    scale = table(part.memory, norm)[own];
    shift = table(part.memory, norm)[DIM + own];
  }
  convolve_rows(part, slice(arena, ROWS_FLOATS, START_WINDOW_FLOATS), conv, history, number, [&](const pass &of, int row, int channel) {
    normalise(part, embedded_rows(part) + of.first * DIM_STRIDE, normalised, of.rows);
    barrier();
    return row < of.rows && channel < DIM ? fma_float(normalised[row * DIM_STRIDE + channel], scale, shift) : 0.0f;
  });
}

/* A product of the norm of some rows. */
template <typename shard, typename block, typename function>
static void multiply_norm(const block &part, shared_floats arena, size_t table, const float *from, function epilogue) {
  const auto prepare = [&](shared_floats normalised, const pass &of) {
    normalise(part, from + of.first * DIM_STRIDE, normalised, of.rows);
  };
  multiply_rows<shard, ROWS_FLOATS, DIM_STRIDE, false>(part, arena, table, prepare, epilogue);
}

/* A block's norm, up projection and GELU. */
enum { EXPAND_FLOATS = ROWS_FLOATS + expand_shard::PARTIAL_FLOATS };
template <typename block>
static void expand(const block &part, shared_floats arena, size_t table) {
  const auto store = [&](const expand_shard &product, shared_floats partial, size_t row) {
    const hidden_row to = hidden(hidden_rows(part), row);
//% if device.tuning.half
    if (product.channel < HIDDEN_STRIDE) to.p[product.channel] = narrow(vec_gelu(product.finish(partial, 0)));
//% else
    if (product.channel < HIDDEN_STRIDE) give(part, to.p + product.channel, vec_gelu(product.finish(partial, 0)));
//% endif
  };
  multiply_norm<expand_shard>(part, arena, table, convolved_rows(part, 0), store);
}

/* A block's down projection, onto x; the next block's convolution, of this number, with its history, if there is a next. */
enum { CONTRACT_WINDOW_FLOATS = contract_shard::WIDTH * (LEFT + ROWS) };
enum { CONTRACT_FLOATS = CONTRACT_WINDOW_FLOATS + contract_shard::PARTIAL_FLOATS };
template <typename block>
static void contract(const block &part, shared_floats arena, size_t layer, size_t next_conv, int next_history,
                     int next) {
  const bool has_next = next < CONVS;
  const shared_floats window = slice(arena, 0, CONTRACT_WINDOW_FLOATS);
  const shared_floats partial = slice(arena, CONTRACT_WINDOW_FLOATS, contract_shard::PARTIAL_FLOATS);
  const device_memory &memory = part.memory;
  const device_call &call = part.call;
  contract_shard product;
  product.load(part, layer);
  const int row = product.row;
  const int channel = product.channel;
  channel_taps taps = {};
  if (has_next && row < ROWS && channel < DIM) taps.load(table(memory, next_conv), channel);
  part.begin_loads();
  const int count = call.count;
  const int frames = call.frames;
  /* No other step of the chunk writes this history: the first stream's may be read before the wait. */
  const int first_job = part.first_job();
  if (has_next && first_job < count) {
    load_window<contract_shard::WIDTH>(part, window, slot(memory, call.jobs[first_job]) + next_history);
  }
  part.wait();
  for_each_pass(part, count, frames, [&](const pass &of) {
    float *history = slot(memory, call.jobs[of.job]) + next_history;
    const float *x = scratch(memory, SCRATCH_RESIDUAL) + (of.first + row) * DIM_STRIDE + channel; /* this block's own */
    const bool is_used = row < of.rows && channel < DIM;
    if (has_next && of.frame == 0 && of.job > first_job) load_window<contract_shard::WIDTH>(part, window, history);
    float value = is_used ? *x : 0.0f;
//% if plan.lookahead
    const bool is_none = has_next && is_outside(call.jobs[of.job], of.frame + row, lag_of(next));
//% endif
    product.multiply(part, hidden(hidden_rows(part), of.first), HIDDEN_STRIDE, of.rows, partial);
    barrier();
    if (is_used) value += product.finish(partial, 0);
//% if plan.lookahead
    if (is_none) value = 0.0f;
//% endif
    if (has_next) {
      convolve<contract_shard::WIDTH>(part, taps, window, value, product.output, row, of, history, next, 1);
    } else {
      if (is_used) give(part, residual_rows(part) + (of.first + row) * DIM_STRIDE + channel, value);
      barrier();
    }
  });
}

/* A bin of the spectrum, from its log-magnitude and its phase. */
static void polar(float log_magnitude, float phase, float *re, float *im) {
  const float size = vec_min(vec_exp(log_magnitude), MAX_MAGNITUDE);
  float sine, cosine;
  vec_sincos(phase, &sine, &cosine);
  *re = size * cosine;
  *im = size * sine;
}

/* The last norm; magnitude and phase of a bin, and from them its real and imaginary part. */
enum { HEAD_FLOATS = ROWS_FLOATS + head_shard::PARTIAL_FLOATS };
template <typename block>
static void head(const block &part, shared_floats arena, size_t table) {
  const auto store = [&](const head_shard &product, shared_floats partial, size_t row) {
    float *to = spectrum_rows(part) + row * 2 * BINS_STRIDE + product.channel;
    if (product.channel >= BINS) return;
    float re, im;
    polar(product.finish(partial, 0), product.finish(partial, 1), &re, &im);
    give(part, to, re);
    give(part, to + BINS_STRIDE, im);
  };
  multiply_norm<head_shard>(part, arena, table, residual_rows(part), store);
}

#endif /* VOCOSC_CUDA_STEPS_CUH */

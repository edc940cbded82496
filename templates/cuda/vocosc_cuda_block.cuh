/*
 * A step is one function, however it is run. What differs is the thread block's part in it, a `block`: how many THREADS
 * it has, which shard and which streams are its own, and how it waits for the step before. Until then a step may read
 * only what no step of the chunk writes.
 */
#ifndef VOCOSC_CUDA_BLOCK_CUH
#define VOCOSC_CUDA_BLOCK_CUH

#include "vocosc_cuda_layout.cuh"

/* In the chain: a shard, for the streams of a tile. */
template <int BLOCK_THREADS>
struct chain_block {
  static constexpr bool BY_DATA = false, IS_RESIDENT = false;
  static constexpr int THREADS = BLOCK_THREADS;
  static constexpr int JOBS = TILE_JOBS;
  const device_memory &memory;
  const device_call &call;
  const int thread = thread_index();
  int shard() const { return block_index(); }
  int first_job() const { return tile_index() * TILE_JOBS; }
  void wait() const {
//% if device.tuning.early
    start_next();
    wait_for_previous();
//% else
    wait_for_previous();
    start_next();
//% endif
  }
  void wait_for_nothing() const { start_next(); }
  /* Loads that come before in the text are under way before others begin: no compiler moves any over a barrier. */
  void begin_loads() const { barrier(); }
};

static constexpr int SINGLE_THREADS = ${device.single.block};
static constexpr int SINGLE_FLOATS = ${device.single.shared_bytes // 4}; /* of shared memory */

/*
 * In the single kernel: some shards in turn, for all streams.
 *
 * Every thread block has a flag, which counts the steps that it has done since init: so flags need no reset, and at a
 * kernel's start all are equal. Who waits for a step waits until all blocks have done it; until then they may still
 * read what it will overwrite. Memory order: the barrier in `show_done` orders the block's writes before its last thread's
 * store, a release at the scope of the GPU; each flag is looked at by some thread, which has a fence of that scope behind
 * it, and the barrier in `wait_for_all` orders that before all that the block reads. Both are cumulative over barriers, so all
 * threads of a block see what all threads of all others wrote. A fence also drops what the multiprocessor's first-level
 * cache holds, so plain loads will do after it.
//% if device.tuning.data
 *
 * Here blocks hand over by the data, and flags count calls; of the resident kernel, the ends of calls as well.
//% endif
 */
template <bool HOLDS_WEIGHTS>
struct single_block {
  static constexpr bool BY_DATA = ${"true" if device.tuning.data else "false"}, IS_RESIDENT = HOLDS_WEIGHTS;
  static constexpr int THREADS = SINGLE_THREADS;
  static constexpr int JOBS = VOCOSC_CUDA_BATCH;
  const device_memory &memory;
  const device_call &call;
  uint32_t *flags;
  uint32_t steps; /* that this block has done */
  mutable shared_floats held; /* of the resident kernel: the next product's weights */
  bool fills;                 /* which are not there yet */
  int layer = 0, turn = 0, thread = thread_index();
  /* The first of its shards of a step. */
  void begin_step(int skipped) {
    turn = (block_index() + skipped) % block_count();
    thread = thread_index_anew();
  }
  int shard() const { return turn; }
  int first_job() const { return 0; }
  void wait_for_all(bool rests) const {
    for (int i = thread; i < block_count(); i += THREADS) wait_until(flags + i, steps, rests);
    if (thread < block_count()) acquire();
    barrier();
  }
  /* The barrier is the step's own if it ends with one; what it writes behind that is for calls to come. */
  void show_done(bool ends_with_barrier) {
    if (!ends_with_barrier) barrier();
    steps++;
    if (thread == THREADS - 1) publish(flags + block_index(), steps); /* its warp has no weights to load */
  }
  void wait_for_nothing() const {}
  void begin_loads() const {} /* the call is a parameter here, and no load depends on another */
//% if device.tuning.data
  /* The data of this call, or of the next one. */
  float *data_of(uint32_t later) const {
    return scratch(memory, SCRATCH_DATA + (steps / (IS_RESIDENT ? 2 : 1) + later) % 2 * DATA_FLOATS);
  }
  float *data(size_t offset, int at_layer) const { return data_of(0) + offset + (size_t)at_layer * DATA_LAYER; }
  void wait() const {}
  void done(bool ends_with_barrier) const {
    if (!ends_with_barrier) barrier(); /* the next step uses the same shared memory */
  }
  /* Empties the other call's data, which nobody reads any more or writes yet. */
  void end() {
    uint32_t *other = (uint32_t *)data_of(1);
    const int stride = block_count() * THREADS;
    for (int i = block_index() * THREADS + thread; i < DATA_FLOATS; i += stride) show_word(other + i, 0);
    if constexpr (IS_RESIDENT) {
      show_done(false);
    } else if (thread == 0) {
      flags[block_index()] = steps + 1;
    }
  }
//% else
  void wait() const { wait_for_all(false); }
  void done(bool ends_with_barrier) { show_done(ends_with_barrier); }
  void end() {}
//% endif
};

/*
 * What blocks hand over, where it is, and how. In the single kernel by data every layer has places of its own (`later`
 * layers from the current one), which are empty when a call begins; who takes waits until all of it is there.
 */
//% for name, offset, layer in [("embedded", "DATA_EMBEDDED", "0"), ("convolved", "DATA_CONVOLVED", "part.layer + later"), ("hidden", "DATA_HIDDEN", "part.layer"), ("residual", "DATA_FINAL", "0"), ("spectrum", "DATA_SPECTRUM", "0")]
template <typename block>
static float *${name}_rows(const block &part${", int later" if name == "convolved" else ""}) {
//% if device.tuning.data
  if constexpr (block::BY_DATA) return part.data(${offset}, ${layer});
//% elif name == "convolved"
  (void)later;
//% endif
  return scratch(part.memory, SCRATCH_${name | upper});
}
//% endfor

template <typename block>
static void give(const block &, float *p, float value) {
  if constexpr (block::BY_DATA) {
    show_word((uint32_t *)p, ~__float_as_uint(value));
  } else {
    *p = value;
  }
}

/* Where four floats are, of which `used` matter, or one; null for zeros. */
struct source {
  const float *p;
  int used;
};

//% if device.tuning.data
/* What is looked at together: the words of four floats, or that of one. */
static void look_at(uint4 *words, source from) {
  *words = from.p != nullptr ? look_at_words((const uint32_t *)from.p) : uint4{~0u, ~0u, ~0u, ~0u};
}
static void look_at(uint32_t *word, source from) { *word = look_at_word((const uint32_t *)from.p); }
static bool is_there(uint4 words, int used) {
  return words.x != 0 && (used < 2 || words.y != 0) && (used < 3 || words.z != 0) && (used < 4 || words.w != 0);
}
static bool is_there(uint32_t word, int) { return word != 0; }
static float value_of(uint32_t word) { return __uint_as_float(~word); }
static float4 value_of(uint4 words) {
  return {value_of(words.x), value_of(words.y), value_of(words.z), value_of(words.w)};
}
//% endif
static void load(float4 *values, source from) {
  *values = from.p != nullptr ? load_floats(from.p) : float4{0.0f, 0.0f, 0.0f, 0.0f};
}
static void load(float *value, source from) { *value = *from.p; }

/* COUNT times four floats (uint4), or one (uint32_t), from at(i). All loads are begun first. */
template <int COUNT, typename words, typename block, typename value, typename function>
static void take(const block &, value *values, function at) {
  if constexpr (block::BY_DATA) {
    words found[COUNT];
    bool all;
    do {
      all = true;
#pragma unroll
      for (int i = 0; i < COUNT; i++) look_at(&found[i], at(i));
#pragma unroll
      for (int i = 0; i < COUNT; i++) all = all && is_there(found[i], at(i).used);
    } while (!all);
#pragma unroll
    for (int i = 0; i < COUNT; i++) values[i] = value_of(found[i]);
  } else {
#pragma unroll
    for (int i = 0; i < COUNT; i++) load(&values[i], at(i));
  }
}

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

/* What the first kernel of a call does for the others: a copy of the call, or of some of its jobs, for call_of. */
template <int THREADS, typename parameter>
static void leave_copy(const parameter &call) {
  enum { HEADER = (sizeof call - sizeof call.jobs) / 4, JOB = sizeof *call.jobs / 4 };
  const uint32_t *from = (const uint32_t *)&call;
  uint32_t *to = (uint32_t *)call.memory.scratch;
  const int words = HEADER + least(call.count - call.first, VOCOSC_CUDA_PARAMETER_JOBS) * JOB;
  for (int i = thread_index(); i < words; i += THREADS) to[i < HEADER ? i : i + call.first * JOB] = from[i];
}

#endif /* VOCOSC_CUDA_BLOCK_CUH */

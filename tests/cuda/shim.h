/*
 * The machine that the kernels run on in the tests: a host's C++ compiler in place of a GPU, with the names of
 * templates/cuda/vocosc_cuda_machine.h. The compiler includes this in front of a model's kernels and skips that header.
 *
 * A block's threads are fibers; one runs until its next barrier or shuffle. Shared memory knows who touched it since
 * the last barrier: reading what another thread wrote, writing what another thread read or wrote, and reading what
 * nobody wrote are errors, whatever the order the threads ran in. So is a barrier or a shuffle that some threads never
 * reach. An error ends the launch, with a message.
 *
 * A cooperative kernel's blocks run in turns: each as far as it can, until it waits for another's flag. If all wait,
 * that is an error. Memory that is declared as shared (shim_share) is weakly ordered, as on a GPU: a block sees its own
 * writes, and of another's those that came before a flag that it has waited for, and no others. So what lacks a publish
 * or a wait gives wrong results, whatever the order the blocks ran in.
 */
#ifndef VOCOSC_TESTS_SHIM_H
#define VOCOSC_TESTS_SHIM_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
struct uint4 {
  uint32_t x, y, z, w;
};

struct shim_thread {
  int thread, block_x, block_y, threads;
  int blocks; /* in x */
  int place;  /* of the block among those that run together */
};
extern shim_thread shim_current;
extern uint64_t shim_epoch;       /* goes up at every barrier, and when a block starts */
extern uint64_t shim_block_epoch; /* the epoch in which the block started */

extern size_t shim_launch_bytes; /* of shared memory that the launch gives */

extern "C" void shim_barrier();
extern "C" float shim_exchange(float value, int mask);
extern "C" void shim_wait_for_previous();
extern "C" void shim_publish(uint32_t *flag, uint32_t value);
extern "C" void shim_wait_until(const uint32_t *flag, uint32_t value);
extern "C" void shim_write_flag(uint32_t *flag, uint32_t value); /* and nothing of what came before */
extern "C" void shim_fence(); /* the block sees what came before the flags that the thread has looked at */
extern "C" void shim_look(const uint32_t *word); /* a second look at it waits until something new can be seen */
extern "C" uint32_t shim_value_of(const uint32_t *word);
extern "C" void shim_show_word(uint32_t *word, uint32_t value); /* others see it, and nothing of what came before */
/*
 * What a block and the host tell each other, in the host's memory. If there is a host (shim_set_host), it is called, on
 * the launch's own stack: when a word is looked at, before; when the block has a fence, so that what the host wrote
 * before the word may be there from now on; and when it is told something, which is in the word by then. Without one,
 * the host is another thread of the process, and the other blocks go on while one rests.
 */
enum shim_request { SHIM_LOOK, SHIM_FENCE, SHIM_TELL, SHIM_TELL_UNORDERED };
extern "C" uint32_t shim_look_at_host(const uint32_t *word);
extern "C" void shim_fence_of_host();
extern "C" void shim_tell_host(uint32_t *word, uint32_t value, int is_release);
extern "C" void shim_rest();
extern "C" void shim_cluster_arrive();
extern "C" void shim_cluster_wait();
extern "C" void shim_misuse(const char *what, const char *array, long index);

#define KERNEL(threads) extern "C" void
#define PARAMETER(type) const type &

static inline int thread_index() { return shim_current.thread; }
static inline int thread_index_anew() { return thread_index(); }
static inline int block_index() { return shim_current.block_x; }
static inline int tile_index() { return shim_current.block_y; }
static inline int block_count() { return shim_current.blocks; }
static inline void barrier() { shim_barrier(); }
static inline float exchange(float value, int mask) { return shim_exchange(value, mask); }
static inline void wait_for_previous() { shim_wait_for_previous(); }
static inline void start_next() {}
static inline void publish(uint32_t *flag, uint32_t value) { shim_publish(flag, value); }
static inline void wait_until(const uint32_t *flag, uint32_t value, bool = false) { shim_wait_until(flag, value); }
static inline void acquire() { shim_fence(); }
static inline void rest() { shim_rest(); }
static inline uint32_t look_at_host(const uint32_t *p) { return shim_look_at_host(p); }
static inline void acquire_from_host() { shim_fence_of_host(); }
static inline void tell_host(uint32_t *p, uint32_t word) { shim_tell_host(p, word, 1); }

static inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline float __uint_as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline void show_word(uint32_t *p, uint32_t word) { shim_show_word(p, word); }
static inline uint32_t look_at_word(const uint32_t *p) {
  shim_look(p);
  return shim_value_of(p);
}
static inline uint4 look_at_words(const uint32_t *p) {
  shim_look(p);
  return {shim_value_of(p), shim_value_of(p + 1), shim_value_of(p + 2), shim_value_of(p + 3)};
}

/* Shared memory ------------------------------------------------------------------------------------------------- */

struct shim_cell {
  float value;
  int writer, reader; /* threads; reader -1 is more than one */
  uint64_t written, read;
};

struct shim_array {
  const char *name;
  long count;
  std::vector<shim_cell> cells; /* [blocks that run together][count] */

  shim_cell &at(long index) {
    const size_t first = (size_t)shim_current.place * (size_t)count;
    if (cells.size() < first + (size_t)count) cells.resize(first + (size_t)count);
    return cells[first + (size_t)index];
  }
  float get(long index) {
    shim_cell &cell = at(index);
    if (cell.written < shim_block_epoch) shim_misuse("read before it was written", name, index);
    if (cell.written == shim_epoch && cell.writer != shim_current.thread) {
      shim_misuse("read what another thread wrote, with no barrier between", name, index);
    }
    cell.reader = cell.read == shim_epoch && cell.reader != shim_current.thread ? -1 : shim_current.thread;
    cell.read = shim_epoch;
    return cell.value;
  }
  void set(long index, float value) {
    shim_cell &cell = at(index);
    if (cell.written == shim_epoch && cell.writer != shim_current.thread) {
      shim_misuse("wrote what another thread wrote, with no barrier between", name, index);
    }
    if (cell.read == shim_epoch && cell.reader != shim_current.thread) {
      shim_misuse("wrote what another thread read, with no barrier between", name, index);
    }
    cell.value = value;
    cell.writer = shim_current.thread;
    cell.written = shim_epoch;
  }
};

/* A pointer into an array of shared memory, or into the part of one from `first` to before `end`. */
struct shared_floats {
  shim_array *array;
  long offset, first, end;

  struct element {
    shim_array *array;
    long index;
    operator float() const { return array->get(index); }
    const element &operator=(float value) const {
      array->set(index, value);
      return *this;
    }
    const element &operator=(const element &other) const { return *this = (float)other; }
  };

  element operator[](long index) const {
    if (offset + index < first || offset + index >= end) shim_misuse("out of bounds", array->name, offset + index);
    return {array, offset + index};
  }
  shared_floats operator+(long count) const { return {array, offset + count, first, end}; }
};
static inline shared_floats slice(shared_floats of, long first, long count) {
  const long start = of.offset + first;
  if (start < of.first || start + count > of.end) shim_misuse("a part is out of bounds", of.array->name, start + count);
  return {of.array, start, start, start + count};
}

#define SHARED_FLOATS(name, count)                     \
  static shim_array name##_array = {#name, count, {}}; \
  const shared_floats name = {&name##_array, 0, 0, count}

#define SHARED_FLOATS_OF_LAUNCH(name, count)                                               \
  if ((count) * sizeof(float) > shim_launch_bytes) shim_misuse("too small", #name, count); \
  SHARED_FLOATS(name, count)

/* 16 bytes ----------------------------------------------------------------------------------------------------------
 */

static inline void shim_check_alignment(const void *p) {
  if ((uintptr_t)p % 16 != 0) shim_misuse("access of 16 bytes that is not aligned", "global memory", 0);
}
static inline uint4 load_words(const void *p) {
  uint4 value;
  shim_check_alignment(p);
  memcpy(&value, p, sizeof value);
  return value;
}
static inline float4 load_floats(const float *p) {
  float4 value;
  shim_check_alignment(p);
  memcpy(&value, p, sizeof value);
  return value;
}
static inline float4 load_floats(shared_floats p) {
  if (p.offset % 4 != 0) shim_misuse("access of 16 bytes that is not aligned", p.array->name, p.offset);
  return {p[0], p[1], p[2], p[3]};
}
static inline void store_floats(shared_floats p, float4 value) {
  if (p.offset % 4 != 0) shim_misuse("access of 16 bytes that is not aligned", p.array->name, p.offset);
  p[0] = value.x;
  p[1] = value.y;
  p[2] = value.z;
  p[3] = value.w;
}

static inline uint4 held_words(shared_floats p) {
  const float4 value = load_floats(p);
  return {__float_as_uint(value.x), __float_as_uint(value.y), __float_as_uint(value.z), __float_as_uint(value.w)};
}
static inline void hold_words(shared_floats p, uint4 words) {
  store_floats(
      p, {__uint_as_float(words.x), __uint_as_float(words.y), __uint_as_float(words.z), __uint_as_float(words.w)});
}

/* The half's exponent and fraction in a float's place are 2^112 times too small; that also holds for subnormals. */
static inline float shim_widen(uint32_t half) {
  const float size = __uint_as_float((half & 0x7fffu) << 13) * 0x1p112f;
  return __uint_as_float(__float_as_uint(size) | (half & 0x8000u) << 16);
}
/* To the nearest half, of two to the even one; what is too large becomes infinite. */
static inline uint16_t narrow(float value) {
  const uint32_t sign = __float_as_uint(value) >> 16 & 0x8000u;
  const float size = std::fabs(value);
  if (!(size < 65520.0f)) return (uint16_t)(sign | (size == size ? 0x7c00u : 0x7e00u));
  const float step = size < 0x1p-14f ? 0x1p-24f : std::ldexp(1.0f, std::ilogb(size) - 10); /* of halves of this size */
  const float rounded = std::nearbyint(size / step) * step;
  return (uint16_t)(sign | __float_as_uint(rounded * 0x1p-112f) >> 13);
}
static inline float2 widen_halves(uint32_t word) { return {shim_widen(word), shim_widen(word >> 16)}; }

/* The operands of all lanes of a warp, each of which brings its own. */
struct shim_words {
  uint32_t words[6];
};
static inline uint32_t (*shim_operands(const shim_words &own))[6] {
  static uint32_t tables[2][32][6]; /* of this turn and the one before: a warp runs on before another does */
  static unsigned char turns[1024];
  uint32_t(*all)[6] = tables[turns[shim_current.thread]++ % 2];
  memcpy(all[shim_current.thread % 32], own.words, sizeof own.words);
  shim_exchange(0.0f, 16); /* until all lanes are here */
  return all;
}

/*
 * As mma.m16n8k16 of halves: a lane's weights are two inputs each of outputs lane / 4 and 8 further on, and of inputs 8
 * further on; its inputs those of row lane / 4. Products are exact, and so is their sum with what was there, here in
 * double; then it is rounded towards zero, as tensor cores do (they cut off more: some bits of each product, when the
 * products are brought to one exponent, of which there is no description).
 */
static inline void multiply_add(float sums[4], uint4 weights, uint32_t low, uint32_t high) {
  uint32_t(*all)[6] = shim_operands({weights.x, weights.y, weights.z, weights.w, low, high});
  for (int i = 0; i < 4; i++) {
    const int lane = shim_current.thread % 32, output = lane / 4 + i / 2 * 8, row = lane % 4 * 2 + i % 2;
    double sum = sums[i];
    for (int k = 0; k < 16; k++) {
      const int from = k % 8 / 2;
      const float2 w = widen_halves(all[output % 8 * 4 + from][k / 8 * 2 + output / 8]);
      const float2 x = widen_halves(all[row * 4 + from][4 + k / 8]);
      sum += k % 2 == 0 ? (double)w.x * x.x : (double)w.y * x.y;
    }
    float rounded = (float)sum;
    if (std::fabs((double)rounded) > std::fabs(sum)) rounded = std::nextafter(rounded, 0.0f);
    sums[i] = rounded;
  }
}

/* As mma.m16n8k32 of int8 times int8 or uint8: a lane has four inputs where it has two halves. Sums wrap, as there. */
template <bool IS_LOW>
static inline void multiply_add_integers(int32_t sums[4], uint4 weights, uint32_t first, uint32_t second) {
  uint32_t(*all)[6] = shim_operands({weights.x, weights.y, weights.z, weights.w, first, second});
  for (int i = 0; i < 4; i++) {
    const int lane = shim_current.thread % 32, output = lane / 4 + i / 2 * 8, row = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 32; k++) {
      const int from = k % 16 / 4, shift = k % 4 * 8;
      const int8_t w = (int8_t)(all[output % 8 * 4 + from][k / 16 * 2 + output / 8] >> shift);
      const uint8_t x = (uint8_t)(all[row * 4 + from][4 + k / 16] >> shift);
      sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)(w * (IS_LOW ? (int)x : (int)(int8_t)x)));
    }
  }
}

#endif /* VOCOSC_TESTS_SHIM_H */

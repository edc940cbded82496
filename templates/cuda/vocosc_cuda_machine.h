/*
 * What the kernels need of the machine beside plain C++: shared memory, barriers, shuffles, halves, and the overlap
 * with the kernel before. The tests have a header of the same content for a host's C++ compiler.
 */
#ifndef VOCOSC_CUDA_MACHINE_H
#define VOCOSC_CUDA_MACHINE_H

#include <stdint.h>

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)

/* The kernel's one parameter. */
#define PARAMETER(type) const __grid_constant__ type

/* An array of the block's shared memory, and a pointer into one. */
#define SHARED_FLOATS(name, count) __shared__ __align__(16) float name[count]
typedef float *shared_floats;

/* `count` floats from the `first` one on, of an array. */
static __forceinline__ shared_floats slice(shared_floats array, int first, int count) {
  (void)count;
  return array + first;
}

/* The shared memory that a launch gives beside the kernel's own arrays: `count` floats of it are used. */
#define SHARED_FLOATS_OF_LAUNCH(name, count) extern __shared__ __align__(16) float name[]

static __forceinline__ int thread_index() {
  const int index = (int)threadIdx.x;
  __builtin_assume(index >= 0 && index < 1024); /* so that divisions by constants are shifts */
  return index;
}

/*
 * The same, which the compiler takes for another value: so nothing that follows from it stays in registers from one step
 * to the next.
 */
static __forceinline__ int thread_index_anew() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  __builtin_assume(index >= 0 && index < 1024);
  return index;
}
static __forceinline__ int block_index() { return (int)blockIdx.x; }
static __forceinline__ int tile_index() { return (int)blockIdx.y; }
static __forceinline__ int block_count() { return (int)gridDim.x; }

/* Waits for all threads of the block; orders their memory accesses. */
static __forceinline__ void barrier() { __syncthreads(); }

/* The value of the lane whose number differs in the bits of `mask`. All 32 lanes take part. */
static __forceinline__ float exchange(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

/*
 * Programmatic dependent launch: from sm_90 on a kernel may start while the one before it runs. Before
 * wait_for_previous it may read only what no kernel of the chunk writes: the weights. start_next lets the next kernel
 * start in its turn, once all blocks have called it. Where it comes after the wait, never more than two kernels run at
 * once; where it comes before, as many as find room, and as each waits for the one before, they end in order.
 */
static __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
static __forceinline__ void start_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Words that other blocks look at while they are written: each is there or not yet, by itself. */
static __forceinline__ void show_word(uint32_t *p, uint32_t word) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(word) : "memory");
}
static __forceinline__ uint32_t look_at_word(const uint32_t *p) {
  uint32_t word;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(p) : "memory");
  return word;
}
static __forceinline__ uint4 look_at_words(const uint32_t *p) {
  uint4 words;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(p)
               : "memory");
  return words;
}

/*
 * Between blocks that run together, at the scope of the GPU: publish is a release; wait_until, which waits until the flag
 * is the value or has passed it (by less than 2^31: it may wrap), with the fence an acquire. What a look at a flag finds
 * is ordered by nothing: so there is one fence, and not one for every look.
 */
static __forceinline__ void publish(uint32_t *flag, uint32_t value) {
  asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
static __forceinline__ void rest() { asm volatile("nanosleep.u32 50;"); }
static __forceinline__ void wait_until(const uint32_t *flag, uint32_t value, bool rests = false) {
  while ((int32_t)(look_at_word(flag) - value) < 0) {
    if (rests) rest();
  }
}
static __forceinline__ void acquire() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

/* The same between the host and a block, of words in the host's memory. */
static __forceinline__ uint32_t look_at_host(const uint32_t *p) {
  uint32_t word;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(word) : "l"(p) : "memory");
  return word;
}
static __forceinline__ void acquire_from_host() { asm volatile("fence.acq_rel.sys;" ::: "memory"); }
static __forceinline__ void tell_host(uint32_t *p, uint32_t word) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(p), "r"(word) : "memory");
}

/* 16 bytes at an address of that alignment. */
static __forceinline__ float4 load_floats(const float *p) { return *(const float4 *)p; }
static __forceinline__ void store_floats(float *p, float4 value) { *(float4 *)p = value; }

/* The same of words that a block holds in shared memory. */
static __forceinline__ uint4 held_words(const float *p) { return *(const uint4 *)p; }
static __forceinline__ void hold_words(float *p, uint4 words) { *(uint4 *)p = words; }

/* The same of weights: no other access to memory that comes later in the text is begun before. */
static __forceinline__ uint4 load_words(const void *p) {
  uint4 words;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(p)
               : "memory");
  return words;
}

/* The two halves of a word. */
static __forceinline__ float2 widen_halves(uint32_t word) {
  float2 values;
  asm("{\n .reg .b16 low, high;\n mov.b32 {low, high}, %2;\n cvt.f32.f16 %0, low;\n cvt.f32.f16 %1, high;\n}"
      : "=f"(values.x), "=f"(values.y)
      : "r"(word));
  return values;
}

static __forceinline__ uint16_t narrow(float value) {
  uint16_t half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

/* By tensor cores, of a warp: sums [16 outputs][8 rows] += weights [16][16 inputs] times the rows' inputs, in halves. */
static __forceinline__ void multiply_add(float sums[4], uint4 weights, uint32_t low, uint32_t high) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(low), "r"(high));
#endif
}

/* The same of integers: sums [16 outputs][8 rows] += weights [16][32 inputs] in int8 times inputs in int8 or, if low, uint8. */
template <bool IS_LOW>
static __forceinline__ void multiply_add_integers(int32_t sums[4], uint4 weights, uint32_t first, uint32_t second) {
#if __CUDA_ARCH__ >= 800
#define MULTIPLY_ADD(type)                                                                                      \
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8." type ".s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "    \
               "{%8, %9}, {%0, %1, %2, %3};"                                                                    \
               : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])                                     \
               : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(first), "r"(second))
  if constexpr (IS_LOW) {
    MULTIPLY_ADD("u8");
  } else {
    MULTIPLY_ADD("s8");
  }
#undef MULTIPLY_ADD
#endif
}

#endif /* VOCOSC_CUDA_MACHINE_H */

/* Kernels with one mistake each, which the shim must find, and one without. */
#include "vocosc_cuda_machine.h"

struct output {
  float *values;   /* [128] */
  uint32_t *flags; /* [2] */
};

/* Every thread writes its place and, after a barrier, reads its neighbour's; the lanes add up. */
KERNEL(64) faultless(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  places[thread_index()] = (float)thread_index();
  barrier();
  float sum = places[(thread_index() + 1) % 64];
  for (int mask = 16; mask > 0; mask /= 2) sum += exchange(sum, mask);
  result.values[block_index() * 64 + thread_index()] = sum;
}

KERNEL(64) no_barrier_before_reading(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  places[thread_index()] = 0.0f;
  barrier();
  places[thread_index()] = 1.0f;
  result.values[thread_index()] = places[(thread_index() + 63) % 64];
}

KERNEL(64) no_barrier_before_writing(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  places[thread_index()] = 1.0f;
  barrier();
  result.values[thread_index()] = places[(thread_index() + 1) % 64];
  places[thread_index()] = 2.0f;
}

KERNEL(64) two_writers(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  places[thread_index() / 2] = 1.0f;
  result.values[thread_index()] = 0.0f;
}

KERNEL(64) never_written(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  if (block_index() == 0) places[thread_index()] = 1.0f;
  result.values[thread_index()] = places[thread_index()];
}

KERNEL(64) out_of_bounds(PARAMETER(output) result) {
  SHARED_FLOATS(places, 63);
  places[thread_index()] = 1.0f;
  result.values[thread_index()] = 0.0f;
}

KERNEL(64) not_aligned(PARAMETER(output) result) {
  SHARED_FLOATS(places, 64);
  if (thread_index() == 0) store_floats(places + 2, {1.0f, 2.0f, 3.0f, 4.0f});
  result.values[thread_index()] = 0.0f;
}

KERNEL(64) some_skip_a_barrier(PARAMETER(output) result) {
  if (thread_index() < 63) barrier();
  result.values[thread_index()] = 0.0f;
}

KERNEL(64) some_skip_a_shuffle(PARAMETER(output) result) {
  if (thread_index() < 63) result.values[thread_index()] = exchange(1.0f, 16);
}

KERNEL(64) different_shuffles(PARAMETER(output) result) {
  result.values[thread_index()] = exchange(1.0f, thread_index() == 5 ? 8 : 16);
}

/* Between blocks: the first has 64 values for the second, whose threads take each other's, and stores them as well. */
static void give(const output &result) {
  result.values[thread_index()] = (float)thread_index();
  barrier();
  if (thread_index() == 0) publish(result.flags, 1);
}
static void take(const output &result) {
  result.values[64 + thread_index()] = result.values[63 - thread_index()];
}

static void wait_for(const uint32_t *flag) {
  wait_until(flag, 1);
  acquire();
}

KERNEL(64) faultless_hand_over(PARAMETER(output) result) {
  if (block_index() == 0) return give(result);
  if (thread_index() == 0) wait_for(result.flags);
  barrier();
  take(result);
}

KERNEL(64) no_wait(PARAMETER(output) result) {
  if (block_index() == 0) return give(result);
  take(result);
}

KERNEL(64) no_fence(PARAMETER(output) result) {
  if (block_index() == 0) return give(result);
  if (thread_index() == 0) wait_until(result.flags, 1);
  barrier();
  take(result);
}

KERNEL(64) no_barrier_after_the_wait(PARAMETER(output) result) {
  if (block_index() == 0) return give(result);
  if (thread_index() == 0) wait_for(result.flags);
  take(result);
}

KERNEL(64) published_before_the_barrier(PARAMETER(output) result) {
  if (block_index() == 0) {
    result.values[thread_index()] = (float)thread_index();
    if (thread_index() == 0) publish(result.flags, 1);
    return;
  }
  if (thread_index() == 0) wait_for(result.flags);
  barrier();
  take(result);
}

KERNEL(64) published_by_a_plain_store(PARAMETER(output) result) {
  if (block_index() == 0) {
    result.values[thread_index()] = (float)thread_index();
    barrier();
    if (thread_index() == 0) *result.flags = 1;
    return;
  }
  if (thread_index() == 0) wait_for(result.flags);
  barrier();
  take(result);
}

KERNEL(64) waits_for_each_other(PARAMETER(output) result) {
  wait_until(result.flags + 1 - block_index(), 1);
  if (thread_index() == 0) publish(result.flags + block_index(), 1);
}

/* Kernels with one mistake each, which the shim must find, and one without. */
#include "vocosc_cuda_machine.h"

struct output {
  float *values;
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

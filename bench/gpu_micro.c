/*
 * Measures what decides how a chunk is best run on a GPU: gpu_micro CODE ROUNDS, where CODE is gpu_micro.cu compiled.
 * One JSON object on stdout; times are of one hop, in microseconds. Exit code 77: no GPU.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu_driver.h"

enum { THREADS = 256, READERS = 1024, CLUSTER = 8, WEIGHT_WORDS = 27 << 18 };
enum { COOPERATIVE = 2, CLUSTER_DIMENSION = 4, OVERLAP = 6 }; /* as in cuda.h */
enum { MULTIPROCESSORS = 16, ARCHITECTURE_MAJOR = 75, CAPTURE_THREAD_LOCAL = 1 };

typedef struct {
  gpu_address words;
  uint64_t count;
  uint32_t rounds;
  uint32_t unused;
} parameter;

static gpu_stream queue;
static struct CUmod_st *code;
static gpu_event before, after;

static struct CUfunc_st *kernel(const char *name) {
  struct CUfunc_st *function;
  GPU(cuModuleGetFunction(&function, code, name));
  return function;
}

/* Queues a kernel with an attribute, or 0. */
static void launch(struct CUfunc_st *function, unsigned blocks, unsigned threads, int attribute, parameter *value) {
  gpu_launch_attribute with = {.id = attribute, .value = {attribute == CLUSTER_DIMENSION ? CLUSTER : 1, 1, 1}};
  const gpu_launch_config config = {.grid = {blocks, 1, 1},
                                    .block = {threads, 1, 1},
                                    .stream = queue,
                                    .attributes = &with,
                                    .attribute_count = attribute != 0};
  void *parameters[] = {value};
  GPU(cuLaunchKernelEx(&config, function, parameters, NULL));
}

static double milliseconds_between(void) {
  float milliseconds;
  GPU(cuStreamSynchronize(queue));
  GPU(cuEventElapsedTime(&milliseconds, before, after));
  return (double)milliseconds;
}

/* Microseconds a round of a kernel that goes on for `rounds` of them, the second time it is run. */
static double round_us(const char *name, unsigned blocks, unsigned threads, int attribute, gpu_address words,
                       uint64_t count, uint32_t rounds) {
  struct CUfunc_st *function = kernel(name);
  double time = 0.0;
  for (int turn = 0; turn < 2; turn++) {
    parameter value = {words, count, rounds, 0};
    if (count < WEIGHT_WORDS) GPU(cuMemsetD8Async(words, 0, sizeof(uint32_t) * count, queue));
    GPU(cuEventRecord(before, queue));
    launch(function, blocks, threads, attribute, &value);
    GPU(cuEventRecord(after, queue));
    time = milliseconds_between() * 1e3 / rounds;
  }
  return time;
}

/* Microseconds from one kernel of a graph to the next: by two graphs of different length. */
static double edge_us(unsigned blocks, int attribute, gpu_address words, uint32_t turns) {
  static const int lengths[] = {10, 110};
  struct CUfunc_st *function = kernel("micro_edge");
  double times[2];
  for (int i = 0; i < 2; i++) {
    struct CUgraph_st *graph;
    struct CUgraphExec_st *exec;
    parameter value = {words, 0, 0, 0};
    GPU(cuStreamBeginCapture_v2(queue, CAPTURE_THREAD_LOCAL));
    for (int k = 0; k < lengths[i]; k++) launch(function, blocks, 128, k > 0 ? attribute : 0, &value);
    GPU(cuStreamEndCapture(queue, &graph));
    GPU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    times[i] = 1e9;
    for (uint32_t turn = 0; turn < turns; turn++) {
      GPU(cuEventRecord(before, queue));
      GPU(cuGraphLaunch(exec, queue));
      GPU(cuEventRecord(after, queue));
      const double time = milliseconds_between() * 1e3;
      if (time < times[i]) times[i] = time;
    }
  }
  return (times[1] - times[0]) / (lengths[1] - lengths[0]);
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a;
  const double y = *(const double *)b;
  return (x > y) - (x < y);
}

/* From the host's store to the kernel's answer, both in the host's memory: the median and the 99th percentile. */
static void print_doorbell(uint32_t rounds) {
  void *memory;
  double *times = malloc(rounds * sizeof *times);
  GPU(cuMemHostAlloc(&memory, 256, 0));
  if (times == NULL) exit(EXIT_FAILURE);
  volatile uint32_t *words = memory;
  words[0] = words[32] = 0;
  parameter value = {(gpu_address)(uintptr_t)memory, 64, rounds, 0};
  launch(kernel("micro_doorbell"), 1, 32, 0, &value);
  for (uint32_t round = 1; round <= rounds; round++) {
    const double start = now_us();
    words[0] = round;
    while (words[32] != round) {
      if (now_us() - start > 5e6) {
        fprintf(stderr, "the kernel does not answer\n");
        exit(EXIT_FAILURE);
      }
    }
    times[round - 1] = now_us() - start;
  }
  GPU(cuStreamSynchronize(queue));
  qsort(times, rounds, sizeof *times, compare_doubles);
  printf("  \"doorbell_us\": %.3f, \"doorbell_p99_us\": %.3f\n", times[rounds / 2], times[rounds * 99 / 100]);
  free(times);
}

static void *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  char *data = calloc(1, 16 << 20);
  if (file == NULL || data == NULL || fread(data, 1, (16 << 20) - 1, file) == 0) {
    fprintf(stderr, "gpu_micro: cannot read %s\n", path);
    exit(EXIT_FAILURE);
  }
  fclose(file);
  return data;
}

int main(int count, char **arguments) {
  if (count != 3 || atoi(arguments[2]) < 1) {
    fprintf(stderr, "usage: gpu_micro CODE ROUNDS\n");
    return 2;
  }
  const uint32_t rounds = (uint32_t)atoi(arguments[2]);
  const uint32_t few_rounds = rounds < 20 ? rounds : 20;
  int blocks, major;
  if (!gpu_open()) return NO_GPU;
  GPU(cuStreamCreate(&queue, 1));
  GPU(cuEventCreate(&before, 0));
  GPU(cuEventCreate(&after, 0));
  GPU(cuDeviceGetAttribute(&blocks, MULTIPROCESSORS, 0));
  GPU(cuDeviceGetAttribute(&major, ARCHITECTURE_MAJOR, 0));
  GPU(cuModuleLoadData(&code, read_file(arguments[1])));
  const uint64_t few = 4096;
  const gpu_address words = gpu_allocate(sizeof(uint32_t) * few);
  const gpu_address weights = gpu_allocate(sizeof(uint32_t) * WEIGHT_WORDS);
  const unsigned all = (unsigned)blocks;
  GPU(cuMemsetD8Async(weights, 0, sizeof(uint32_t) * WEIGHT_WORDS, queue));
  printf("{\n  \"multiprocessors\": %d, \"rounds\": %u,\n", blocks, rounds);
  printf("  \"edge_us\": %.3f,\n", edge_us(all, 0, words, few_rounds));
  if (major >= 9) printf("  \"edge_overlapping_us\": %.3f,\n", edge_us(all, OVERLAP, words, few_rounds));
  printf("  \"flag_hop_us\": %.3f,\n", round_us("micro_flags", all, THREADS, COOPERATIVE, words, few, rounds));
  printf("  \"data_hop_us\": %.3f,\n", round_us("micro_data", all, THREADS, COOPERATIVE, words, few, rounds));
  if (major >= 9) {
    const double us = round_us("micro_cluster", CLUSTER, THREADS, CLUSTER_DIMENSION, words, few, rounds);
    printf("  \"cluster_hop_us\": %.3f,\n", us / 2); /* two barriers a round */
  }
  const double bytes = sizeof(uint32_t) * (double)WEIGHT_WORDS;
  for (unsigned clusters = 0; clusters <= (major >= 9 ? 2u : 0u); clusters++) {
    const unsigned readers = clusters > 0 ? clusters * CLUSTER : all;
    const int attribute = clusters > 0 ? CLUSTER_DIMENSION : 0;
    const double us = round_us("micro_read", readers, READERS, attribute, weights, WEIGHT_WORDS, few_rounds);
    printf("  \"read_%u_blocks_gb_s\": %.1f,\n", readers, bytes * 1e-3 / us);
  }
  print_doorbell(rounds);
  printf("}\n");
  return EXIT_SUCCESS;
}

/*
 * A CUDA driver for tests, without a GPU: libcuda.so.1 as far as the runtime uses it, and the strings to pull.
 *
 * Device memory is the host's. Work is queued, as a real driver may do, and done, in the order of the calls, when
 * something synchronizes: so what a call was given by value must have been copied, and what was given by address must
 * still be there. Kernels are functions that the test registers, or those of a library that was built with the shim
 * (tests/cuda/shim.h), for programs that know nothing of the fake:
 *
 *   FAKE_CUDA_SHIM          path of that library
 *   FAKE_CUDA_CALL_KERNELS  names of the kernels that take a whole call as their parameter, with spaces between
 *   FAKE_CUDA_CALL_BYTES    the size of a call
 *   FAKE_CUDA_SHIMS         or a folder, with PROGRAM.so for each program, named as in /proc/self/comm (of at most 15
 *                           letters), and PROGRAM.call: the bytes, a space, and the names
 */
#ifndef FAKE_DRIVER_H
#define FAKE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A launch, as its kernel sees it. */
typedef struct {
  const char *kernel;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  int overlaps; /* programmatic stream serialization was asked for */
  int is_cooperative;
  int in_graph;
  const void *parameter;
} fake_launch;

/* What a kernel is: the size of its one parameter, and what it does (null: nothing). */
typedef struct {
  const char *name;
  size_t parameter_bytes;
  void (*run)(const fake_launch *launch);
} fake_kernel;

/* The machine that the fake claims to be. The test writes the first part and reads the second. */
typedef struct {
  int version; /* 13000 */
  int devices;
  int architecture;    /* 90 */
  int multiprocessors; /* 132; each holds one block of a cooperative kernel */
  int shared_limit;    /* bytes a block may opt in to */
  size_t memory_limit;
  const fake_kernel *kernels; /* of every module; ends with a null name */
  const char *refused_image;  /* images that begin so are refused ... */
  int refusal;                /* ... with this result */
  int fail_call;              /* the number of the call, from 1, that fails; 0: none */
  const char *fail_name;      /* or: every call of this function */
  int failure;                /* with this result */
  int sticky;                 /* whether all later calls fail so, too */

  int calls;          /* since fake_reset or the test's setting it to 0 */
  char log[65536];    /* the functions called, each after a space */
  char image[64];     /* how the loaded module's image begins */
  int launches;       /* done */
  int graph_launches; /* queued */
  int pending;        /* operations queued and not done */
  int contexts;       /* held, and so on: all 0 when everything was given back */
  int modules;
  int streams;
  int graphs;
  int execs;
  int allocations;
  int stack_depth; /* contexts on this thread's stack */
} fake_machine;

/* The machine, and back to an H200 with nothing held. */
fake_machine *fake(void);
void fake_reset(void);

/* What dlsym would find, but for one symbol (or none): for vocosc_cuda_options.symbol; context is that name, or null.
 */
void *fake_symbol(void *context, const char *name);

/* Pushes a context that is not the primary one, as an application would that has one of its own; pops it. */
void *fake_push_context(void);
void fake_pop_context(void);

/* A stream of the application's, and capturing into a graph. fake_end_capture returns the graph, to be launched. */
struct CUstream_st *fake_stream(void);
void fake_begin_capture(struct CUstream_st *stream);
void *fake_end_capture(struct CUstream_st *stream);
void fake_launch_graph(void *graph, struct CUstream_st *stream);

/* Queues work of a stand-in library's, which gets a copy of `bytes` of data (256 at most). */
void fake_queue(void (*work)(const void *data), const void *data, size_t bytes, struct CUstream_st *stream);

#endif /* FAKE_DRIVER_H */

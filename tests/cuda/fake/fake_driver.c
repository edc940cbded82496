#include "fake_driver.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vocosc_cuda_driver.h"

enum {
  MAX_DEPTH = 8,
  MAX_OPERATIONS = 2048,
  MAX_GRAPH = 512,
  PARAMETER_BYTES = 32764,
  INVALID_VALUE = 1,
  NOT_FOUND = 500,
  MOST_FILLED = 64 << 20 /* of an allocation, so that it costs little */
};
enum { CAPTURE_UNSUPPORTED = 900, CLUSTER_DIMENSION = 4 };

struct CUctx_st {
  int is_primary;
};

struct CUmod_st {
  int unused;
};

struct CUfunc_st {
  const fake_kernel *kernel;
  int shared_bytes;
};

struct CUevent_st {
  double milliseconds; /* when it was reached */
};

typedef struct {
  enum { KERNEL, COPY, FILL, EVENT, WORK } kind;
  fake_launch launch;
  void (*run)(const fake_launch *launch);
  void (*work)(const void *data);
  unsigned char parameter[PARAMETER_BYTES];
  void *to;
  const void *from;
  size_t bytes;
  int value;
  struct CUevent_st *event;
} operation;

struct CUgraph_st {
  int count;
  operation operations[MAX_GRAPH];
};

struct CUgraphExec_st {
  struct CUgraph_st graph;
};

struct CUstream_st {
  struct CUgraph_st *capture; /* null unless capturing */
};

static fake_machine machine;
static struct CUctx_st primary = {1};
static struct CUctx_st other = {0};
static struct CUctx_st *stack[MAX_DEPTH];
static struct CUmod_st module;
static struct CUfunc_st functions[64];
static struct CUstream_st streams[8];
static operation *queue;
static int is_lost;
static size_t memory_used;

fake_machine *fake(void) { return &machine; }

void fake_reset(void) {
  if (queue == NULL) queue = malloc(MAX_OPERATIONS * sizeof *queue);
  memset(&machine, 0, sizeof machine);
  memset(streams, 0, sizeof streams);
  memset(functions, 0, sizeof functions);
  is_lost = 0;
  memory_used = 0;
  machine.version = 13000;
  machine.devices = 1;
  machine.architecture = 90;
  machine.multiprocessors = 132;
  machine.shared_limit = 227 * 1024;
  machine.memory_limit = (size_t)1 << 40;
}

/* Notes a call; the result that it has to fail with, or 0. */
static int enter(const char *name) {
  machine.calls++;
  if (strlen(machine.log) + strlen(name) + 2 < sizeof machine.log) strcat(strcat(machine.log, " "), name);
  if (is_lost) return is_lost;
  const int named = machine.fail_name != NULL && strcmp(machine.fail_name, name) == 0;
  if (!named && machine.calls != machine.fail_call) return CUDA_SUCCESS;
  if (machine.sticky) is_lost = machine.failure;
  return machine.failure;
}

#define ENTER()                          \
  do {                                   \
    const int failure = enter(__func__); \
    if (failure) return failure;         \
  } while (0)

/* A bad address in a kernel loses the context, as on a GPU. */
static __thread sigjmp_buf fault;

static void on_fault(int number) {
  (void)number;
  siglongjmp(fault, 1);
}

static void run_kernel(operation *work) {
  work->launch.parameter = work->parameter;
  if (work->run == NULL || is_lost) return;
  if (sigsetjmp(fault, 1) == 0) {
    work->run(&work->launch);
  } else {
    is_lost = CUDA_ERROR_ILLEGAL_ADDRESS;
  }
}

static void run_operation(operation *work) {
  machine.pending--;
  switch (work->kind) {
    case COPY:
      memcpy(work->to, work->from, work->bytes);
      return;
    case FILL:
      memset(work->to, work->value, work->bytes);
      return;
    case EVENT: {
      struct timespec now;
      clock_gettime(CLOCK_MONOTONIC, &now);
      work->event->milliseconds = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
      return;
    }
    case WORK:
      work->work(work->parameter);
      return;
    case KERNEL:
      machine.launches++;
      run_kernel(work);
  }
}

/* A kernel that runs while the host goes on, until the host synchronizes with its stream. */
static pthread_t beside;
static struct CUstream_st *beside_stream;
static int is_beside;

static void *run_thread(void *work) {
  run_kernel(work);
  return NULL;
}

static void run_all(void);

static int run_beside(const operation *work, struct CUstream_st *stream) {
  static operation kept;
  run_all();
  kept = *work;
  machine.launches++;
  beside_stream = stream;
  is_beside = pthread_create(&beside, NULL, run_thread, &kept) == 0;
  return is_beside ? CUDA_SUCCESS : INVALID_VALUE;
}

static void join_beside(void) {
  if (is_beside) pthread_join(beside, NULL);
  is_beside = 0;
}

static void run_all(void) {
  const int count = machine.pending;
  for (int i = 0; i < count; i++) run_operation(&queue[i]);
}

static int add(struct CUstream_st *stream, const operation *work) {
  if (stream != NULL && stream->capture != NULL) {
    struct CUgraph_st *graph = stream->capture;
    assert(graph->count < (int)(sizeof graph->operations / sizeof *graph->operations));
    graph->operations[graph->count++] = *work;
    return CUDA_SUCCESS;
  }
  if (machine.pending == MAX_OPERATIONS) run_all(); /* a driver may do so at any time */
  queue[machine.pending++] = *work;
  return CUDA_SUCCESS;
}

static const fake_kernel *shim_kernel(const char *name);

static int has_context(void) { return machine.stack_depth > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }

/* ---- the driver's functions ---- */

int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuDeviceGet(int *device, int ordinal);
int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuDevicePrimaryCtxRetain(struct CUctx_st **context, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxGetCurrent(struct CUctx_st **context);
int cuCtxGetDevice(int *device);
int cuCtxPushCurrent_v2(struct CUctx_st *context);
int cuCtxPopCurrent_v2(struct CUctx_st **context);
int cuModuleLoadData(struct CUmod_st **result, const void *image);
int cuModuleUnload(struct CUmod_st *which);
int cuModuleGetFunction(struct CUfunc_st **function, struct CUmod_st *which, const char *name);
int cuFuncSetAttribute(struct CUfunc_st *function, int attribute, int value);
int cuMemAlloc_v2(vocosc_cuda_address *address, size_t bytes);
int cuMemFree_v2(vocosc_cuda_address address);
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
int cuMemFreeHost(void *memory);
int cuMemcpyHtoDAsync_v2(vocosc_cuda_address to, const void *from, size_t bytes, struct CUstream_st *stream);
int cuMemcpyDtoHAsync_v2(void *to, vocosc_cuda_address from, size_t bytes, struct CUstream_st *stream);
int cuMemcpy2DAsync_v2(const vocosc_cuda_rows_copy *copy, struct CUstream_st *stream);
int cuMemsetD8Async(vocosc_cuda_address to, unsigned char value, size_t bytes, struct CUstream_st *stream);
int cuLaunchKernelEx(const vocosc_cuda_launch_config *config, struct CUfunc_st *function, void **parameters,
                     void **extra);
int cuStreamCreate(struct CUstream_st **stream, unsigned flags);
int cuStreamDestroy_v2(struct CUstream_st *stream);
int cuStreamSynchronize(struct CUstream_st *stream);
int cuStreamQuery(struct CUstream_st *stream);
int cuStreamIsCapturing(struct CUstream_st *stream, int *status);
int cuStreamBeginCapture_v2(struct CUstream_st *stream, int mode);
int cuStreamEndCapture(struct CUstream_st *stream, struct CUgraph_st **graph);
int cuGraphInstantiateWithFlags(struct CUgraphExec_st **exec, struct CUgraph_st *graph, unsigned long long flags);
int cuGraphGetRootNodes(struct CUgraph_st *graph, struct CUgraphNode_st **nodes, size_t *count);
int cuGraphExecKernelNodeSetParams_v2(struct CUgraphExec_st *exec, struct CUgraphNode_st *node,
                                      const vocosc_cuda_node_parameters *parameters);
int cuGraphUpload(struct CUgraphExec_st *exec, struct CUstream_st *stream);
int cuGraphLaunch(struct CUgraphExec_st *exec, struct CUstream_st *stream);
int cuGraphExecDestroy(struct CUgraphExec_st *exec);
int cuGraphDestroy(struct CUgraph_st *graph);

int cuInit(unsigned flags) {
  ENTER();
  if (flags != 0) return INVALID_VALUE;
  return machine.devices > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

int cuDriverGetVersion(int *version) {
  ENTER();
  *version = machine.version;
  return CUDA_SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
  ENTER();
  if (ordinal < 0 || ordinal >= machine.devices) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  ENTER();
  (void)device;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = machine.architecture / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = machine.architecture % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = machine.multiprocessors;
      return CUDA_SUCCESS;
    default:
      return INVALID_VALUE;
  }
}

int cuDevicePrimaryCtxRetain(struct CUctx_st **context, int device) {
  ENTER();
  (void)device;
  machine.contexts++;
  *context = &primary;
  return CUDA_SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  machine.contexts--;
  ENTER();
  (void)device;
  return CUDA_SUCCESS;
}

int cuCtxGetCurrent(struct CUctx_st **context) {
  ENTER();
  *context = machine.stack_depth > 0 ? stack[machine.stack_depth - 1] : NULL;
  return CUDA_SUCCESS;
}

int cuCtxGetDevice(int *device) {
  ENTER();
  *device = 0;
  return has_context();
}

int cuCtxPushCurrent_v2(struct CUctx_st *context) {
  ENTER();
  assert(machine.stack_depth < MAX_DEPTH);
  stack[machine.stack_depth++] = context;
  return CUDA_SUCCESS;
}

int cuCtxPopCurrent_v2(struct CUctx_st **context) {
  assert(machine.stack_depth > 0);
  *context = stack[--machine.stack_depth];
  ENTER();
  return CUDA_SUCCESS;
}

int cuModuleLoadData(struct CUmod_st **result, const void *image) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  snprintf(machine.image, sizeof machine.image, "%s", (const char *)image);
  const char *refused = machine.refused_image;
  if (refused != NULL && strncmp(image, refused, strlen(refused)) == 0) return machine.refusal;
  machine.modules++;
  *result = &module;
  return CUDA_SUCCESS;
}

int cuModuleUnload(struct CUmod_st *which) {
  assert(which == &module);
  machine.modules--;
  ENTER();
  return CUDA_SUCCESS;
}

int cuModuleGetFunction(struct CUfunc_st **function, struct CUmod_st *which, const char *name) {
  ENTER();
  assert(which == &module);
  const fake_kernel *kernel = machine.kernels != NULL ? machine.kernels : shim_kernel(name);
  while (machine.kernels != NULL && kernel->name != NULL && strcmp(kernel->name, name) != 0) kernel++;
  if (kernel == NULL || kernel->name == NULL) return NOT_FOUND;
  int i = 0;
  while (functions[i].kernel != NULL && functions[i].kernel != kernel) i++;
  assert(i < (int)(sizeof functions / sizeof *functions));
  functions[i].kernel = kernel;
  *function = &functions[i];
  return CUDA_SUCCESS;
}

int cuFuncSetAttribute(struct CUfunc_st *function, int attribute, int value) {
  ENTER();
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
    return value == CU_SHAREDMEM_CARVEOUT_MAX_SHARED ? CUDA_SUCCESS : INVALID_VALUE;
  }
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > machine.shared_limit) {
    return INVALID_VALUE;
  }
  function->shared_bytes = value;
  return CUDA_SUCCESS;
}

int cuMemAlloc_v2(vocosc_cuda_address *address, size_t bytes) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (bytes > machine.memory_limit - memory_used) return CUDA_ERROR_OUT_OF_MEMORY;
  unsigned char *memory = aligned_alloc(256, (bytes + 511) / 256 * 256);
  memcpy(memory, &bytes, sizeof bytes);
  memory += 256;
  memset(memory, 0xa5, bytes < MOST_FILLED ? bytes : MOST_FILLED);
  memory_used += bytes;
  machine.allocations++;
  *address = (uintptr_t)memory;
  return CUDA_SUCCESS;
}

int cuMemFree_v2(vocosc_cuda_address address) {
  unsigned char *const memory = (unsigned char *)(uintptr_t)address - 256;
  size_t bytes;
  memcpy(&bytes, memory, sizeof bytes);
  memory_used -= bytes;
  machine.allocations--;
  free(memory);
  ENTER();
  return CUDA_SUCCESS;
}

int cuMemcpyHtoDAsync_v2(vocosc_cuda_address to, const void *from, size_t bytes, struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  static operation work;
  work = (operation){.kind = COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes};
  return add(stream, &work);
}

int cuMemcpyDtoHAsync_v2(void *to, vocosc_cuda_address from, size_t bytes, struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  static operation work;
  work = (operation){.kind = COPY, .to = to, .from = (const void *)(uintptr_t)from, .bytes = bytes};
  return add(stream, &work);
}

static unsigned char *row_of(const vocosc_cuda_rows *rows, size_t row) {
  const int is_host = rows->memory == CU_MEMORYTYPE_HOST;
  unsigned char *first = (void *)(is_host ? (uintptr_t)rows->host : (uintptr_t)rows->device);
  return first + rows->x + (rows->y + row) * rows->pitch;
}

int cuMemcpy2DAsync_v2(const vocosc_cuda_rows_copy *copy, struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (copy->from.pitch < copy->bytes || copy->to.pitch < copy->bytes) return INVALID_VALUE;
  for (size_t row = 0; row < copy->rows; row++) {
    static operation work;
    work = (operation){.kind = COPY, .to = row_of(&copy->to, row), .from = row_of(&copy->from, row)};
    work.bytes = copy->bytes;
    add(stream, &work);
  }
  return CUDA_SUCCESS;
}

int cuMemsetD8Async(vocosc_cuda_address to, unsigned char value, size_t bytes, struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  static operation work;
  work = (operation){.kind = FILL, .to = (void *)(uintptr_t)to, .value = value, .bytes = bytes};
  return add(stream, &work);
}

int cuLaunchKernelEx(const vocosc_cuda_launch_config *config, struct CUfunc_st *function, void **parameters,
                     void **extra) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (extra != NULL || (int)config->shared_bytes > function->shared_bytes) return INVALID_VALUE;
  if (config->attribute_count > 1) return INVALID_VALUE;
  static operation work;
  work = (operation){.kind = KERNEL, .run = function->kernel->run};
  work.launch = (fake_launch){.kernel = function->kernel->name, .shared_bytes = config->shared_bytes};
  for (int i = 0; i < 3; i++) {
    if (config->grid[i] == 0 || config->block[i] == 0) return INVALID_VALUE;
    work.launch.grid[i] = config->grid[i];
    work.launch.block[i] = config->block[i];
  }
  if (config->attribute_count == 1) {
    const int value = config->attributes->value;
    const int is_cluster = config->attributes->id == CLUSTER_DIMENSION; /* one cluster, or blocks that do not mind */
    const int is_cooperative = config->attributes->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE || is_cluster;
    if (!is_cooperative && config->attributes->id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
      return INVALID_VALUE;
    }
    if (is_cooperative && (int)config->grid[0] > machine.multiprocessors) {
      return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    work.launch.is_cooperative = is_cooperative ? value > 0 : 0;
    work.launch.overlaps = is_cooperative ? 0 : value;
  }
  assert(function->kernel->parameter_bytes <= PARAMETER_BYTES);
  memcpy(work.parameter, parameters[0], function->kernel->parameter_bytes);
  const int is_talking = strstr(function->kernel->name, "doorbell") || strstr(function->kernel->name, "resident");
  if (is_talking) return run_beside(&work, config->stream); /* the host talks with it */
  return add(config->stream, &work);
}

int cuStreamCreate(struct CUstream_st **stream, unsigned flags) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (flags != CU_STREAM_NON_BLOCKING) return INVALID_VALUE;
  machine.streams++;
  *stream = fake_stream();
  return CUDA_SUCCESS;
}

int cuStreamDestroy_v2(struct CUstream_st *stream) {
  assert(stream->capture == NULL);
  machine.streams--;
  ENTER();
  return CUDA_SUCCESS;
}

int cuStreamSynchronize(struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream != NULL && stream->capture != NULL) return CAPTURE_UNSUPPORTED;
  if (stream == beside_stream) join_beside();
  run_all();
  return is_lost;
}

int cuStreamQuery(struct CUstream_st *stream) {
  ENTER();
  sched_yield();
  return stream == beside_stream && is_beside ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

int cuStreamIsCapturing(struct CUstream_st *stream, int *status) {
  ENTER();
  *status = stream != NULL && stream->capture != NULL;
  return CUDA_SUCCESS;
}

int cuStreamBeginCapture_v2(struct CUstream_st *stream, int mode) {
  ENTER();
  if (mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL || stream == NULL) return INVALID_VALUE;
  fake_begin_capture(stream);
  return CUDA_SUCCESS;
}

int cuStreamEndCapture(struct CUstream_st *stream, struct CUgraph_st **graph) {
  *graph = fake_end_capture(stream);
  const int failure = enter(__func__);
  if (failure == CUDA_SUCCESS) return CUDA_SUCCESS;
  cuGraphDestroy(*graph);
  *graph = NULL;
  return failure;
}

int cuGraphInstantiateWithFlags(struct CUgraphExec_st **exec, struct CUgraph_st *graph, unsigned long long flags) {
  ENTER();
  if (flags != 0) return INVALID_VALUE;
  machine.execs++;
  *exec = malloc(sizeof **exec);
  (*exec)->graph = *graph;
  return CUDA_SUCCESS;
}

int cuGraphGetRootNodes(struct CUgraph_st *graph, struct CUgraphNode_st **nodes, size_t *count) {
  ENTER();
  if (*count < 1) return INVALID_VALUE;
  *count = 1; /* every operation follows the one before */
  *nodes = (struct CUgraphNode_st *)(void *)graph->operations;
  return CUDA_SUCCESS;
}

int cuGraphExecKernelNodeSetParams_v2(struct CUgraphExec_st *exec, struct CUgraphNode_st *node,
                                      const vocosc_cuda_node_parameters *parameters) {
  ENTER();
  operation *work = exec->graph.operations;
  const fake_kernel *kernel = parameters->function->kernel;
  if (strcmp(((operation *)(void *)node)->launch.kernel, kernel->name) != 0) return INVALID_VALUE;
  if (memcmp(work->launch.grid, parameters->grid, sizeof parameters->grid) != 0) return INVALID_VALUE;
  if (memcmp(work->launch.block, parameters->block, sizeof parameters->block) != 0) return INVALID_VALUE;
  memcpy(work->parameter, parameters->parameters[0], kernel->parameter_bytes);
  return CUDA_SUCCESS;
}

int cuGraphUpload(struct CUgraphExec_st *exec, struct CUstream_st *stream) {
  ENTER();
  (void)exec;
  (void)stream;
  return CUDA_SUCCESS;
}

static void add_graph(const struct CUgraph_st *graph, struct CUstream_st *stream) {
  for (int i = 0; i < graph->count; i++) {
    static operation work;
    work = graph->operations[i];
    work.launch.in_graph = 1;
    add(stream, &work);
  }
}

int cuGraphLaunch(struct CUgraphExec_st *exec, struct CUstream_st *stream) {
  ENTER();
  if (has_context() != CUDA_SUCCESS) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream != NULL && stream->capture != NULL) return CAPTURE_UNSUPPORTED;
  machine.graph_launches++;
  add_graph(&exec->graph, stream);
  return CUDA_SUCCESS;
}

int cuGraphExecDestroy(struct CUgraphExec_st *exec) {
  machine.execs--;
  free(exec);
  ENTER();
  return CUDA_SUCCESS;
}

int cuGraphDestroy(struct CUgraph_st *graph) {
  machine.graphs--;
  free(graph);
  ENTER();
  return CUDA_SUCCESS;
}

int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
  ENTER();
  (void)flags;
  machine.allocations++;
  *memory = calloc(1, bytes);
  return CUDA_SUCCESS;
}

int cuMemFreeHost(void *memory) {
  machine.allocations--;
  free(memory);
  ENTER();
  return CUDA_SUCCESS;
}

/* ---- functions that the runtime does not use, but programs do (bench/gpu_driver.h) ---- */

int cuGetExportTable(const void **table, const void *id);
int cuDeviceGetName(char *name, int bytes, int device);
int cuEventCreate(struct CUevent_st **event, unsigned flags);
int cuEventRecord(struct CUevent_st *event, struct CUstream_st *stream);
int cuEventElapsedTime(float *milliseconds, struct CUevent_st *from, struct CUevent_st *to);

/* NVRTC asks for it, where it finds a driver. */
int cuGetExportTable(const void **table, const void *id) {
  (void)id;
  *table = NULL;
  return NOT_FOUND;
}

int cuDeviceGetName(char *name, int bytes, int device) {
  ENTER();
  (void)device;
  snprintf(name, (size_t)bytes, "a fake");
  return CUDA_SUCCESS;
}

int cuEventCreate(struct CUevent_st **event, unsigned flags) {
  ENTER();
  (void)flags;
  *event = calloc(1, sizeof **event);
  return CUDA_SUCCESS;
}

int cuEventRecord(struct CUevent_st *event, struct CUstream_st *stream) {
  ENTER();
  static operation work;
  work = (operation){.kind = EVENT, .event = event};
  return add(stream, &work);
}

int cuEventElapsedTime(float *milliseconds, struct CUevent_st *from, struct CUevent_st *to) {
  ENTER();
  *milliseconds = (float)(to->milliseconds - from->milliseconds);
  return CUDA_SUCCESS;
}

/* ---- kernels of a shim library, see fake_driver.h ---- */

enum { MAX_KERNELS = 64, MEMORY_BYTES = 24 };

typedef void shim_launch_function(const char *name, void *kernel, const void *parameter, int grid_x, int grid_y,
                                  int threads, unsigned order, int is_cooperative);

static void *shim;
static fake_kernel shim_kernels[MAX_KERNELS + 1];

static void run_in_shim(const fake_launch *launch) {
  shim_launch_function *const run = (shim_launch_function *)(uintptr_t)dlsym(shim, "shim_launch");
  assert(launch->grid[2] == 1 && launch->block[1] == 1 && launch->block[2] == 1);
  run(launch->kernel, dlsym(shim, launch->kernel), launch->parameter, (int)launch->grid[0], (int)launch->grid[1],
      (int)launch->block[0], 0, launch->is_cooperative);
}

/* The kernel of that name in the shim library, or null. */
static const fake_kernel *shim_kernel(const char *name) {
  if (shim == NULL || dlsym(shim, name) == NULL) return NULL;
  int i = 0;
  while (shim_kernels[i].name != NULL && strcmp(shim_kernels[i].name, name) != 0) i++;
  assert(i < MAX_KERNELS);
  if (shim_kernels[i].name == NULL) {
    const char *calls = getenv("FAKE_CUDA_CALL_KERNELS");
    const char *bytes = getenv("FAKE_CUDA_CALL_BYTES");
    const char *found = calls == NULL ? NULL : strstr(calls, name);
    const int takes_call = found != NULL && strchr(" ", found[strlen(name)]) != NULL;
    assert(bytes != NULL);
    shim_kernels[i] = (fake_kernel){name, takes_call ? strtoul(bytes, NULL, 10) : MEMORY_BYTES, run_in_shim};
  }
  return &shim_kernels[i];
}

/* Of a folder of libraries, that of the program that runs. */
static void choose_shim(const char *folder) {
  static char name[64], path[512], call[4096];
  FILE *file = fopen("/proc/self/comm", "r");
  if (file == NULL || fscanf(file, "%63s", name) != 1) return;
  fclose(file);
  snprintf(path, sizeof path, "%s/%s.call", folder, name);
  file = fopen(path, "r");
  if (file != NULL && fgets(call, sizeof call, file) != NULL) {
    char *names = strchr(call, ' ');
    setenv("FAKE_CUDA_CALL_KERNELS", names == NULL ? "" : names + 1, 1);
    setenv("FAKE_CUDA_CALL_BYTES", strtok(call, " "), 1);
  }
  if (file != NULL) fclose(file);
  snprintf(path, sizeof path, "%s/%s.so", folder, name);
  if (access(path, R_OK) == 0) setenv("FAKE_CUDA_SHIM", path, 1);
}

__attribute__((constructor)) static void open_shim(void) {
  const char *folder = getenv("FAKE_CUDA_SHIMS");
  if (folder != NULL) choose_shim(folder);
  const char *path = getenv("FAKE_CUDA_SHIM");
  fake_reset();
  if (path == NULL) return;
  machine.memory_limit = (size_t)1 << 30;
  sigaction(SIGSEGV, &(struct sigaction){.sa_handler = on_fault}, NULL);
  shim = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (shim == NULL) fprintf(stderr, "fake libcuda.so.1: %s\n", dlerror());
}

/* ---- for the test ---- */

typedef void any_function(void);
#define SYMBOL(function) \
  { #function, (any_function *)function }
static const struct {
  const char *name;
  any_function *function;
} symbols[] = {
    SYMBOL(cuInit),
    SYMBOL(cuDriverGetVersion),
    SYMBOL(cuDeviceGet),
    SYMBOL(cuDeviceGetAttribute),
    SYMBOL(cuDevicePrimaryCtxRetain),
    SYMBOL(cuDevicePrimaryCtxRelease_v2),
    SYMBOL(cuCtxGetCurrent),
    SYMBOL(cuCtxGetDevice),
    SYMBOL(cuCtxPushCurrent_v2),
    SYMBOL(cuCtxPopCurrent_v2),
    SYMBOL(cuModuleLoadData),
    SYMBOL(cuModuleUnload),
    SYMBOL(cuModuleGetFunction),
    SYMBOL(cuFuncSetAttribute),
    SYMBOL(cuMemAlloc_v2),
    SYMBOL(cuMemFree_v2),
    SYMBOL(cuMemHostAlloc),
    SYMBOL(cuMemFreeHost),
    SYMBOL(cuMemcpyHtoDAsync_v2),
    SYMBOL(cuMemcpyDtoHAsync_v2),
    SYMBOL(cuMemcpy2DAsync_v2),
    SYMBOL(cuMemsetD8Async),
    SYMBOL(cuLaunchKernelEx),
    SYMBOL(cuStreamCreate),
    SYMBOL(cuStreamDestroy_v2),
    SYMBOL(cuStreamSynchronize),
    SYMBOL(cuStreamQuery),
    SYMBOL(cuStreamIsCapturing),
    SYMBOL(cuStreamBeginCapture_v2),
    SYMBOL(cuStreamEndCapture),
    SYMBOL(cuGraphInstantiateWithFlags),
    SYMBOL(cuGraphGetRootNodes),
    SYMBOL(cuGraphExecKernelNodeSetParams_v2),
    SYMBOL(cuGraphUpload),
    SYMBOL(cuGraphLaunch),
    SYMBOL(cuGraphExecDestroy),
    SYMBOL(cuGraphDestroy),
};

void *fake_symbol(void *context, const char *name) {
  if (context != NULL && strcmp(context, name) == 0) return NULL;
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    if (strcmp(name, symbols[i].name) == 0) return (void *)(uintptr_t)symbols[i].function;
  }
  return NULL;
}

void fake_queue(void (*work)(const void *data), const void *data, size_t bytes, struct CUstream_st *stream) {
  static operation queued;
  assert(bytes <= 256);
  queued = (operation){.kind = WORK, .work = work};
  memcpy(queued.parameter, data, bytes);
  add(stream, &queued);
}

void *fake_push_context(void) {
  stack[machine.stack_depth++] = &other;
  return &other;
}

void fake_pop_context(void) {
  assert(machine.stack_depth > 0 && stack[machine.stack_depth - 1] == &other);
  machine.stack_depth--;
}

struct CUstream_st *fake_stream(void) {
  static int next;
  return &streams[next++ % 8];
}

void fake_begin_capture(struct CUstream_st *stream) {
  assert(stream->capture == NULL);
  machine.graphs++;
  stream->capture = calloc(1, sizeof *stream->capture);
}

void *fake_end_capture(struct CUstream_st *stream) {
  struct CUgraph_st *graph = stream->capture;
  assert(graph != NULL);
  stream->capture = NULL;
  return graph;
}

void fake_launch_graph(void *graph, struct CUstream_st *stream) { add_graph(graph, stream); }

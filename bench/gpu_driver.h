/*
 * What a program that measures or tests a GPU build needs of the CUDA driver beside the library itself: memory, events,
 * capture, and the GPU's name. Found in libcuda.so.1 at run time, so that nothing of CUDA is needed to build.
 */
#ifndef GPU_DRIVER_H
#define GPU_DRIVER_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The exit code of a program that finds no GPU. */
enum { NO_GPU = 77 };

struct CUctx_st;
struct CUgraph_st;
struct CUgraphExec_st;
typedef struct CUstream_st *gpu_stream;
typedef struct CUevent_st *gpu_event;
typedef unsigned long long gpu_address;
struct CUmod_st;
struct CUfunc_st;

/* CUlaunchAttribute and CUlaunchConfig */
typedef struct {
  int id;
  int padding;
  int value[16];
} gpu_launch_attribute;
typedef struct {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  gpu_stream stream;
  gpu_launch_attribute *attributes;
  unsigned attribute_count;
} gpu_launch_config;

static struct {
  int (*cuInit)(unsigned flags);
  int (*cuDriverGetVersion)(int *version);
  int (*cuDeviceGet)(int *device, int ordinal);
  int (*cuDeviceGetName)(char *name, int bytes, int device);
  int (*cuDeviceGetAttribute)(int *value, int attribute, int device);
  int (*cuDevicePrimaryCtxRetain)(struct CUctx_st **context, int device);
  int (*cuCtxPushCurrent_v2)(struct CUctx_st *context);
  int (*cuMemAlloc_v2)(gpu_address *address, size_t bytes);
  int (*cuMemFree_v2)(gpu_address address);
  int (*cuMemHostAlloc)(void **memory, size_t bytes, unsigned flags);
  int (*cuMemcpyHtoDAsync_v2)(gpu_address to, const void *from, size_t bytes, gpu_stream stream);
  int (*cuMemcpyDtoHAsync_v2)(void *to, gpu_address from, size_t bytes, gpu_stream stream);
  int (*cuMemsetD8Async)(gpu_address to, unsigned char value, size_t bytes, gpu_stream stream);
  int (*cuStreamCreate)(gpu_stream *stream, unsigned flags);
  int (*cuStreamSynchronize)(gpu_stream stream);
  int (*cuEventCreate)(gpu_event *event, unsigned flags);
  int (*cuEventRecord)(gpu_event event, gpu_stream stream);
  int (*cuEventElapsedTime)(float *milliseconds, gpu_event from, gpu_event to);
  int (*cuStreamBeginCapture_v2)(gpu_stream stream, int mode);
  int (*cuStreamEndCapture)(gpu_stream stream, struct CUgraph_st **graph);
  int (*cuGraphInstantiateWithFlags)(struct CUgraphExec_st **exec, struct CUgraph_st *graph, unsigned long long flags);
  int (*cuGraphLaunch)(struct CUgraphExec_st *exec, gpu_stream stream);
  int (*cuModuleLoadData)(struct CUmod_st **module, const void *image);
  int (*cuModuleGetFunction)(struct CUfunc_st **function, struct CUmod_st *module, const char *name);
  int (*cuLaunchKernelEx)(const gpu_launch_config *config, struct CUfunc_st *function, void **parameters, void **extra);
} gpu;

/* Says what a call of the driver's returned, and ends the program, unless it was 0. */
#define GPU(call) gpu_check(gpu.call, #call)
static inline void gpu_check(int result, const char *call) {
  if (result == 0) return;
  fprintf(stderr, "GPU: %s: CUresult %d\n", call, result);
  exit(EXIT_FAILURE);
}

static inline int gpu_no(const char *why) {
  printf("no GPU: %s\n", why);
  return 0;
}

/* Finds the driver and makes the primary context of the first GPU current; if there is none, says so and returns 0. */
static inline int gpu_open(void) {
  static const char *const names[] = {
      "cuInit",
      "cuDriverGetVersion",
      "cuDeviceGet",
      "cuDeviceGetName",
      "cuDeviceGetAttribute",
      "cuDevicePrimaryCtxRetain",
      "cuCtxPushCurrent_v2",
      "cuMemAlloc_v2",
      "cuMemFree_v2",
      "cuMemHostAlloc",
      "cuMemcpyHtoDAsync_v2",
      "cuMemcpyDtoHAsync_v2",
      "cuMemsetD8Async",
      "cuStreamCreate",
      "cuStreamSynchronize",
      "cuEventCreate",
      "cuEventRecord",
      "cuEventElapsedTime",
      "cuStreamBeginCapture_v2",
      "cuStreamEndCapture",
      "cuGraphInstantiateWithFlags",
      "cuGraphLaunch",
      "cuModuleLoadData",
      "cuModuleGetFunction",
      "cuLaunchKernelEx",
  };
  enum { COUNT = sizeof names / sizeof *names };
  _Static_assert(COUNT == sizeof gpu / sizeof(void *), "one name a function, in their order");
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return gpu_no("there is no CUDA driver (libcuda.so.1)");
  for (int i = 0; i < COUNT; i++) {
    void *function = dlsym(library, names[i]);
    if (function == NULL) return gpu_no("the CUDA driver is too old");
    memcpy((unsigned char *)&gpu + (size_t)i * sizeof function, &function, sizeof function);
  }
  int device;
  struct CUctx_st *context;
  if (gpu.cuInit(0) != 0 || gpu.cuDeviceGet(&device, 0) != 0) return gpu_no("the CUDA driver finds none");
  GPU(cuDevicePrimaryCtxRetain(&context, device));
  GPU(cuCtxPushCurrent_v2(context));
  return 1;
}

/* The driver's function of that name, but one that loads PTX alone, as if there were no machine code for the GPU. */
static inline int gpu_load_ptx(struct CUmod_st **module, const void *image) {
  enum { NO_BINARY_FOR_GPU = 209 };
  return memcmp(image, "\177ELF", 4) == 0 ? NO_BINARY_FOR_GPU : gpu.cuModuleLoadData(module, image);
}
static inline void *gpu_symbol(void *context, const char *name) {
  int (*const load)(struct CUmod_st **, const void *) = gpu_load_ptx;
  void *function;
  (void)context;
  memcpy(&function, &load, sizeof function);
  return strcmp(name, "cuModuleLoadData") == 0 ? function : dlsym(dlopen("libcuda.so.1", RTLD_NOW), name);
}

/* For options.symbol: that function if the environment has GPU_PTX. */
static inline void *(*gpu_symbol_finder(void))(void *, const char *) {
  return getenv("GPU_PTX") != NULL ? gpu_symbol : NULL;
}

static inline gpu_address gpu_allocate(size_t bytes) {
  gpu_address address;
  GPU(cuMemAlloc_v2(&address, bytes));
  return address;
}

#endif /* GPU_DRIVER_H */

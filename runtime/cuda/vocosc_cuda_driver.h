/*
 * As much of the CUDA driver's interface (libcuda.so.1) as is used, so that a build needs no CUDA header. Names, types
 * and numbers are those of CUDA 12.0 and later; NVIDIA keeps them. Private to the object.
 */
#ifndef VOCOSC_CUDA_DRIVER_H
#define VOCOSC_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUgraph_st;
struct CUgraphExec_st;
struct CUgraphNode_st;

/* Results: those that are told apart. */
enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_DEINITIALIZED = 4, /* the process is ending */
  CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER = 36,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201, /* of a context that is there no more */
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_NVLINK_UNCORRECTABLE = 220,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_JIT_COMPILATION_DISABLED = 223,
  CUDA_ERROR_CONTAINED = 226,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
  CUDA_ERROR_ASSERT = 710,
  CUDA_ERROR_HARDWARE_STACK_ERROR = 714, /* this and the next, up to launch failed: the kernel did what it must not */
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720, /* the GPU cannot hold all of the kernel's blocks at a time */
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804,
  CUDA_ERROR_MPS_CLIENT_TERMINATED = 810,
  CUDA_ERROR_EXTERNAL_DEVICE = 911,
};

/* Other constants. */
enum {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
  CU_SHAREDMEM_CARVEOUT_MAX_SHARED = 100, /* per cent */
  CU_MEMORYTYPE_HOST = 1,
  CU_MEMORYTYPE_DEVICE = 2,
  CU_STREAM_NON_BLOCKING = 1,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
  CU_STREAM_CAPTURE_STATUS_NONE = 0,
  CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2,
  CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
};

/* CUlaunchAttribute; the driver's union has 64 bytes. */
typedef struct {
  int id;
  int padding;
  int value;
  int unused[15];
} vocosc_cuda_launch_attribute;

/* CUlaunchConfig */
typedef struct {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  struct CUstream_st *stream;
  vocosc_cuda_launch_attribute *attributes;
  unsigned attribute_count;
} vocosc_cuda_launch_config;

/* CUDA_KERNEL_NODE_PARAMS_v2 */
typedef struct {
  struct CUfunc_st *function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void **parameters;
  void **extra;
  void *kernel;
  struct CUctx_st *context;
} vocosc_cuda_node_parameters;

typedef uint64_t vocosc_cuda_address; /* CUdeviceptr */

/* One side of CUDA_MEMCPY2D_v2, and that: rows of bytes, `pitch` apart. */
typedef struct {
  size_t x, y;
  int memory;       /* CU_MEMORYTYPE_... */
  const void *host; /* written to, where it is the other side's */
  vocosc_cuda_address device;
  void *array;
  size_t pitch;
} vocosc_cuda_rows;
typedef struct {
  vocosc_cuda_rows from, to;
  size_t bytes, rows;
} vocosc_cuda_rows_copy;

/* The functions, which return results: X(symbol, member, parameters). Clang-format takes pointers for products. */
/* clang-format off */
#define VOCOSC_CUDA_FUNCTIONS(X) \
  X(cuInit, init, (unsigned flags)) \
  X(cuDriverGetVersion, driver_version, (int *version)) \
  X(cuDeviceGet, device, (int *device, int ordinal)) \
  X(cuDeviceGetAttribute, device_attribute, (int *value, int attribute, int device)) \
  X(cuDevicePrimaryCtxRetain, retain_primary, (struct CUctx_st **context, int device)) \
  X(cuDevicePrimaryCtxRelease_v2, release_primary, (int device)) \
  X(cuCtxGetCurrent, current, (struct CUctx_st **context)) \
  X(cuCtxGetDevice, current_device, (int *device)) \
  X(cuCtxPushCurrent_v2, push, (struct CUctx_st *context)) \
  X(cuCtxPopCurrent_v2, pop, (struct CUctx_st **context)) \
  X(cuModuleLoadData, load_module, (struct CUmod_st **module, const void *image)) \
  X(cuModuleUnload, unload_module, (struct CUmod_st *module)) \
  X(cuModuleGetFunction, function, (struct CUfunc_st **function, struct CUmod_st *module, const char *name)) \
  X(cuFuncSetAttribute, set_function, (struct CUfunc_st *function, int attribute, int value)) \
  X(cuMemAlloc_v2, allocate, (vocosc_cuda_address *address, size_t bytes)) \
  X(cuMemFree_v2, free, (vocosc_cuda_address address)) \
  X(cuMemHostAlloc, allocate_host, (void **memory, size_t bytes, unsigned flags)) \
  X(cuMemFreeHost, free_host, (void *memory)) \
  X(cuMemcpyHtoDAsync_v2, copy_in, \
    (vocosc_cuda_address to, const void *from, size_t bytes, struct CUstream_st *stream)) \
  X(cuMemcpyDtoHAsync_v2, copy_out, (void *to, vocosc_cuda_address from, size_t bytes, struct CUstream_st *stream)) \
  X(cuMemcpy2DAsync_v2, copy_rows, (const vocosc_cuda_rows_copy *copy, struct CUstream_st *stream)) \
  X(cuMemsetD8Async, fill, (vocosc_cuda_address to, unsigned char value, size_t bytes, struct CUstream_st *stream)) \
  X(cuLaunchKernelEx, launch, \
    (const vocosc_cuda_launch_config *config, struct CUfunc_st *function, void **parameters, void **extra)) \
  X(cuStreamCreate, create_stream, (struct CUstream_st **stream, unsigned flags)) \
  X(cuStreamDestroy_v2, destroy_stream, (struct CUstream_st *stream)) \
  X(cuStreamSynchronize, synchronize, (struct CUstream_st *stream)) \
  X(cuStreamQuery, query, (struct CUstream_st *stream)) \
  X(cuStreamIsCapturing, is_capturing, (struct CUstream_st *stream, int *status)) \
  X(cuStreamBeginCapture_v2, begin_capture, (struct CUstream_st *stream, int mode)) \
  X(cuStreamEndCapture, end_capture, (struct CUstream_st *stream, struct CUgraph_st **graph)) \
  X(cuGraphInstantiateWithFlags, instantiate_graph, \
    (struct CUgraphExec_st **exec, struct CUgraph_st *graph, unsigned long long flags)) \
  X(cuGraphGetRootNodes, root_nodes, (struct CUgraph_st *graph, struct CUgraphNode_st **nodes, size_t *count)) \
  X(cuGraphExecKernelNodeSetParams_v2, set_node, \
    (struct CUgraphExec_st *exec, struct CUgraphNode_st *node, const vocosc_cuda_node_parameters *parameters)) \
  X(cuGraphUpload, upload_graph, (struct CUgraphExec_st *exec, struct CUstream_st *stream)) \
  X(cuGraphLaunch, launch_graph, (struct CUgraphExec_st *exec, struct CUstream_st *stream)) \
  X(cuGraphExecDestroy, destroy_graph_exec, (struct CUgraphExec_st *exec)) \
  X(cuGraphDestroy, destroy_graph, (struct CUgraph_st *graph))
/* clang-format on */

typedef struct {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): they are a declaration */
#define VOCOSC_CUDA_MEMBER(symbol, member, parameters) int(*member) parameters;
  VOCOSC_CUDA_FUNCTIONS(VOCOSC_CUDA_MEMBER)
#undef VOCOSC_CUDA_MEMBER
} vocosc_cuda_driver;

#endif /* VOCOSC_CUDA_DRIVER_H */

/*
 * cuBLAS and cuFFT for builds with --link libs, opened by dlopen: as much of their interfaces as is used, without their
 * headers. Private to the object.
 */
#ifndef VOCOSC_CUDA_LIBS_H
#define VOCOSC_CUDA_LIBS_H

#include <stdint.h>

#include "vocosc_cuda.h"
#include "vocosc_cuda_call.h"
#include "vocosc_cuda_model.h"

struct CUstream_st;

/* The functions return 0 (CUBLAS_STATUS_SUCCESS, CUFFT_SUCCESS) or an error. */
typedef struct {
  void *blas; /* cublasHandle_t; null until it is made */
  int plan;   /* cufftHandle */
  int has_plan;
  int (*create)(void **handle);
  int (*destroy)(void *handle);
  int (*set_stream)(void *handle, struct CUstream_st *stream);
  int (*multiply)(void *handle, int a_operation, int b_operation, int m, int n, int k, const float *alpha,
                  const float *a, int a_stride, const float *b, int b_stride, const float *beta, float *c,
                  int c_stride); /* column-major */
  int (*make_plan)(int *plan, int rank, int *n, int *in_embed, int in_stride, int in_distance, int *out_embed,
                   int out_stride, int out_distance, int type, int batch);
  int (*destroy_plan)(int plan);
  int (*set_plan_stream)(int plan, struct CUstream_st *stream);
  int (*transform)(int plan, float *in, float *out);
} vocosc_cuda_libs;

/* Opens both for the current context, and plans inverse transforms of `rows`. Returns 0; to be closed in any case. */
int vocosc_cuda_libs_open(vocosc_cuda_libs *libs, int rows);
void vocosc_cuda_libs_close(const vocosc_cuda_libs *libs);

/* Queues a product for `rows` rows, or all transforms. Returns 0 or an error of the library's. */
int vocosc_cuda_libs_queue(const vocosc_cuda_libs *libs, const struct vocosc_cuda_step *step,
                           const struct vocosc_cuda_memory *memory, int rows, struct CUstream_st *stream);

#endif /* VOCOSC_CUDA_LIBS_H */

/*
 * Stand-ins for cuBLAS and cuFFT, as far as the runtime uses them: one library, by both names, over plain loops in
 * double precision. They queue their work in the fake driver. FAKE_CUDA_LIBS_FAIL names a function that fails.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fake_driver.h"

enum { FAILED = 13, COMPLEX_TO_REAL = 0x2c };

typedef struct {
  int m, n, k, a_stride, b_stride, c_stride;
  float alpha, beta;
  const float *a, *b;
  float *c;
} product;

typedef struct {
  int length, batch;
  const float *in;
  float *out;
} transforms;

static struct CUstream_st *stream_of_products, *stream_of_transforms;
static transforms planned;

int cublasCreate_v2(void **handle);
int cublasDestroy_v2(void *handle);
int cublasSetStream_v2(void *handle, struct CUstream_st *stream);
int cublasSgemm_v2(void *handle, int a_operation, int b_operation, int m, int n, int k, const float *alpha,
                   const float *a, int a_stride, const float *b, int b_stride, const float *beta, float *c,
                   int c_stride);
int cufftPlanMany(int *plan, int rank, int *n, int *in_embed, int in_stride, int in_distance, int *out_embed,
                  int out_stride, int out_distance, int type, int batch);
int cufftDestroy(int plan);
int cufftSetStream(int plan, struct CUstream_st *stream);
int cufftExecC2R(int plan, float *in, float *out);

static int result_of(const char *name) {
  const char *failing = getenv("FAKE_CUDA_LIBS_FAIL");
  return failing != NULL && strcmp(failing, name) == 0 ? FAILED : 0;
}

int cublasCreate_v2(void **handle) {
  *handle = &planned; /* anything */
  return result_of(__func__);
}

int cublasDestroy_v2(void *handle) { return handle != &planned; }

int cublasSetStream_v2(void *handle, struct CUstream_st *stream) {
  stream_of_products = stream;
  return handle != &planned || result_of(__func__);
}

static void multiply(const void *data) {
  const product *p = data;
  for (int row = 0; row < p->m; row++) {
    for (int column = 0; column < p->n; column++) {
      double sum = 0.0;
      for (int i = 0; i < p->k; i++) sum += (double)p->a[i * p->a_stride + row] * p->b[column * p->b_stride + i];
      float *c = p->c + column * p->c_stride + row;
      *c = (float)(p->alpha * sum + p->beta * (double)*c);
    }
  }
}

int cublasSgemm_v2(void *handle, int a_operation, int b_operation, int m, int n, int k, const float *alpha,
                   const float *a, int a_stride, const float *b, int b_stride, const float *beta, float *c,
                   int c_stride) {
  const product work = {m, n, k, a_stride, b_stride, c_stride, *alpha, *beta, a, b, c};
  if (handle != &planned || a_operation != 0 || b_operation != 0 || n < 1) return FAILED;
  if (a_stride < m || b_stride < k || c_stride < m) return FAILED;
  fake_queue(multiply, &work, sizeof work, stream_of_products);
  return result_of(__func__);
}

int cufftPlanMany(int *plan, int rank, int *n, int *in_embed, int in_stride, int in_distance, int *out_embed,
                  int out_stride, int out_distance, int type, int batch) {
  if (rank != 1 || type != COMPLEX_TO_REAL || in_embed != NULL || out_embed != NULL) return FAILED;
  if (in_stride != 1 || out_stride != 1 || in_distance != *n / 2 + 1 || out_distance != *n) return FAILED;
  *plan = 1;
  planned.length = *n;
  planned.batch = batch;
  return result_of(__func__);
}

int cufftDestroy(int plan) { return plan != 1; }

int cufftSetStream(int plan, struct CUstream_st *stream) {
  stream_of_transforms = stream;
  return plan != 1 || result_of(__func__);
}

static void transform(const void *data) {
  const transforms *t = data;
  for (int row = 0; row < t->batch; row++) {
    const float *in = t->in + (size_t)row * 2 * (size_t)(t->length / 2 + 1);
    for (int i = 0; i < t->length; i++) {
      double sum = (double)in[0];
      for (int bin = 1; bin <= t->length / 2; bin++) {
        const double angle = 2.0 * 3.14159265358979323846 * (double)(bin * i % t->length) / t->length;
        const double part = (double)in[2 * bin] * cos(angle) - (double)in[2 * bin + 1] * sin(angle);
        sum += 2 * bin == t->length ? part : 2.0 * part;
      }
      t->out[(size_t)row * (size_t)t->length + (size_t)i] = (float)sum;
    }
  }
}

int cufftExecC2R(int plan, float *in, float *out) {
  const transforms work = {planned.length, planned.batch, in, out};
  if (plan != 1) return FAILED;
  fake_queue(transform, &work, sizeof work, stream_of_transforms);
  return result_of(__func__);
}

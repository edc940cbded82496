/* Matrix products by cuBLAS, inverse transforms by cuFFT: see vocosc_cuda_libs.h. */
#include "vocosc_cuda_libs.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

enum { NOT_TRANSPOSED = 0, COMPLEX_TO_REAL = 0x2c }; /* CUBLAS_OP_N, CUFFT_C2R */

static const struct {
  char name[24];
  size_t offset;
  int is_fft;
} symbols[] = {
    {"cublasCreate_v2", offsetof(vocosc_cuda_libs, create), 0},
    {"cublasDestroy_v2", offsetof(vocosc_cuda_libs, destroy), 0},
    {"cublasSetStream_v2", offsetof(vocosc_cuda_libs, set_stream), 0},
    {"cublasSgemm_v2", offsetof(vocosc_cuda_libs, multiply), 0},
    {"cufftPlanMany", offsetof(vocosc_cuda_libs, make_plan), 1},
    {"cufftDestroy", offsetof(vocosc_cuda_libs, destroy_plan), 1},
    {"cufftSetStream", offsetof(vocosc_cuda_libs, set_plan_stream), 1},
    {"cufftExecC2R", offsetof(vocosc_cuda_libs, transform), 1},
};

/* Those of CUDA 13, and of 12. */
static void *open_one_of(const char *newer, const char *older) {
  void *library = dlopen(newer, RTLD_NOW | RTLD_LOCAL);
  return library != NULL ? library : dlopen(older, RTLD_NOW | RTLD_LOCAL);
}

int vocosc_cuda_libs_open(vocosc_cuda_libs *libs, int rows) {
  void *blas = open_one_of("libcublas.so.13", "libcublas.so.12");
  void *fft = open_one_of("libcufft.so.12", "libcufft.so.11");
  int length[] = {VOCOSC_N_FFT};
  memset(libs, 0, sizeof *libs);
  if (blas == NULL || fft == NULL) return -1;
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *function = dlsym(symbols[i].is_fft ? fft : blas, symbols[i].name);
    if (function == NULL) return -1;
    memcpy((unsigned char *)libs + symbols[i].offset, &function, sizeof function);
  }
  int status = libs->create(&libs->blas);
  if (status != 0) {
    libs->blas = NULL;
    return status;
  }
  status = libs->make_plan(&libs->plan, 1, length, NULL, 1, VOCOSC_N_FFT / 2 + 1, NULL, 1, VOCOSC_N_FFT,
                           COMPLEX_TO_REAL, rows);
  libs->has_plan = status == 0;
  return status;
}

void vocosc_cuda_libs_close(const vocosc_cuda_libs *libs) {
  if (libs->blas != NULL) libs->destroy(libs->blas);
  if (libs->has_plan) libs->destroy_plan(libs->plan);
}

/* The libraries take the device's addresses as pointers. */
static float *at(uint64_t base, uint64_t floats) {
  return (float *)(uintptr_t)base + floats; /* NOLINT(performance-no-int-to-ptr) */
}

int vocosc_cuda_libs_queue(const vocosc_cuda_libs *libs, const struct vocosc_cuda_step *step,
                           const struct vocosc_cuda_memory *memory, int rows, struct CUstream_st *stream) {
  const float one = 1.0f;
  if (step->inputs == 0) {
    const int status = libs->set_plan_stream(libs->plan, stream);
    return status != 0 ? status
                       : libs->transform(libs->plan, at(memory->scratch, step->x), at(memory->scratch, step->y));
  }
  if (rows == 0) return 0;
  /* Row-major matrices are column-major ones, transposed: so the operands change places. */
  const int status = libs->set_stream(libs->blas, stream);
  if (status != 0) return status;
  return libs->multiply(libs->blas, NOT_TRANSPOSED, NOT_TRANSPOSED, (int)step->outputs, rows, (int)step->inputs, &one,
                        at(memory->weights + step->weights, 0), (int)step->outputs, at(memory->scratch, step->x),
                        (int)step->x_stride, &one, at(memory->scratch, step->y), (int)step->y_stride);
}

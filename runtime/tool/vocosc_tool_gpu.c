/* The GPU as the tool uses it: one stream in slot 0, host memory in and out. */
#include <stdio.h>

#include "vocosc_tool.h"
#include "vocosc_tool_decoder.h"

#if VOCOSC_HAS_CUDA

#include "vocosc_cuda.h"

static vocosc_cuda gpu;
static vocosc_cuda_slot slot;

/* The status of init, on the first GPU. */
static int init(gpu_way way) {
  static const int flags[GPU_WAYS] = {
      [GPU_SINGLE_KERNEL] = VOCOSC_CUDA_SINGLE_KERNEL, [GPU_LIBRARIES] = VOCOSC_CUDA_LIBRARIES};
  const vocosc_cuda_options options = {.flags = VOCOSC_CUDA_ALLOCATE | flags[way], .slots = 1, .table = &slot};
  return vocosc_cuda_init(&gpu, &options);
}

/* Reports a status, with the driver's own number for it where there is one. */
static bool fail_status(int status) {
  if (gpu.driver_code == 0) return fail("GPU", "%s", vocosc_cuda_status_text(status));
  return fail("GPU", "%s (CUresult %d)", vocosc_cuda_status_text(status), gpu.driver_code);
}

bool gpu_start(gpu_way way) {
  if (way == GPU_LIBRARIES && !VOCOSC_CUDA_HAS_LIBRARIES) {
    return fail("--target", "this build cannot take cuBLAS and cuFFT (compile with --target cuda --link libs)");
  }
  int status = init(way);
  if (status != VOCOSC_OK) return fail_status(status);
  status = vocosc_cuda_bind(&gpu, 0, NULL);
  if (status == VOCOSC_OK) return true;
  fail_status(status);
  gpu_stop();
  return false;
}

/* The samples that a call has queued, once they are there. */
static int waited(int samples) {
  const int status = samples < 0 ? samples : vocosc_cuda_wait(&gpu, NULL);
  if (status >= 0) return samples;
  fail_status(status);
  return status;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written through the chunk */
int gpu_run(const float *mel, int frames, float *audio) {
  const vocosc_cuda_chunk chunk = {0, mel, audio};
  return waited(frames > 0 ? vocosc_cuda_decode_host(&gpu, &chunk, 1, frames, NULL)
                           : vocosc_cuda_flush_host(&gpu, &chunk, 1, NULL));
}

bool gpu_reset(void) {
  const int status = vocosc_cuda_reset(&gpu, 0, NULL);
  return status == VOCOSC_OK || fail_status(status);
}

void gpu_stop(void) { vocosc_cuda_close(&gpu); }

void gpu_report(void) {
  char text[96];
  const int status = init(GPU_GRAPH);
  if (status == VOCOSC_OK) {
    snprintf(text, sizeof text, "sm_%d, %d multiprocessors, driver of CUDA %d.%d", gpu.architecture,
             gpu.multiprocessors, gpu.driver_version / 1000, gpu.driver_version % 1000 / 10);
  } else {
    snprintf(text, sizeof text, "%s", vocosc_cuda_status_text(status));
  }
  report_numbers("cuda_architectures", VOCOSC_CUDA_ARCHITECTURES_TEXT);
  report_count("cuda_batch", VOCOSC_CUDA_BATCH);
  report_count("cuda_launches", VOCOSC_CUDA_LAUNCHES);
  report_count("cuda_weight_bytes", (long long)VOCOSC_CUDA_WEIGHT_BYTES);
  report_count("cuda_state_bytes", (long long)VOCOSC_CUDA_STATE_BYTES);
  report_count("cuda_memory_bytes", (long long)VOCOSC_CUDA_MEMORY_BYTES(1));
  report_text("gpu", text);
  if (status == VOCOSC_OK) gpu_stop();
}

#endif

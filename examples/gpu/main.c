/*
 * Raw float32 log-mel from stdin to raw float32 audio on stdout: on a GPU where there is one, on the CPU where not.
 *
 * cc -O2 -Igenerated/vocos examples/gpu/main.c generated/vocos/libvocos.a -o gpu
 */
#include <stdio.h>

#include "vocos.h"
#include "vocos_cuda.h"

static vocos_cuda gpu;
static vocos_cuda_slot slots[1]; /* one per stream that can be open at the same time */
static vocos_stream stream;
static vocos_scratch scratch;

int main(void) {
  static float mel[VOCOS_MAX_FRAMES * VOCOS_MELS];
  static float audio[VOCOS_MAX_FRAMES * VOCOS_HOP];
  static float tail[VOCOS_TAIL];
  const vocos_cuda_options options = {.flags = VOCOS_CUDA_ALLOCATE, .slots = 1, .table = slots};
  int on_gpu = vocos_cuda_init(&gpu, &options);
  if (on_gpu == VOCOS_OK) on_gpu = vocos_cuda_bind(&gpu, 0, NULL);
  fprintf(stderr, "GPU: %s\n", vocos_cuda_status_text(on_gpu));
  if (on_gpu < 0 && vocos_init(&stream) != VOCOS_OK) return 1;

  int frames;
  while ((frames = (int)fread(mel, sizeof(float) * VOCOS_MELS, VOCOS_MAX_FRAMES, stdin)) > 0) {
    int samples;
    if (on_gpu == VOCOS_OK) {
      const vocos_cuda_chunk chunk = {0, mel, audio}; /* a server has an array of them, one per stream */
      samples = vocos_cuda_decode_host(&gpu, &chunk, 1, frames, NULL);
      if (samples >= 0 && vocos_cuda_wait(&gpu, NULL) != VOCOS_OK) return 1;
    } else {
      samples = vocos_decode(&stream, &scratch, mel, frames, audio);
    }
    if (samples < 0) return 1; /* vocos_cuda_status_text(samples) says why */
    fwrite(audio, sizeof *audio, (size_t)samples, stdout);
  }
  int left;
  if (on_gpu == VOCOS_OK) {
    const vocos_cuda_chunk chunk = {0, NULL, tail};
    left = vocos_cuda_flush_host(&gpu, &chunk, 1, NULL);
    if (left >= 0 && vocos_cuda_wait(&gpu, NULL) != VOCOS_OK) return 1;
    vocos_cuda_close(&gpu);
  } else {
    left = vocos_flush(&stream, tail); /* of a model that looks ahead: (&stream, &scratch, tail) */
  }
  if (left < 0) return 1;
  fwrite(tail, sizeof *tail, (size_t)left, stdout);
  return 0;
}

#include "vocosc_tool_decoder.h"

#include <string.h>

/* Streams of the analysis, which need no weights, have the same targets as the others. */
bool target_available(vocosc_target target) {
  static vocosc_mel_stream stream;
  if (target > VOCOSC_LAST_TARGET) return vocosc_host_target() == target;
  return vocosc_mel_init_target(&stream, target) == VOCOSC_OK;
}

vocosc_target best_target(void) {
  static vocosc_mel_stream best;
  static vocosc_mel_stream other;
  vocosc_target last = VOCOSC_PORTABLE;
  if (vocosc_host_target() != VOCOSC_BEST) return vocosc_host_target();
  vocosc_mel_init(&best);
  for (int i = VOCOSC_PORTABLE; i <= VOCOSC_LAST_TARGET; i++) {
    if (vocosc_mel_init_target(&other, (vocosc_target)i) != VOCOSC_OK) continue;
    last = (vocosc_target)i;
    /* New streams differ in their target only; init zeroes the rest, so that all bytes compare. */
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison, cert-exp42-c, cert-flp37-c) */
    if (memcmp(&best, &other, sizeof best) == 0) return last;
  }
  return last;
}

const char *gpu_way_name(gpu_way way) {
  static const char *const names[GPU_WAYS] = {"", "cuda", "cuda-single-kernel", "cuda-libraries"};
  return names[way];
}

bool decoder_start(tool_decoder *decoder, const command_options *options) {
  const vocosc_target target = options->target == VOCOSC_BEST ? vocosc_host_target() : options->target;
  const int threads = options->threads;
  decoder->on_gpu = options->gpu != GPU_NONE;
  if (decoder->on_gpu && !VOCOSC_HAS_CUDA) {
    return fail("--target", "this build has no GPU code (compile with --target cuda)");
  }
  if (VOCOSC_HAS_CUDA && decoder->on_gpu) {
    const char *name = gpu_way_name(options->gpu);
    if (threads > 1) return fail("--threads", "are the CPU's (leave out --target %s)", name);
    if (options->streams > 1) return fail("--streams", "are the CPU's (leave out --target %s)", name);
    return gpu_start(options->gpu);
  }
#if VOCOSC_BAKED
  const int status = vocosc_init_target(&decoder->stream, target);
#else
  size_t bytes;
  const void *weights = weights_open(options->weights, &bytes);
  if (weights == NULL) return false;
  const int status = vocosc_init_weights(&decoder->stream, target, weights, bytes);
#endif
  if (status == VOCOSC_BAD_TARGET || (target > VOCOSC_LAST_TARGET && !target_available(target))) {
    return fail("--target", "this CPU, this build or its operating system lacks %s (see `" VOCOSC_NAME " info`)",
                vocosc_target_name((int)target));
  }
  if (status != VOCOSC_OK) {
    return fail(options->weights != NULL ? options->weights : "decoder", "%s", vocosc_status_text(status));
  }
  decoder->threads = threads;
  if (threads == 1) return true;
  const int error = vocosc_team_pthread_start(&decoder->team, threads);
  return error == 0 || fail("--threads", "cannot start %d threads: %s", threads, strerror(error));
}

int decoder_run(tool_decoder *decoder, const float *mel, int frames, float *audio) {
  if (VOCOSC_HAS_CUDA && decoder->on_gpu) return gpu_run(mel, frames, audio);
  const vocosc_job job = {&decoder->stream, mel, audio};
  return decoder_run_batch(decoder, &job, 1, frames);
}

int decoder_run_batch(tool_decoder *decoder, const vocosc_job *jobs, int count, int frames) {
  const int result = decoder->threads == 1
                         ? vocosc_decode_batch(jobs, count, &decoder->scratch, frames, NULL)
                         : vocosc_team_pthread_decode_batch(&decoder->team, jobs, count, &decoder->scratch, frames);
  if (result < 0) fail("decoder", "%s", vocosc_status_text(result));
  return result;
}

bool decoder_reset(tool_decoder *decoder) {
  if (VOCOSC_HAS_CUDA && decoder->on_gpu) return gpu_reset();
  const int status = vocosc_reset(&decoder->stream);
  return status == VOCOSC_OK || fail("decoder", "%s", vocosc_status_text(status));
}

int decoder_flush(tool_decoder *decoder, float *tail) {
  if (VOCOSC_HAS_CUDA && decoder->on_gpu) return gpu_run(NULL, 0, tail);
  return decoder_flush_stream(decoder, &decoder->stream, tail);
}

int decoder_flush_stream(tool_decoder *decoder, vocosc_stream *stream, float *tail) {
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
  const int samples = vocosc_flush(stream, &decoder->scratch, tail);
#else
  (void)decoder;
  const int samples = vocosc_flush(stream, tail);
#endif
  if (samples < 0) fail("decoder", "%s", vocosc_status_text(samples));
  return samples;
}

const char *decoder_target(const command_options *options) {
  if (options->gpu != GPU_NONE) return gpu_way_name(options->gpu);
  return vocosc_target_name((int)(options->target == VOCOSC_BEST ? best_target() : options->target));
}

void decoder_stop(tool_decoder *decoder) {
  if (VOCOSC_HAS_CUDA && decoder->on_gpu) gpu_stop();
  if (!decoder->on_gpu && decoder->threads > 1) vocosc_team_pthread_stop(&decoder->team);
}

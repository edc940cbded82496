/* The command `info`. */
#include <stdlib.h>

#include "vocosc_tool.h"
#include "vocosc_tool_decoder.h"

int vocosc_tool_info(const command_options *options) {
  const char *targets[LAST_TARGET];
  int count = 0;
  for (int i = VOCOSC_PORTABLE; i <= LAST_TARGET; i++) {
    if (target_available((vocosc_target)i)) targets[count++] = vocosc_target_name(i);
  }
  const int latency = vocosc_latency_samples();

  report_begin(options->json);
  report_text("name", VOCOSC_NAME);
  report_text("generator", VOCOSC_GENERATOR);
  report_text("checkpoint_sha256", VOCOSC_CHECKPOINT_SHA256);
  report_text("precision", VOCOSC_PRECISION);
  report_count("sample_rate", VOCOSC_SAMPLE_RATE);
  report_count("n_fft", VOCOSC_N_FFT);
  report_count("hop", VOCOSC_HOP);
  report_count("mels", VOCOSC_MELS);
  report_text("mel", VOCOSC_MEL_TEXT);
  report_numbers("chunks", VOCOSC_CHUNKS_TEXT);
  report_count("max_frames", vocosc_max_frames());
  report_text("padding", VOCOSC_PADDING);
  report_count("tail_samples", VOCOSC_TAIL);
  report_count("latency_samples", latency);
  report_number("latency_ms", latency * 1e3 / VOCOSC_SAMPLE_RATE);
  report_count("latency_lookahead_frames", VOCOSC_LATENCY_LOOKAHEAD_FRAMES);
  report_count("latency_lookahead_samples", VOCOSC_LATENCY_LOOKAHEAD_SAMPLES);
  report_number("latency_lookahead_ms", VOCOSC_LATENCY_LOOKAHEAD_SAMPLES * 1e3 / VOCOSC_SAMPLE_RATE);
  report_number("latency_overlap_frames", (double)VOCOSC_LATENCY_OVERLAP_SAMPLES / VOCOSC_HOP);
  report_count("latency_overlap_samples", VOCOSC_LATENCY_OVERLAP_SAMPLES);
  report_number("latency_overlap_ms", VOCOSC_LATENCY_OVERLAP_SAMPLES * 1e3 / VOCOSC_SAMPLE_RATE);
  report_count("flash_bytes", (long long)VOCOSC_FLASH_BYTES);
  report_count("state_bytes", (long long)VOCOSC_STATE_BYTES);
  report_count("scratch_bytes", (long long)VOCOSC_SCRATCH_BYTES);
  report_count("stack_bytes", (long long)VOCOSC_STACK_BYTES);
  report_count("weight_bytes", (long long)VOCOSC_WEIGHT_BYTES);
  report_count("macs_per_frame", (long long)VOCOSC_MACS_PER_FRAME);
  report_words("targets", targets, count);
  report_text("best_target", vocosc_target_name((int)best_target()));
  if (VOCOSC_HAS_CUDA) gpu_report();
  return report_end() ? EXIT_SUCCESS : EXIT_FAILURE;
}

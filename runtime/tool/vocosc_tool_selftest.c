/* The command `selftest`: the object's own test on every instruction set that this CPU and this build have. */
#include <stdlib.h>

#include "vocosc_tool_decoder.h"

#if VOCOSC_HAS_SELFTEST
static bool passes(const command_options *options) {
  static tool_decoder decoder;
  if (!decoder_start(&decoder, options)) return false;
  const int status = vocosc_selftest(&decoder.stream, &decoder.scratch);
  decoder_stop(&decoder);
  return status == VOCOSC_OK || fail(vocosc_target_name((int)options->target), "%s", vocosc_status_text(status));
}
#endif

int vocosc_tool_selftest(const command_options *options) {
  bool all = true;
  report_begin(options->json);
  for (int i = VOCOSC_PORTABLE; i <= LAST_TARGET; i++) {
    if (!target_available((vocosc_target)i)) continue;
#if VOCOSC_HAS_SELFTEST
    command_options one = *options;
    one.target = (vocosc_target)i;
    const bool passed = passes(&one);
    all = all && passed;
    report_text(vocosc_target_name(i), passed ? "ok" : "failed");
#else
    report_text(vocosc_target_name(i), "has none");
#endif
  }
  return report_end() && all ? EXIT_SUCCESS : EXIT_FAILURE;
}

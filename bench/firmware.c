/* Counts (tests/c/count.h), without an operating system, what it takes to begin a stream and to decode CHUNK frames. */
#include "count.h"
#include "vocos.h"

static vocos_stream stream;
static vocos_scratch scratch;
static float mel[CHUNK * VOCOS_MELS];
static float audio[CHUNK * VOCOS_HOP];

int main(void) {
  count_begin();
  const int begun = vocos_init(&stream);
  count_end();
  if (begun != VOCOS_OK) return 1;
  count_begin();
  const int samples = vocos_decode(&stream, &scratch, mel, CHUNK, audio);
  count_end();
  print_text(vocos_target_name((int)stream.target));
  print_text("\n");
  return samples == CHUNK * VOCOS_HOP ? 0 : 1;
}

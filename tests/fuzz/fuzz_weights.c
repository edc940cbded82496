/*
 * The weights file (--weights blob), changed, cut off or misaligned: init takes it exactly if its header is this
 * model's, all of it is there and its checksum is right; then its weights, whatever they are, leads no call astray.
 */
#include <stdbool.h>

#include "input.h"
#include "vocosc.h"

enum { BYTES = VOCOSC_WEIGHTS_FILE_BYTES, ALIGNMENT = 64, MOST_CHANGES = 32 };
/* Where the header's checksum is, and where what it is of begins: see weights_file in vocosc_model.h. */
enum { CRC32_AT = 20, CHECKED_FROM = 24, ARCHITECTURE_END = 56 };

static uint8_t good[BYTES];
static vocosc_stream stream;
static vocosc_scratch scratch;

static void read_good(void) {
  FILE *file = fopen(WEIGHTS_FILE, "rb");
  CHECK(file != NULL && fread(good, sizeof good, 1, file) == 1 && getc(file) == EOF);
  fclose(file);
}

static uint32_t crc32(const uint8_t *bytes, size_t count) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static void use_weights(input *in, bool unchanged) {
  float mel[VOCOSC_MAX_FRAMES * VOCOSC_MELS];
  float audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
  const int frames = 1 + next_byte(in) % VOCOSC_MAX_FRAMES;
  for (int i = 0; i < frames * VOCOSC_MELS; i++) mel[i] = (float)next_byte(in) * (1.0f / 16.0f) - 10.0f;
  CHECK(vocosc_decode(&stream, &scratch, mel, frames, audio) == frames * VOCOSC_HOP);
  const int status = vocosc_selftest(&stream, &scratch);
  CHECK(status == VOCOSC_OK || (status == VOCOSC_BAD_SELFTEST && !unchanged));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  if (good[0] == 0) read_good();
  const uint8_t options = next_byte(&in);
  const size_t misaligned = (options & 3) == 3 ? 1 + next_byte(&in) % (ALIGNMENT - 1) : 0;
  const size_t cut = (options & 12) == 12 ? next_word(&in) % (BYTES + 1) : 0;
  const size_t bytes = BYTES - cut;
  void *memory = NULL;
  CHECK(posix_memalign(&memory, ALIGNMENT, misaligned + bytes) == 0);
  uint8_t *weights = (uint8_t *)memory + misaligned;
  memcpy(weights, good, bytes);
  const int changes = next_byte(&in) % MOST_CHANGES;
  for (int i = 0; i < changes; i++) {
    const size_t at = (options & 16 ? next_byte(&in) : next_word(&in)) % BYTES;
    const uint8_t value = next_byte(&in);
    if (at < bytes) weights[at] = value;
  }
  if (cut == 0 && (options & 32)) { /* a checksum that is right */
    const uint32_t crc = crc32(weights + CHECKED_FROM, BYTES - CHECKED_FROM);
    memcpy(weights + CRC32_AT, &crc, sizeof crc);
  }

  uint32_t crc = 0;
  if (cut == 0) memcpy(&crc, weights + CRC32_AT, sizeof crc);
  const bool right = misaligned == 0 && cut == 0 && memcmp(weights, good, CRC32_AT) == 0 &&
                     memcmp(weights + CHECKED_FROM, good + CHECKED_FROM, ARCHITECTURE_END - CHECKED_FROM) == 0 &&
                     crc == crc32(weights + CHECKED_FROM, BYTES - CHECKED_FROM);
  const int status = vocosc_init_weights(&stream, VOCOSC_BEST, weights, bytes);
  CHECK(status == (right ? VOCOSC_OK : VOCOSC_BAD_WEIGHTS));
  if (right) {
    use_weights(&in, memcmp(weights, good, BYTES) == 0);
  } else {
    float mel[VOCOSC_MELS] = {0};
    float audio[VOCOSC_HOP];
    CHECK(vocosc_decode(&stream, &scratch, mel, 1, audio) == VOCOSC_BAD_STREAM);
    CHECK(vocosc_selftest(&stream, &scratch) == VOCOSC_BAD_STREAM);
  }
  free(memory);
  return 0;
}

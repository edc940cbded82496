/*
 * Weights in flash of their own, at a fixed address (--weights blob): the image holds none, and neither copies any. The
 * board's linker script says where they are. Checked once, at first boot; a second stream is a copy of the new one.
 *
 *   make BOARD=cortex_m7 PROGRAM=weights_in_flash.c FLAGS="-I ../../tests/c" MODEL=... UTTERANCE=... \
 *     EMULATOR_FLAGS="-device loader,file=$MODEL/vocos_weights.bin,addr=0x60000000,force-raw=on" run
 */
#include "console.h"
#include "count.h"
#include "vocos.h"

extern const unsigned char weights_in_flash[]; /* from the linker script */

static vocos_stream first;
static vocos_stream second;
static vocos_scratch scratch;

int main(void) {
  count_begin();
  const int status = vocos_init_weights(&first, VOCOS_BEST, weights_in_flash, VOCOS_WEIGHTS_FILE_BYTES);
  count_end();
  print_text(vocos_status_text(status));
  if (status != VOCOS_OK) return 1;
  second = first; /* no second check */
  print_text(vocos_selftest(&second, &scratch) == VOCOS_OK ? ", self-test passed\n" : ", self-test failed\n");
  return 0;
}

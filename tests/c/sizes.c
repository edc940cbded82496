/* The header stands alone, and a stream can be a constant of static memory. */
#include "vocosc.h"

static vocosc_stream stream;

int main(void) { return vocosc_init(&stream) == VOCOSC_OK && sizeof stream == VOCOSC_STATE_BYTES ? 0 : 1; }

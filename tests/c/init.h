/* The model's header; and init also where the weights are in a file of their own: they are linked into the program. */
#ifndef INIT_H
#define INIT_H

#include "vocosc.h"

#if !VOCOSC_BAKED

__asm__(
    ".pushsection .rodata\n"
    ".balign 64\n"
    "linked_weights:\n"
    ".incbin \"" WEIGHTS_FILE
    "\"\n"
    ".popsection\n");
extern const unsigned char linked_weights[];

static inline int vocosc_init_target(vocosc_stream *stream, vocosc_target target) {
  return vocosc_init_weights(stream, target, linked_weights, VOCOSC_WEIGHTS_FILE_BYTES);
}
static inline int vocosc_init(vocosc_stream *stream) { return vocosc_init_target(stream, VOCOSC_BEST); }

#endif

#endif /* INIT_H */

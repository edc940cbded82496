/* A chunk under way: what all steps of the network know of it, and how its workers share them. */
#ifndef VOCOSC_CHUNK_H
#define VOCOSC_CHUNK_H

#include "vocosc_model.h"
#include "vocosc_target.h"

/* `frames` rows for each of `count` jobs, `rows` in all, of which this worker's are first_row .. last_row - 1. */
typedef struct {
  const vocosc_job *jobs;
  int count;
  int frames;
  int rows;
  int first_row;
  int last_row;
//% if plan.lookahead
  int is_edge; /* whether some row is of a frame outside its utterance */
//% endif
  float *scratch;
  const vocosc_team *team;
} chunk;

/* A step of the network: a function of its own, so that profiles and call graphs show it. */
#define STEP static __attribute__((noinline))

/* The first of `items` that is this worker's: its share runs up to the next worker's first. */
static inline int share(const chunk *c, int items, int next) {
  return items * (c->team->worker + next) / c->team->workers;
}
static inline int first_of(const chunk *c, int items) { return share(c, items, 0); }
static inline int last_of(const chunk *c, int items) { return share(c, items, 1); }

//% if plan.lookahead

/*
 * Behind an utterance's end (no mel) layers have fewer and fewer rows left: what is `lag` frames behind the mel has as
 * many, of which this call takes `frames` at most.
 */
static inline void take_rows(chunk *c, int frames, int lag) {
  if (c->jobs->mel != NULL) return;
  const int left = lag - (int)c->jobs->stream->flushed;
  c->frames = left < 0 ? 0 : left < frames ? left : frames;
  c->rows = c->count * c->frames;
  c->first_row = first_of(c, c->rows);
  c->last_row = last_of(c, c->rows);
}
//% endif

/* Ends a step: what it wrote, all workers may read. */
static inline void barrier(const chunk *c) {
  if (c->team->workers > 1) c->team->barrier(c->team->context);
}

#endif /* VOCOSC_CHUNK_H */

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

/* Ends a step: what it wrote, all workers may read. */
static inline void barrier(const chunk *c) {
  if (c->team->workers > 1) c->team->barrier(c->team->context);
}

#endif /* VOCOSC_CHUNK_H */

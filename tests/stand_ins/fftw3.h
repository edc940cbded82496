/* In place of FFTW where a cross compiler has none: the two transforms of the tests, by their definition. */
#ifndef FFTW3_H
#define FFTW3_H

#include <math.h>
#include <stdlib.h>

typedef double fftw_complex[2];

typedef struct {
  int length;
  double *samples;    /* [length] */
  fftw_complex *bins; /* [length / 2 + 1] */
  int forward;
} fftw_plan;

enum { FFTW_ESTIMATE };

static inline fftw_complex *fftw_alloc_complex(size_t count) { return calloc(count, sizeof(fftw_complex)); }
static inline void fftw_free(void *memory) { free(memory); }
static inline void fftw_destroy_plan(fftw_plan plan) { (void)plan; }

static inline fftw_plan fftw_plan_dft_c2r_1d(int length, fftw_complex *bins, double *samples, unsigned flags) {
  (void)flags;
  return (fftw_plan){length, samples, bins, 0};
}
static inline fftw_plan fftw_plan_dft_r2c_1d(int length, double *samples, fftw_complex *bins, unsigned flags) {
  (void)flags;
  return (fftw_plan){length, samples, bins, 1};
}

static inline void fftw_execute(fftw_plan plan) {
  const int n = plan.length;
  double *cosines = malloc((size_t)n * sizeof *cosines), *sines = malloc((size_t)n * sizeof *sines);
  for (int i = 0; i < n; i++) {
    cosines[i] = cos(2.0 * M_PI * i / n);
    sines[i] = sin(2.0 * M_PI * i / n);
  }
  for (int i = 0; i < n && !plan.forward; i++) plan.samples[i] = 0.0;
  for (int k = 0; k <= n / 2; k++) {
    if (plan.forward) plan.bins[k][0] = plan.bins[k][1] = 0.0;
    const double twice = k == 0 || 2 * k == n ? 1.0 : 2.0; /* for the bin's mirror image */
    for (int i = 0; i < n; i++) {
      const int turn = (int)((long long)i * k % n);
      if (plan.forward) {
        plan.bins[k][0] += plan.samples[i] * cosines[turn];
        plan.bins[k][1] -= plan.samples[i] * sines[turn];
      } else {
        plan.samples[i] += twice * (plan.bins[k][0] * cosines[turn] - plan.bins[k][1] * sines[turn]);
      }
    }
  }
  free(cosines);
  free(sines);
}

#endif /* FFTW3_H */

/* The generated real FFTs, inverse and forward, against FFTW in double precision. Prints their relative errors. */
#include <fftw3.h>
#include <math.h>

#include "check.h"
#include "vocosc_fft.h"

enum { ROUNDS = 5, BUFFER = 2 * FFT_LENGTH + 2 * BINS_PADDED + 2 * PANEL };

static const double bound = 2.5e-7;

static void test_inverse(void **state) {
  (void)state;
  static float spectrum[BUFFER], work[BUFFER];
  static double exact[N_FFT];
  fftw_complex *bins = fftw_alloc_complex(BINS);
  fftw_plan plan = fftw_plan_dft_c2r_1d(N_FFT, bins, exact, FFTW_ESTIMATE);
  uint64_t seed = 1;
  double worst = 0.0;
  for (int round = 0; round < ROUNDS; round++) {
    for (int k = 0; k < BINS; k++) {
      /* Random, and at last a single bin: a wave that shows any slip of a twiddle. */
      const float scale = round < ROUNDS - 1 || k == BINS / 2 ? 1.0f : 0.0f;
      spectrum[k] = scale * next_float(&seed, -1.0f, 1.0f);
      spectrum[BINS_PADDED + k] = scale * next_float(&seed, -1.0f, 1.0f);
      bins[k][0] = (double)spectrum[k];
      bins[k][1] = (double)spectrum[BINS_PADDED + k];
    }
    bins[0][1] = 0.0; /* the imaginary parts that count as zero: ours are left as they are */
    if (N_FFT % 2 == 0) bins[BINS - 1][1] = 0.0;
    fftw_execute(plan);
    inverse_real_fft(spectrum, work);
    const float *samples = FFT_PASSES % 2 == 1 ? spectrum : work;
    double error = 0.0, energy = 0.0;
    for (int i = 0; i < N_FFT; i++) {
      error += (samples[i] - exact[i]) * (samples[i] - exact[i]);
      energy += exact[i] * exact[i];
    }
    worst = fmax(worst, sqrt(error / energy));
  }
  printf("error inverse %.3g\n", worst);
  check(worst <= bound, "n_fft %d: relative error %g", N_FFT, worst);
  fftw_destroy_plan(plan);
  fftw_free(bins);
}

static void test_forward(void **state) {
  (void)state;
  static float samples[N_FFT], first[BUFFER], second[BUFFER];
  static double windowed[N_FFT];
  fftw_complex *bins = fftw_alloc_complex(BINS);
  fftw_plan plan = fftw_plan_dft_r2c_1d(N_FFT, windowed, bins, FFTW_ESTIMATE);
  uint64_t seed = 2;
  double worst = 0.0;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < N_FFT; i++) {
      samples[i] = round < ROUNDS - 1 || i == N_FFT / 3 ? next_float(&seed, 0.5f, 1.0f) : 0.0f; /* at last a click */
      windowed[i] = (double)samples[i] * (0.5 - 0.5 * cos(2.0 * M_PI * i / N_FFT));
    }
    fftw_execute(plan);
    const float *magnitudes = forward_real_fft(samples, first, second);
    double error = 0.0, energy = 0.0;
    for (int k = 0; k < BINS; k++) {
      const double power = bins[k][0] * bins[k][0] + bins[k][1] * bins[k][1] + 1e-6;
      error += (magnitudes[k] - sqrt(power)) * (magnitudes[k] - sqrt(power));
      energy += power;
    }
    worst = fmax(worst, sqrt(error / energy));
  }
  printf("error forward %.3g\n", worst);
  check(worst <= bound, "n_fft %d: relative error %g", N_FFT, worst);
  fftw_destroy_plan(plan);
  fftw_free(bins);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_inverse), cmocka_unit_test(test_forward)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

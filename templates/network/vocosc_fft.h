//% from "network/fft_steps.h" import column, constants, from_halves, twiddles with context
/*
 * The inverse and the forward real FFT of ${fft.length} samples: ${fft.passes | length} passes of a complex FFT of ${fft.complex_length}
 * (${fft.passes | map(attribute="radix") | join(" x ")}), from one buffer to the other and back, then (forward) or before (inverse)
 * the step between complex and real. Complex buffers are [2][FFT_LENGTH]: real parts, then imaginary parts.
 * Planned by compiler/fft.py, which names the source. Loops have constant bounds; there are no branches on data.
 */
#ifndef VOCOSC_FFT_H
#define VOCOSC_FFT_H

#include "vocosc_model.h"
#include "vocosc_vector.h"

enum { FFT_LENGTH = ${fft.complex_length}, FFT_PASSES = ${fft.passes | length} };
//% macro one_pass(direction, sign, number, step)
//% set last = direction == "inverse" and number == fft.passes | length
/* Pass ${number}, radix ${step.radix}: groups ${step.groups}, columns ${step.columns}. */
static void ${direction}_pass_${number}(const float *restrict x, float *restrict y) {
//% if step.groups == 1
  for (int column = 0; column < ${step.columns}; column++) {
    const float *in = x + column;
    float *out = y + ${"2 * " if last and fft.is_even else ""}column;
${column(step, sign, last) | chomp}
  }
//% elif step.columns == 1
  for (int group = 0; group < ${step.groups}; group++) {
${twiddles(step, sign, "vocosc_") | chomp}
    const float *in = x + group;
    float *out = y + ${step.radix} * group;
${column(step, sign, last) | chomp}
  }
//% else
  for (int group = 0; group < ${step.groups}; group++) {
${twiddles(step, sign, "vocosc_") | chomp}
    for (int column = 0; column < ${step.columns}; column++) {
      const float *in = x + ${step.columns} * group + column;
      float *out = y + ${step.columns * step.radix} * group + column;
${column(step, sign, last) | chomp | indent(2, first=True)}
    }
  }
//% endif
}
//% endmacro

${constants() | chomp}
//% for step in fft.passes

${one_pass("inverse", "", loop.index, step) | chomp}
//% endfor

/*
 * From a spectrum [2][BINS_PADDED] (real parts, imaginary parts) to samples, without the factor 1 / ${fft.length}, which is in the
 * synthesis window. The imaginary part of bin 0${" and of the last bin" if fft.is_even else ""} counts as zero. Both arguments are
 * overwritten; ${"spectrum" if fft.passes | length is odd else "work"} holds the samples then.
 */
static void inverse_real_fft(float *restrict spectrum, float *restrict work) {
  const float *re = spectrum;
  const float *im = spectrum + BINS_PADDED;
//% if fft.is_even
  work[0] = re[0] + re[FFT_LENGTH];
  work[FFT_LENGTH] = re[0] - re[FFT_LENGTH];
  for (int k = 1; k < FFT_LENGTH; k++) {
    const float low_r = re[k];
    const float high_r = re[FFT_LENGTH - k];
    const float low_i = im[k];
    const float high_i = im[FFT_LENGTH - k];
${from_halves("vocosc_") | chomp}
  }
//% else
  work[0] = re[0];
  work[FFT_LENGTH] = 0.0f;
  for (int k = 1; k < BINS; k++) {
    work[k] = re[k];
    work[FFT_LENGTH + k] = im[k];
    work[FFT_LENGTH - k] = re[k];
    work[2 * FFT_LENGTH - k] = -im[k];
  }
//% endif
//% for step in fft.passes
  inverse_pass_${loop.index}(${"work, spectrum" if loop.index is odd else "spectrum, work"});
//% endfor
}

//% if config.mel
//% for step in fft.passes

${one_pass("forward", "-", loop.index, step) | chomp}
//% endfor

//% if mel.power == 1
/* The magnitude that the model was trained on: a small term keeps its gradient finite, or denormal numbers away. */
static float magnitude_of(float re, float im) {
  return float_sqrt(fma_float(re, re, fma_float(im, im, POWER_FLOOR)));
}
//% else
/* The power that the model was trained on; a small term keeps denormal numbers away. */
static float magnitude_of(float re, float im) { return fma_float(re, re, fma_float(im, im, POWER_FLOOR)); }
//% endif

/*
 * From samples [N_FFT], which the analysis window multiplies, to ${"magnitudes sqrt(re^2 + im^2 + POWER_FLOOR)" if mel.power == 1 else "powers re^2 + im^2"} of BINS bins.
 * `spectrum` and `work` are two buffers of 2 * FFT_LENGTH and of BINS at least. Returns the one that holds the magnitudes.
 */
static const float *forward_real_fft(const float *samples, float *restrict spectrum, float *restrict work) {
  for (int i = 0; i < FFT_LENGTH; i++) {
//% if fft.is_even
    spectrum[i] = samples[2 * i] * vocosc_analysis_window[2 * i];
    spectrum[FFT_LENGTH + i] = samples[2 * i + 1] * vocosc_analysis_window[2 * i + 1];
//% else
    spectrum[i] = samples[i] * vocosc_analysis_window[i];
    spectrum[FFT_LENGTH + i] = 0.0f;
//% endif
  }
//% for step in fft.passes
  forward_pass_${loop.index}(${"spectrum, work" if loop.index is odd else "work, spectrum"});
//% endfor
  const float *z = ${"work" if fft.passes | length is odd else "spectrum"};
  float *magnitudes = ${"spectrum" if fft.passes | length is odd else "work"};
//% if fft.is_even
  /* The window holds the factor 1/2 of the step from the halves' sum and difference to the bins. */
  magnitudes[0] = magnitude_of(2.0f * (z[0] + z[FFT_LENGTH]), 0.0f);
  magnitudes[FFT_LENGTH] = magnitude_of(2.0f * (z[0] - z[FFT_LENGTH]), 0.0f);
  for (int k = 1; k < FFT_LENGTH; k++) {
    const float sum_r = z[k] + z[FFT_LENGTH - k];
    const float sum_i = z[FFT_LENGTH + k] - z[2 * FFT_LENGTH - k];
    const float difference_r = z[k] - z[FFT_LENGTH - k];
    const float difference_i = z[FFT_LENGTH + k] + z[2 * FFT_LENGTH - k];
    const float c = vocosc_half_cosines[k];
    const float s = vocosc_half_sines[k];
    const float re = fma_float(difference_i, c, fma_float(-difference_r, s, sum_r));
    const float im = fma_float(-difference_r, c, fma_float(-difference_i, s, sum_i));
    magnitudes[k] = magnitude_of(re, im);
  }
//% else
  for (int k = 0; k < BINS; k++) magnitudes[k] = magnitude_of(z[k], z[FFT_LENGTH + k]);
//% endif
  return magnitudes;
}
//% endif

#endif /* VOCOSC_FFT_H */

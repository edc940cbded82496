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

enum { FFT_LENGTH = ${fft.complex_length} };
//% macro butterfly(radix, sign)
//% if radix == 1
    const float y0r = x0r;
    const float y0i = x0i;
//% elif radix == 2
    const float y0r = x0r + x1r;
    const float y0i = x0i + x1i;
    const float y1r = x0r - x1r;
    const float y1i = x0i - x1i;
//% elif radix == 3
    const float sum_r = x1r + x2r;
    const float sum_i = x1i + x2i;
    const float turn_r = (x1r - x2r) * ${sign}SIN_120;
    const float turn_i = (x1i - x2i) * ${sign}SIN_120;
    const float mid_r = fma_float(sum_r, -0.5f, x0r);
    const float mid_i = fma_float(sum_i, -0.5f, x0i);
    const float y0r = x0r + sum_r;
    const float y0i = x0i + sum_i;
    const float y1r = mid_r - turn_i;
    const float y1i = mid_i + turn_r;
    const float y2r = mid_r + turn_i;
    const float y2i = mid_i - turn_r;
//% elif radix == 4
    const float even_r = x0r + x2r;
    const float even_i = x0i + x2i;
    const float even_turn_r = x0r - x2r;
    const float even_turn_i = x0i - x2i;
    const float odd_r = x1r + x3r;
    const float odd_i = x1i + x3i;
//% if sign == "-"
    const float odd_turn_r = x3r - x1r;
    const float odd_turn_i = x3i - x1i;
//% else
    const float odd_turn_r = x1r - x3r;
    const float odd_turn_i = x1i - x3i;
//% endif
    const float y0r = even_r + odd_r;
    const float y0i = even_i + odd_i;
    const float y1r = even_turn_r - odd_turn_i;
    const float y1i = even_turn_i + odd_turn_r;
    const float y2r = even_r - odd_r;
    const float y2i = even_i - odd_i;
    const float y3r = even_turn_r + odd_turn_i;
    const float y3i = even_turn_i - odd_turn_r;
//% elif radix == 5
    const float near_r = x1r + x4r;
    const float near_i = x1i + x4i;
    const float far_r = x2r + x3r;
    const float far_i = x2i + x3i;
    const float near_turn_r = x1r - x4r;
    const float near_turn_i = x1i - x4i;
    const float far_turn_r = x2r - x3r;
    const float far_turn_i = x2i - x3i;
    const float mid1_r = fma_float(near_r, COS_72, fma_float(far_r, COS_144, x0r));
    const float mid1_i = fma_float(near_i, COS_72, fma_float(far_i, COS_144, x0i));
    const float mid2_r = fma_float(near_r, COS_144, fma_float(far_r, COS_72, x0r));
    const float mid2_i = fma_float(near_i, COS_144, fma_float(far_i, COS_72, x0i));
    const float turn1_r = ${sign}fma_float(near_turn_r, SIN_72, far_turn_r * SIN_144);
    const float turn1_i = ${sign}fma_float(near_turn_i, SIN_72, far_turn_i * SIN_144);
    const float turn2_r = ${sign}fma_float(near_turn_r, SIN_144, far_turn_r * -SIN_72);
    const float turn2_i = ${sign}fma_float(near_turn_i, SIN_144, far_turn_i * -SIN_72);
    const float y0r = x0r + near_r + far_r;
    const float y0i = x0i + near_i + far_i;
    const float y1r = mid1_r - turn1_i;
    const float y1i = mid1_i + turn1_r;
    const float y2r = mid2_r - turn2_i;
    const float y2i = mid2_i + turn2_r;
    const float y3r = mid2_r + turn2_i;
    const float y3i = mid2_i - turn2_r;
    const float y4r = mid1_r + turn1_i;
    const float y4i = mid1_i - turn1_r;
//% endif
//% endmacro
//% macro twiddle(step, k)
${("%d + " % (step.twiddles + (k - 1) * step.groups)) if step.twiddles + k > 1 else ""}
//%- endmacro
//% macro twiddles(step, sign)
//% for k in range(1, step.radix)
    const float w${k}r = vocosc_twiddle_cosines[${twiddle(step, k)}group];
    const float w${k}i = ${sign}vocosc_twiddle_sines[${twiddle(step, k)}group];
//% endfor
//% endmacro
//% macro column(step, sign, last)
//% for j in range(step.radix)
    const float x${j}r = in[${step.columns * step.groups * j}];
    const float x${j}i = in[FFT_LENGTH${(" + %d" % (step.columns * step.groups * j)) if j else ""}];
//% endfor
${butterfly(step.radix, sign) | chomp}
//% for k in range(step.radix)
//% if step.groups > 1 and k > 0
//% set re = "fma_float(y%dr, w%dr, -(y%di * w%di))" | format(k, k, k, k)
//% set im = "fma_float(y%dr, w%di, y%di * w%dr)" | format(k, k, k, k)
//% else
//% set re = "y%dr" | format(k)
//% set im = "y%di" | format(k)
//% endif
//% if last and fft.is_even
    out[${2 * step.columns * k}] = ${re};
    out[${2 * step.columns * k + 1}] = ${im};
//% elif last
    out[${step.columns * k}] = ${re};
    (void)${im}; /* zero: the samples are real */
//% else
    out[${step.columns * k}] = ${re};
    out[FFT_LENGTH${(" + %d" % (step.columns * k)) if k else ""}] = ${im};
//% endif
//% endfor
//% endmacro
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
${twiddles(step, sign) | chomp}
    const float *in = x + group;
    float *out = y + ${step.radix} * group;
${column(step, sign, last) | chomp}
  }
//% else
  for (int group = 0; group < ${step.groups}; group++) {
${twiddles(step, sign) | chomp}
    for (int column = 0; column < ${step.columns}; column++) {
      const float *in = x + ${step.columns} * group + column;
      float *out = y + ${step.columns * step.radix} * group + column;
${column(step, sign, last) | chomp | indent(2, first=True)}
    }
  }
//% endif
}
//% endmacro

#define SIN_120 ${0.8660254037844386 | float32}
#define COS_72 ${0.30901699437494745 | float32}
#define COS_144 (${(-0.8090169943749475) | float32})
#define SIN_72 ${0.9510565162951535 | float32}
#define SIN_144 ${0.5877852522924731 | float32}
//% for step in fft.passes

${one_pass("inverse", "", loop.index, step) | chomp}
//% endfor

/*
 * From a spectrum [2][BINS_PADDED] (real parts, imaginary parts) to samples, without the factor 1 / ${fft.length}, which is in the
 * synthesis window. The imaginary part of bin 0${" and of the last bin" if fft.is_even else ""} counts as zero. Both arguments are
 * overwritten; one of them, inverse_real_fft_result, holds the samples then.
 */
static void inverse_real_fft(float *restrict spectrum, float *restrict work) {
  const float *re = spectrum;
  const float *im = spectrum + BINS_PADDED;
//% if fft.is_even
  work[0] = re[0] + re[FFT_LENGTH];
  work[FFT_LENGTH] = re[0] - re[FFT_LENGTH];
  for (int k = 1; k < FFT_LENGTH; k++) {
    const float sum_r = re[k] + re[FFT_LENGTH - k];
    const float sum_i = im[k] - im[FFT_LENGTH - k];
    const float difference_r = re[k] - re[FFT_LENGTH - k];
    const float difference_i = im[k] + im[FFT_LENGTH - k];
    const float c = vocosc_half_cosines[k];
    const float s = vocosc_half_sines[k];
    work[k] = fma_float(-difference_i, c, fma_float(-difference_r, s, sum_r));
    work[FFT_LENGTH + k] = fma_float(difference_r, c, fma_float(-difference_i, s, sum_i));
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

static inline const float *inverse_real_fft_result(const float *spectrum, const float *work) {
//% if fft.passes | length is odd
  (void)work;
  return spectrum;
//% else
  (void)spectrum;
  return work;
//% endif
}
//% for step in fft.passes

${one_pass("forward", "-", loop.index, step) | chomp}
//% endfor

/* The magnitude that the model was trained on: the small term keeps its gradient finite. */
static float magnitude_of(float re, float im) { return __builtin_sqrtf(fma_float(re, re, fma_float(im, im, 1e-6f))); }

/*
 * From samples [N_FFT], which the analysis window multiplies, to magnitudes sqrt(re^2 + im^2 + 1e-6) of BINS bins.
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

#endif /* VOCOSC_FFT_H */

/*
 * The lines that the CPU's inverse FFT (vocosc_fft.h) and the GPU's (cuda/vocosc_cuda.cu) share: a butterfly of a Stockham
 * pass from `in` to `out`, complex buffers [2][FFT_LENGTH], and the step from a real signal's spectrum (bin k
 * and its mirror image, low and high) to the complex one of half its length. `tables` is the prefix of the tables' names.
 */
//% macro constants()
#define SIN_120 ${0.8660254037844386 | float32}
#define COS_72 ${0.30901699437494745 | float32}
#define COS_144 (${(-0.8090169943749475) | float32})
#define SIN_72 ${0.9510565162951535 | float32}
#define SIN_144 ${0.5877852522924731 | float32}
//% endmacro
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
//% macro twiddles(step, sign, tables)
//% for k in range(1, step.radix)
    const float w${k}r = ${tables}twiddle_cosines[${twiddle(step, k)}group];
    const float w${k}i = ${sign}${tables}twiddle_sines[${twiddle(step, k)}group];
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
//% macro from_halves(tables)
    const float sum_r = low_r + high_r;
    const float sum_i = low_i - high_i;
    const float difference_r = low_r - high_r;
    const float difference_i = low_i + high_i;
    const float c = ${tables}half_cosines[k];
    const float s = ${tables}half_sines[k];
    work[k] = fma_float(-difference_i, c, fma_float(-difference_r, s, sum_r));
    work[FFT_LENGTH + k] = fma_float(difference_r, c, fma_float(-difference_i, s, sum_i));
//% endmacro

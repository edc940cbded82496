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
//% macro both(text)
    const float ${text | replace("@", "r")};
    const float ${text | replace("@", "i")};
//%- endmacro
//% macro turned(k, mid, turn, sign)
    const float y${k}r = ${mid}_r ${"-" if sign == "+" else "+"} ${turn}_i;
    const float y${k}i = ${mid}_i ${sign} ${turn}_r;
//%- endmacro
//% macro butterfly(radix, sign)
//% if radix == 1
${both("y0@ = x0@")}
//% elif radix == 2
${both("y0@ = x0@ + x1@")}
${both("y1@ = x0@ - x1@")}
//% elif radix == 3
${both("sum_@ = x1@ + x2@")}
${both("turn_@ = (x1@ - x2@) * " ~ sign ~ "SIN_120")}
${both("mid_@ = fma_float(sum_@, -0.5f, x0@)")}
${both("y0@ = x0@ + sum_@")}
${turned(1, "mid", "turn", "+")}
${turned(2, "mid", "turn", "-")}
//% elif radix == 4
${both("even_@ = x0@ + x2@")}
${both("even_turn_@ = x0@ - x2@")}
${both("odd_@ = x1@ + x3@")}
${both("odd_turn_@ = " ~ ("x3@ - x1@" if sign else "x1@ - x3@"))}
${both("y0@ = even_@ + odd_@")}
${turned(1, "even_turn", "odd_turn", "+")}
${both("y2@ = even_@ - odd_@")}
${turned(3, "even_turn", "odd_turn", "-")}
//% elif radix == 5
${both("near_@ = x1@ + x4@")}
${both("far_@ = x2@ + x3@")}
${both("near_turn_@ = x1@ - x4@")}
${both("far_turn_@ = x2@ - x3@")}
${both("mid1_@ = fma_float(near_@, COS_72, fma_float(far_@, COS_144, x0@))")}
${both("mid2_@ = fma_float(near_@, COS_144, fma_float(far_@, COS_72, x0@))")}
${both("turn1_@ = " ~ sign ~ "fma_float(near_turn_@, SIN_72, far_turn_@ * SIN_144)")}
${both("turn2_@ = " ~ sign ~ "fma_float(near_turn_@, SIN_144, far_turn_@ * -SIN_72)")}
${both("y0@ = x0@ + near_@ + far_@")}
${turned(1, "mid1", "turn1", "+")}
${turned(2, "mid2", "turn2", "+")}
${turned(3, "mid2", "turn2", "-")}
${turned(4, "mid1", "turn1", "-")}
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

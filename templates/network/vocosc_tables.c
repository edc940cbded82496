/* Small tables: windows, twiddle factors, the mel filterbank. */
#include "vocosc_model.h"
//% macro floats(name, values, text)

/* ${text} */
const float vocosc_${name}[${values | table_length}] = {
${values | c_numbers}
};
//% endmacro
//% macro integers(name, values, text)

/* ${text} */
const int vocosc_${name}[${values | table_length}] = {
${values | c_numbers}
};
//% endmacro
${floats("synthesis_window", synthesis_window, "The periodic Hann window " ~ ("times n_fft, which dividing by the envelope makes one over it" if plan.is_divided else "over n_fft") ~ ", for the inverse FFT: [n_fft].")}
//% if plan.is_divided
${floats("envelope", envelope, "What the overlap-add is divided by where no frame is missing, the sum of the squared windows: [hop].")}
//% endif
//% if config.mel
${floats("analysis_window", analysis_window, "The periodic Hann window" ~ (", half of it (see vocosc_fft.h)" if plan.fft.is_even else "") ~ ", for the forward FFT: [n_fft].")}
//% endif
${floats("twiddle_cosines", plan.fft.cosines, "cos(2 pi p k / (radix groups)) of each FFT pass: [pass][k = 1 .. radix - 1][p < groups].")}
${floats("twiddle_sines", plan.fft.sines, "The sines to these cosines.")}
${floats("half_cosines", plan.fft.half_cosines, "cos(2 pi k / n_fft), for the step between the half-length complex FFT and the real one: [n_fft / 2].")}
${floats("half_sines", plan.fft.half_sines, "The sines to these cosines.")}
//% if config.mel
${integers("mel_first_bin", filterbank.first_bins, "The first FFT bin of each mel filter: [mels].")}
${integers("mel_first_weight", filterbank.starts, "Where each filter's weights start, and where the last one's end: [mels + 1].")}
${floats("mel_weights", filterbank.weights, "The mel filters (" ~ ("HTK" if mel.scale == "htk" else "Slaney") ~ "'s scale, " ~ ("Slaney's norm" if mel.norm == "slaney" else "no norm") ~ ") without their zeros, one after the other.")}
//% endif
${floats("last_panel_mask", last_panel_mask, "1 for the channels of the last panel, 0 for its padding: [16].")}
//% if options.bit_exact
${floats("golden_mel", golden_mel, "The frame of log-mel that the self-test decodes: [mels].")}
//% endif
//% if not options.baked

/* SHA-256 of the sizes and layouts that the code was compiled for: the weights must bear it. */
const unsigned char vocosc_architecture[32] = {
${architecture | c_numbers}
};
//% endif
//% if options.check or not options.baked

/* The CRC-32 (IEEE 802.3) of each byte, and of each with 1, 2 and 3 zeros behind it. */
const uint32_t vocosc_crc32_tables[4 * 256] = {
${crc32_tables | c_numbers}
};
//% endif

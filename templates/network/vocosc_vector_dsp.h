/* Cortex-M with an FPU and the DSP extension: one lane of float, whole panels of products. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_DSP_H
#define VOCOSC_VECTOR_DSP_H

#if !defined(__ARM_FEATURE_DSP) || !defined(__ARM_FEATURE_FMA)
#error "this target is for Cortex-M with DSP and FPU: say so, such as by -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
#endif

#include "vocosc_products_fpu.h"
#include "vocosc_vector_fpu.h"
//% if "w8" in formats | map(attribute="name")
#include "vocosc_products_dsp.h"

#define W8_SIDE_BY_SIDE 4 /* inputs of a row before those of the next row */
//% endif

#endif /* VOCOSC_VECTOR_DSP_H */

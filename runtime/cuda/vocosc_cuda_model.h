/* The kernels of this model: their launches, and where their code and their weights are. Private to the object. */
#ifndef VOCOSC_CUDA_MODEL_H
#define VOCOSC_CUDA_MODEL_H

#include <stdint.h>

#define VOCOSC_CUDA_IMAGES ${images | length}

/* A step of a call: a kernel's launch or, where `block` is 0, a library's work. */
struct vocosc_cuda_step {
  char kernel[112];
  uint32_t grid[3];
  uint32_t block;
  uint32_t shared_bytes; /* beside the kernel's own arrays */
  uint32_t overlaps_previous; /* may start before the one before it has finished, from sm_90 on */
//% if device.needs_libraries

  /* A product, if it has inputs, or the inverse transforms: floats in scratch, weights in bytes; see compiler/cuda.py. */
  uint32_t inputs, outputs;
  uint64_t x, x_stride, weights, y, y_stride;
//% endif
};

/* Code for one architecture (10 * major + minor), at an offset in vocosc_cuda_images; PTX ends in a NUL. */
struct vocosc_cuda_image {
  uint32_t architecture;
  uint32_t is_ptx;
  int32_t least_driver; /* that takes it: 1000 * major + 10 * minor, of CUDA */
  uint64_t offset;
  uint64_t bytes;
};

#pragma GCC visibility push(hidden)
/* The steps of each way to decode, of which vocosc_cuda.c tells, and of a flush. */
//% for name, steps in device.ways.items()
extern const struct vocosc_cuda_step vocosc_cuda_${name}[${steps | length}];
//% endfor
extern const struct vocosc_cuda_image vocosc_cuda_image_table[${images | length}];
extern const unsigned char vocosc_cuda_images[${images_bytes}];
extern const unsigned char vocosc_cuda_weights[${device.weight_bytes}];
#pragma GCC visibility pop

#endif /* VOCOSC_CUDA_MODEL_H */

/* A made-up model for the GPU: four steps, of which the first has nothing before it in the graph; four images. */
#ifndef VOCOSC_CUDA_MODEL_H
#define VOCOSC_CUDA_MODEL_H

#include <stdint.h>

struct vocosc_cuda_launch {
  char kernel[112];
  uint32_t grid[3];
  uint32_t block;
  uint32_t shared_bytes;
  uint32_t overlaps_previous;
};

static const struct vocosc_cuda_launch vocosc_cuda_launches[VOCOSC_CUDA_LAUNCHES] = {
    {"vocosc_first", {8, 1, 1}, 128, 0, 1}, /* the overlap of these two would be wrong, and is not asked for */
    {"vocosc_second", {16, 2, 1}, 256, 1024, 1},
    {"vocosc_third", {132, 1, 1}, 256, 200000, 1},
    {"vocosc_last", {4, 3, 2}, 64, 0, 0},
};
static const struct vocosc_cuda_launch vocosc_cuda_single_launch = {"vocosc_single", {100, 1, 1}, 512, 2048, 0};
static const struct vocosc_cuda_launch vocosc_cuda_flush_launch = {"vocosc_flush", {3, 1, 1}, 32, 0, 0};

struct vocosc_cuda_image {
  uint32_t architecture;
  uint32_t is_ptx;
  uint64_t offset;
  uint64_t bytes;
};

#define VOCOSC_CUDA_IMAGES 5
static const struct vocosc_cuda_image vocosc_cuda_image_table[VOCOSC_CUDA_IMAGES] = {
    {80, 0, 0, 64}, {89, 0, 64, 64}, {90, 0, 128, 64}, {80, 1, 192, 64}, {90, 1, 256, 64},
};
static const unsigned char vocosc_cuda_images[320] = "machine code 80................................................\0"
                                                     "machine code 89................................................\0"
                                                     "machine code 90................................................\0"
                                                     "PTX 80.........................................................\0"
                                                     "PTX 90.........................................................";

static const unsigned char vocosc_cuda_weights[VOCOSC_CUDA_WEIGHT_BYTES] = {1, 2, 3,
                                                                            [VOCOSC_CUDA_WEIGHT_BYTES - 1] = 4};

#endif /* VOCOSC_CUDA_MODEL_H */

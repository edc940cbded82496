/* ---- sizes of a made-up GPU build, whose kernels tests/c/test_cuda.c stands in for ------------------------------ */

#define VOCOSC_CUDA_BATCH 3
#define VOCOSC_CUDA_STATE_BYTES ((VOCOSC_STATE_BYTES + 255) / 256 * 256)
#define VOCOSC_CUDA_SCRATCH_BYTES 1024
#define VOCOSC_CUDA_WEIGHT_BYTES 512
#define VOCOSC_CUDA_LAUNCHES 4
#define VOCOSC_CUDA_LIBRARY_STEPS 0
#define VOCOSC_CUDA_ARCHITECTURES_TEXT "80,89,90"

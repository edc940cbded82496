/* ---- sizes of this model and build on a GPU -------------------------------------------------------------------- */

#define VOCOSC_CUDA_BATCH ${device.batch} /* streams of a call, at most */
#define VOCOSC_CUDA_STATE_BYTES ${device.state_bytes} /* of device memory, each stream */
#define VOCOSC_CUDA_SCRATCH_BYTES ${device.scratch_bytes} /* of device memory, each call under way */
#define VOCOSC_CUDA_WEIGHT_BYTES ${device.weight_bytes} /* of device memory, shared by all streams */
#define VOCOSC_CUDA_LAUNCHES ${device.launches | length} /* kernels of a call */
#define VOCOSC_CUDA_LIBRARY_STEPS ${device.library_steps | length} /* of a call by cuBLAS and cuFFT; 0: not built in */
#define VOCOSC_CUDA_ARCHITECTURES_TEXT "${options.gpus | join(",")}" /* later ones take PTX */

/*
 * With --link libs the products can be cuBLAS's and the inverse transforms cuFFT's, with --gpu-tune tensor the tensor
 * cores'; these kernels stand before and behind them. Most have one row per thread block. A product adds to its output,
 * where the kernel before it has left the bias.
 */
#ifndef VOCOSC_CUDA_LIBRARY_STEPS_CUH
#define VOCOSC_CUDA_LIBRARY_STEPS_CUH

#include "vocosc_cuda_steps.cuh"
#include "vocosc_cuda_synthesis.cuh"
//% if device.tuning.tensor
#include "vocosc_cuda_tensor.cuh"
//% endif

enum { LIBRARY_THREADS = ${device.library_threads} };

static bool has_row(const device_call &call) { return block_index() < call.count * call.frames; }
static float *row_of(const device_memory &memory, size_t area, int stride) {
  return scratch(memory, area) + (size_t)block_index() * stride;
}
static void fill_row(float *row, const float *values, int count) {
  for (int i = thread_index(); i < count; i += LIBRARY_THREADS) row[i] = values[i];
}

/* If there is a limit, as integers. */
static void norm_row(const device_memory &memory, size_t area, int limit = 0) {
  SHARED_FLOATS(normalised, ROWS_FLOATS);
  normalise(chain_block<LIBRARY_THREADS>{memory, call_of(memory)}, row_of(memory, area, DIM_STRIDE), normalised, 1);
  barrier();
//% if "integers" in device.scratch | map(attribute="name")
  if (limit > 0) return quantise_row<DIM>(memory, normalised, limit);
//% else
  (void)limit;
//% endif
  float *row = row_of(memory, SCRATCH_NORMALISED, DIM_STRIDE);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) row[c] = normalised[c];
}
//% set convs = device.steps | selectattr("conv") | map(attribute="name") | list
//% for step in device.steps if step.products
//% set product = device.library_steps | selectattr("step", "equalto", "product_" ~ step.name) | first | default(none)
//% set bias = "table(memory, TABLE_%s_MATRIX)" % (step.name | upper)

//% if step.kernel == "embed"
/* What the embedding sees of each frame. */
KERNEL(LIBRARY_THREADS) vocosc_before_${step.name}(PARAMETER(first_parameter) first) {
  const device_memory &memory = memory_of(first);
  const device_call &call = call_of(first);
//% if not device.gathers_call
  if (block_index() == 0) leave_copy<LIBRARY_THREADS>(call);
//% endif
  if (!has_row(call)) return;
  const int job = block_index() / call.frames;
  const int frame = block_index() % call.frames;
  const float *history = slot(memory, call.jobs[job]) + SLOT_EMBED;
  const float *mels = (const float *)call.jobs[job].mel;
  float *row = row_of(memory, SCRATCH_WINDOWS, TAPS * MELS);
  for (int i = thread_index(); i < TAPS * MELS; i += LIBRARY_THREADS) {
    row[i] = clean(mel_at(mels, history, frame + i / MELS - LEFT, i % MELS));
  }
  fill_row(row_of(memory, SCRATCH_EMBEDDED, DIM_STRIDE), ${bias}, DIM);
}
//% else
KERNEL(LIBRARY_THREADS) vocosc_before_${step.name}(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
//% if step.kernel == "expand"
  norm_row(memory, SCRATCH_CONVOLVED${", %d" | format(product.limit) if product and product.limit});
  fill_row(row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE), ${bias}, HIDDEN);
//% elif step.kernel == "contract"
  float *hidden = row_of(memory, SCRATCH_HIDDEN, HIDDEN_STRIDE);
  float *x = row_of(memory, SCRATCH_RESIDUAL, DIM_STRIDE);
  for (int c = thread_index(); c < HIDDEN; c += LIBRARY_THREADS) hidden[c] = vec_gelu(hidden[c]);
  for (int c = thread_index(); c < DIM; c += LIBRARY_THREADS) x[c] += ${bias}[c];
//% if product and product.limit
  barrier();
  quantise_row<HIDDEN>(memory, hidden, ${product.limit});
//% endif
//% else
  norm_row(memory, SCRATCH_RESIDUAL);
  fill_row(row_of(memory, SCRATCH_HEAD, 2 * BINS), ${bias}, 2 * BINS);
//% endif
}
//% endif
//% if device.tuning.tensor
KERNEL(TENSOR_THREADS) vocosc_${product.step}(PARAMETER(vocosc_cuda_memory) memory) {
//% if product.limit
  multiply_integers<${product.inputs}, ${product.outputs}, ${product.y_stride}>(memory, TABLE_${step.name | upper}_MATRIX, ${product.y});
//% else
  SHARED_FLOATS(arena, TENSOR_FLOATS);
  multiply_by_tensor<${product.inputs}, ${product.outputs}, ${product.x_stride}, ${product.y_stride}>(memory, arena, ${product.x}, TABLE_${step.name | upper}_MATRIX, ${product.y});
//% endif
}
//% endif
//% if step.conv
KERNEL(start_shard::THREADS) vocosc_${step.conv.name}(PARAMETER(vocosc_cuda_memory) memory) {
  SHARED_FLOATS(window, START_WINDOW_FLOATS);
  const chain_block<start_shard::THREADS> part = {memory, call_of(memory)};
  convolve_rows(part, window, TABLE_${step.conv.name | upper}, SLOT_${step.conv.name | upper}, ${convs.index(step.name)}, [&](const pass &of, int row, int channel) {
    const float *x = scratch(memory, SCRATCH_RESIDUAL) + (of.first + row) * DIM_STRIDE + channel;
    return row < of.rows && channel < DIM ? *x : 0.0f;
  });
}
//% endif
//% endfor

//% set to, re, im = ("SPECTRUM, 2 * BINS_STRIDE", "bin", "BINS_STRIDE + bin") if device.tuning.tensor else ("COMPLEX, 2 * BINS", "2 * bin", "2 * bin + 1")
KERNEL(LIBRARY_THREADS) vocosc_spectrum(PARAMETER(vocosc_cuda_memory) memory) {
  if (!has_row(call_of(memory))) return;
  const float *head = row_of(memory, SCRATCH_HEAD, 2 * BINS);
  float *to = row_of(memory, SCRATCH_${to});
  for (int bin = thread_index(); bin < BINS; bin += LIBRARY_THREADS) {
    polar(head[bin], head[BINS + bin], to + ${re}, to + ${im});
//% if not device.tuning.tensor
    if (bin == 0 || 2 * bin == N_FFT) to[${im}] = 0.0f; /* the first bin has no imaginary part, nor has that in the middle */
//% endif
  }
}
//% if not device.tuning.tensor

KERNEL(LIBRARY_THREADS) vocosc_overlap(PARAMETER(vocosc_cuda_memory) memory) {
  const device_call &call = call_of(memory);
  const int job = block_index();
  if (job >= call.count) return;
  const float *window = table(memory, TABLE_SYNTHESIS_WINDOW);
  const output to = output_of(call.jobs[job]);
  const int first = to.first_frame();
  const float *samples = scratch(memory, SCRATCH_SAMPLES) + (size_t)(job * call.frames + first) * N_FFT;
  if (first >= call.frames) return;
  overlap_add<LIBRARY_THREADS, N_FFT>(samples, first, call.frames - first, window, ${"table(memory, TABLE_ENVELOPE)" if plan.is_divided else "window"},
                                      slot(memory, call.jobs[job]) + SLOT_OVERLAP, to);
}
//% endif

#endif /* VOCOSC_CUDA_LIBRARY_STEPS_CUH */

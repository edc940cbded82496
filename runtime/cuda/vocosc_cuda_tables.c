/* The launches of a call, in order, and the kernels' images. */
#include "vocosc_cuda_model.h"

//% for name, steps in device.ways.items()
const struct vocosc_cuda_step vocosc_cuda_${name}[] = {
//% for step in steps
//% if step.block
  {.kernel = "vocosc_${step.step}", .grid = {${step.grid | join(", ")}}, .block = ${step.block}, .shared_bytes = ${step.shared_bytes}, .overlaps_previous = ${step.overlaps_previous | int}},
//% else
  {.inputs = ${step.inputs}, .outputs = ${step.outputs}, .x = ${step.x}, .x_stride = ${step.x_stride}, .weights = ${step.weights}, .y = ${step.y}, .y_stride = ${step.y_stride}},
//% endif
//% endfor
};
//% endfor

const struct vocosc_cuda_image vocosc_cuda_image_table[${images | length}] = {
//% for image in images
    {${image.architecture}, ${image.is_ptx | int}, ${image.least_driver}, ${image.offset}, ${image.code | length}}, /* ${image.text} */
//% endfor
};

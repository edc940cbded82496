/* The launches of a call, in order, and the kernels' images. */
#include "vocosc_cuda_model.h"

const struct vocosc_cuda_launch vocosc_cuda_launches[${device.launches | length}] = {
//% for launch in device.launches
    {"vocosc_${launch.step}", {${launch.grid | join(", ")}}, ${launch.block}, ${launch.shared_bytes}, ${launch.overlaps_previous | int}},
//% endfor
};

//% for name, launch in [("single", device.single), ("flush", device.flush)]
const struct vocosc_cuda_launch vocosc_cuda_${name}_launch = {
    "vocosc_${launch.step}", {${launch.grid | join(", ")}}, ${launch.block}, ${launch.shared_bytes}, 0,
};
//% endfor

//% if device.library_steps
const struct vocosc_cuda_library_step vocosc_cuda_library_steps[${device.library_steps | length}] = {
//% for step in device.library_steps
//% if step.block is defined
    {{"vocosc_${step.step}", {${step.grid | join(", ")}}, ${step.block}, ${step.shared_bytes}, 0}, 0, 0, 0, 0, 0, 0, 0},
//% else
    {{"", {0, 0, 0}, 0, 0, 0}, ${step.inputs}, ${step.outputs}, ${step.x}, ${step.x_stride}, ${step.weights}, ${step.y}, ${step.y_stride}},
//% endif
//% endfor
};

//% endif
const struct vocosc_cuda_image vocosc_cuda_image_table[${images | length}] = {
//% for image in images
    {${image.architecture}, ${image.is_ptx | int}, ${image.offset}, ${image.code | length}}, /* ${image.text} */
//% endfor
};

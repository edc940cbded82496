/* The order of the blocks: where each one's rows begin in a history, and its tables. Included by the network, after block(). */

static void blocks(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
//% for i in range(config.num_layers)
  block(jobs, count, scratch, frames, team, ${i * plan.context * plan.dim_padded}, vocosc_block${i}_conv, vocosc_block${i}_expand,
        vocosc_block${i}_contract);
//% endfor
}

/* The order of the blocks: where each one's rows begin in a history, and its tables. Included by the network, after block(). */

static void blocks(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames, const vocosc_team *team,
                   const weights_file *weights) {
//% for i in range(config.num_layers)
  block(jobs, count, scratch, frames, team, ${i * plan.context * plan.dim_padded}, weights->block${i}_conv, weights->block${i}_expand,
        weights->block${i}_contract);
//% endfor
}

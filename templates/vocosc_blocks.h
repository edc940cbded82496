/* The order of the blocks: each one's history and tables. Included by the network, after block(). */

static void blocks(vocosc_stream *stream, vocosc_scratch *scratch, int frames, const vocosc_team *team) {
  float *history = stream->history;
//% for i in range(config.num_layers)
  block(scratch, history + ${i * plan.context * plan.dim_padded}, frames, team, vocosc_block${i}_conv, vocosc_block${i}_expand, vocosc_block${i}_contract);
//% endfor
}

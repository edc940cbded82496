// What tsc must accept, and what it must not.
import { hasRelaxedSimd, info, load, Model, Stream } from "./tiny.js";

const model: Model = await load({ wasm: new URL("tiny.wasm", "file:///"), weights: new Uint8Array(4) });
const stream: Stream = model.stream();
const audio: Float32Array = stream.decode(new Float32Array(2 * info.mels));
const rest: number = stream.flush().length + stream.mel(audio).length + stream.melFlush().length + info.hop;
stream.frames.set(audio.subarray(0, stream.analyse(stream.recorded.length)));
const same: boolean = model.golden().hash === model.golden().expected && hasRelaxedSimd();
const target: "wasm" | "wasm_relaxed" = new Model(model.module, model.weights).target;
const samples: Float32Array = stream.copy().samples.subarray(0, stream.run(1) + stream.runFlush() + stream.analyseFlush());
stream.reset();
stream.free();
export { rest, same, samples, target };

// @ts-expect-error an array that is not of floats
stream.decode([1, 2, 3]);
// @ts-expect-error a constant
info.hop = 1;
// @ts-expect-error a stream comes from a model
new Stream();
// @ts-expect-error what is not there
stream.encode(audio);

// The processor of NAME.js outside of a browser: node --expose-gc --min-semi-space-size=64 --max-semi-space-size=64 processor.mjs LOADER WASM WEIGHTS|- FOLDER CHUNK
import { readFileSync, writeFileSync } from "node:fs";

const [loader, wasm, weights, folder, chunk] = process.argv.slice(2);
let Processor;
globalThis.AudioWorkletProcessor = class {
  port = { postMessage: (message) => (this.answered = { ...message }) };
};
globalThis.registerProcessor = (name, found) => (Processor = found);
const { info } = await import(loader);

const module = new WebAssembly.Module(readFileSync(wasm));
const bytes = weights === "-" ? undefined : readFileSync(weights);
const made = (options) => new Processor({ processorOptions: { module, weights: bytes, chunk: Number(chunk), ...options } });
const floats = (name) => new Float32Array(new Uint8Array(readFileSync(folder + "/" + name)).buffer);

function quanta(processor, count, input) {
  const spoken = new Float32Array(count * 128);
  const inputs = [[new Float32Array(128)]];
  const outputs = [[new Float32Array(128)]];
  for (let i = 0; i < count; i++) {
    if (input !== undefined) inputs[0][0].set(input.subarray(i * 128, (i + 1) * 128));
    if (!processor.process(input === undefined ? [[]] : inputs, outputs)) throw new Error("it ended");
    spoken.set(outputs[0][0], i * 128);
  }
  return spoken;
}

const audio = floats("audio");
const count = Math.floor(audio.length / 128);
writeFileSync(folder + "/said", quanta(made({}), count, audio));

const reader = made({ from: "mel" });
const mel = floats("mel");
const middle = 3 * info.mels;
reader.port.onmessage({ data: mel.subarray(0, middle) });
reader.port.onmessage({ data: mel.subarray(middle) });
writeFileSync(folder + "/read", quanta(reader, Math.ceil((mel.length / info.mels + 2 * chunk) * info.hop / 128)));
reader.port.onmessage({ data: "figures" });
const figures = reader.answered;

// Once it is warm, nothing is left on the heap behind it: of several times, in one at least nothing of the compiler's, either.
const steady = made({});
const inputs = [[new Float32Array(128).fill(0.1)]];
const outputs = [[new Float32Array(128)]];
const calls = 1000;
let garbage = Infinity;
for (let time = 0; time < 8; time++) {
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < calls; i++) steady.process(inputs, outputs);
  garbage = Math.min(garbage, process.memoryUsage().heapUsed - before);
}
let refused = "nothing";
try {
  made({ chunk: info.maxFrames + 1 });
} catch (error) {
  refused = error.message;
}
console.log(JSON.stringify({ refused, figures, garbage, calls }));

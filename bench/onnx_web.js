/*
 * The streaming step by ONNX Runtime Web, one thread, through its C interface: fixed shapes, buffers bound once, all graph
 * optimisations. From a page or Node.js:
 *
 *   const step = await prepare(factory, wasm, onnx, shapes);    // shapes: [inputs, outputs], each {name: [dims]}
 *   step.run(); step.view("real");
 */
async function prepare(factory, wasm, onnx, [inputs, outputs]) {
  const runtime = await factory({ wasmBinary: wasm, locateFile: (name) => name, numThreads: 1 });
  const check = (code) => {
    if (code === 0) return;
    const at = runtime._malloc(8);
    runtime._OrtGetLastError(at, at + 4);
    throw new Error("ONNX Runtime: " + runtime.UTF8ToString(runtime.HEAP32[(at + 4) / 4]));
  };
  const handle = (value) => (value === 0 ? check(1) : value);
  const text = (string) => {
    const at = runtime._malloc(4 * string.length + 1);
    runtime.stringToUTF8(string, at, 4 * string.length + 1);
    return at;
  };
  const words = (values) => {
    const at = runtime._malloc(4 * values.length);
    runtime.HEAP32.set(values, at / 4);
    return at;
  };
  const addresses = {};
  const tensor = ([name, dims]) => {
    const count = dims.reduce((a, b) => a * b, 1);
    const at = runtime._malloc(4 * count + 64);
    runtime.HEAPF32.fill(0, at / 4, at / 4 + count);
    addresses[name] = [at, count];
    return handle(runtime._OrtCreateTensor(1 /* float */, at, 4 * count, words(dims), dims.length, 1 /* CPU */));
  };

  check(runtime._OrtInit(1, 3));
  const options = handle(runtime._OrtCreateSessionOptions(99, true, true, 0, false, 0, text("step"), 3, 0, 0));
  check(runtime._OrtAddSessionConfigEntry(options, text("session.set_denormal_as_zero"), text("1")));
  const model = runtime._malloc(onnx.byteLength);
  runtime.HEAPU8.set(new Uint8Array(onnx), model);
  const session = handle(await runtime._OrtCreateSession(model, onnx.byteLength, options));
  const run = handle(runtime._OrtCreateRunOptions(3, 0, false, 0));
  const given = Object.entries(inputs);
  const wanted = Object.entries(outputs);
  const arguments_ = [
    session,
    words(given.map(([name]) => text(name))),
    words(given.map(tensor)),
    given.length,
    words(wanted.map(([name]) => text(name))),
    wanted.length,
    words(wanted.map(tensor)),
    run,
  ];
  const view = (name) => runtime.HEAPF32.subarray(addresses[name][0] / 4, addresses[name][0] / 4 + addresses[name][1]);
  return {
    view,
    run() {
      const code = runtime._OrtRun(...arguments_);
      if (code !== 0) check(code); // a promise, too: the CPU's kernels never wait
    },
  };
}

/* Milliseconds of a run: the median of means of five, as on the page. */
async function time(step) {
  const mel = step.view("mel").map((_, i) => -5 + 3 * Math.sin(i));
  const means = [];
  for (let five = -2; five < 20; five++) {
    const start = performance.now();
    for (let i = 0; i < 5; i++) {
      step.view("mel").set(mel);
      step.run();
    }
    if (five >= 0) means.push((performance.now() - start) / 5);
    await new Promise((resolve) => setTimeout(resolve));
  }
  return means.sort((a, b) => a - b)[means.length >> 1];
}

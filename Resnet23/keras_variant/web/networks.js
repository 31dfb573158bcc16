// The network in two libraries. Each entry loads it: its image size S -> a function from S x S x 3 pixels from 0 to 255
// to the probabilities of the classes.

export const NETWORKS = { onnx: loadOnnx, tfjs: loadTfjs };

async function loadOnnx(size) {
  const ort = await import("./vendor/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1; // more need a server that isolates the page
  const session = await ort.InferenceSession.create("model.onnx");
  return async (pixels) => {
    const images = new ort.Tensor("float32", pixels, [1, size, size, 3]);
    const { probabilities } = await session.run({ images });
    return probabilities.data;
  };
}

// The builds for ES2017, as the older ones compile text while they load, which the page does not allow.
async function loadTfjs(size) {
  await loadScript("vendor/tf.es2017.min.js");
  await loadScript("vendor/tf-backend-wasm.es2017.min.js");
  tf.wasm.setWasmPaths("vendor/");
  await tf.setBackend("wasm"); // computes as exactly everywhere; WebGL has 16 bits on some phones
  const network = await tf.loadGraphModel("tfjs/model.json");
  return async (pixels) => {
    const images = tf.tensor(pixels, [1, size, size, 3]);
    const probabilities = network.predict(images);
    const found = await probabilities.data();
    tf.dispose([images, probabilities]);
    return found;
  };
}

function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${source} cannot be loaded`));
    document.head.append(script);
  });
}

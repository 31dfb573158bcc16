// A folder of TensorFlow.js as a filter, for keras_variant/exporting/tfjs.py: node node_classifier.cjs FOLDER
// reads, again and again, two integers N and S and N x S x S x 3 pixels, and writes an integer C and N x C
// probabilities; all of 32 bits, little-endian.
"use strict";

const fs = require("fs");
const path = require("path");

console.log = console.warn = () => {}; // the library's advice would get into the answers
const tf = require("@tensorflow/tfjs");
require("@tensorflow/tfjs-backend-wasm");

function readModel(folder) {
  const model = JSON.parse(fs.readFileSync(path.join(folder, "model.json"), "utf8"));
  const files = model.weightsManifest.flatMap((group) => group.paths);
  const bytes = Buffer.concat(files.map((file) => fs.readFileSync(path.join(folder, file))));
  return tf.io.fromMemory({
    modelTopology: model.modelTopology,
    format: model.format,
    signature: model.signature,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: new Uint8Array(bytes).buffer,
  });
}

// The next `count` bytes of standard input; null at its end.
function read(count) {
  const bytes = Buffer.alloc(count);
  for (let offset = 0; offset < count; ) {
    const found = fs.readSync(0, bytes, offset, count - offset, null);
    if (found === 0) return null;
    offset += found;
  }
  return bytes;
}

function write(bytes) {
  for (let offset = 0; offset < bytes.length; ) offset += fs.writeSync(1, bytes, offset);
}

async function main(folder) {
  await tf.setBackend("wasm");
  const network = await tf.loadGraphModel(readModel(folder));
  for (let header = read(8); header !== null; header = read(8)) {
    const shape = [header.readUInt32LE(0), header.readUInt32LE(4), header.readUInt32LE(4), 3];
    const bytes = read(4 * shape.reduce((product, side) => product * side));
    const pixels = tf.tensor(new Float32Array(new Uint8Array(bytes).buffer), shape);
    const probabilities = network.predict(pixels);
    const answer = Buffer.alloc(4);
    answer.writeUInt32LE(probabilities.shape[1]);
    write(answer);
    write(Buffer.from((await probabilities.data()).slice().buffer));
    tf.dispose([pixels, probabilities]);
  }
}

main(process.argv[2]).catch((error) => {
  console.error(String(error));
  process.exit(1);
});

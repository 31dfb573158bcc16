// Pillow's antialiased bicubic resizing, so that a page sees the same pixels as the training did.
//
// Each output pixel is a weighted mean of input pixels, first along the rows, then along the columns, rounded to whole
// levels after each of them. No value differs by more than one level of 255 from what Resnet23/images.py gives.

const SUPPORT = 2; // the cubic kernel reaches two pixels to each side

// An image {width, height, data: RGBA} -> its RGB as size x size x 3 numbers from 0 to 255, brought to the square by the
// rule crop, pad or stretch.
export function resize(image, size, rule) {
  const { rows, columns } = place(image.height, image.width, size, rule);
  const rgb = new Uint8ClampedArray(image.width * image.height * 3);
  for (let pixel = 0; pixel < image.width * image.height; pixel++) {
    for (let channel = 0; channel < 3; channel++) rgb[3 * pixel + channel] = image.data[4 * pixel + channel];
  }
  const wide = mix(rgb, image.height, { next: 3, line: 3 * image.width }, weights(image.width, size, columns));
  // What was mixed lies row by row, `size` pixels each; now along its columns, which puts columns first.
  const mixed = mix(wide, size, { next: 3 * size, line: 3 }, weights(image.height, size, rows));
  return transpose(mixed, size);
}

// Which part of the image goes where: `extent` pixels of a side from `start` on become `count` pixels from `offset` on.
function place(height, width, size, rule) {
  const whole = (side) => ({ start: 0, extent: side, offset: 0, count: size });
  if (rule === "stretch") return { rows: whole(height), columns: whole(width) };
  const shorter = Math.min(height, width);
  const longer = Math.max(height, width);
  const centre = (side) => ({ start: (side - shorter) / 2, extent: shorter, offset: 0, count: size });
  if (rule === "crop") return { rows: centre(height), columns: centre(width) };
  const fit = (side) => {
    const count = roundHalfToEven((side / longer) * size);
    return { start: 0, extent: side, offset: roundHalfToEven((size - count) / 2), count };
  };
  return { rows: fit(height), columns: fit(width) };
}

// For each of `size` output pixels the first of `length` input pixels that counts, and how much it and the next ones do.
function weights(length, size, { start, extent, offset, count }) {
  const scale = extent / count;
  const stretch = Math.max(scale, 1); // the kernel is wider where the image shrinks
  return Array.from({ length: size }, (_, output) => {
    if (output < offset || output >= offset + count) return { first: 0, shares: [] }; // the black bars
    const centre = start + (output - offset + 0.5) * scale;
    const first = Math.max(Math.floor(centre - SUPPORT * stretch + 0.5), 0);
    const last = Math.min(Math.floor(centre + SUPPORT * stretch + 0.5), length);
    const shares = Array.from({ length: last - first }, (_, k) => cubic((first + k + 0.5 - centre) / stretch));
    const sum = shares.reduce((total, share) => total + share, 0);
    return { first, shares: shares.map((share) => share / sum) };
  });
}

// Mixes the pixels of each of `lines` lines as the weights say; `next` and `line` are the distances in `rgb` from one
// pixel of a line to the next and from one line to the next.
function mix(rgb, lines, { next, line }, weights) {
  const mixed = new Uint8ClampedArray(lines * weights.length * 3);
  let target = 0;
  for (let number = 0; number < lines; number++) {
    for (const { first, shares } of weights) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) sum += shares[k] * rgb[number * line + (first + k) * next + channel];
        mixed[target++] = Math.floor(sum + 0.5);
      }
    }
  }
  return mixed;
}

function transpose(columns, size) {
  const rows = new Float32Array(columns.length);
  for (let x = 0; x < size; x++) {
    for (let y = 0; y < size; y++) {
      for (let channel = 0; channel < 3; channel++) {
        rows[3 * (y * size + x) + channel] = columns[3 * (x * size + y) + channel];
      }
    }
  }
  return rows;
}

// Keys' cubic convolution with a = -1/2: "Cubic convolution interpolation" (1981).
function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < SUPPORT ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

function roundHalfToEven(value) {
  const floor = Math.floor(value);
  const isHalf = value - floor === 0.5;
  return isHalf ? floor + (floor % 2) : Math.round(value);
}

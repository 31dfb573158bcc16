// The confusion matrix: drawn on a canvas that shows the part of it that is scrolled to. Without this script the page
// shows the figure; a table and a list of the largest confusions are there in any case.
(() => {
  const find = (id) => document.getElementById(id);
  const [root, view, space, canvas, status] = ["", "-view", "-space", "-canvas", "-status"].map((end) => find("matrix" + end));
  const { classes, families, cells } = JSON.parse(find("matrix-data").textContent);
  const pen = canvas.getContext("2d");
  const SMALLEST = 2, LARGEST = 60, STEP = 1.5; // pixels of a cell, and the factor of one zoom
  const HEIGHT = 0.78; // of the window, for a matrix that is to be seen whole; the style lets it be a little higher
  const LINE = 13; // pixels from one label to the next, at least
  const FONT = "12px system-ui, sans-serif";

  const counts = new Map(cells.map(([row, column, count]) => [row * classes.length + column, count]));
  const countOf = (row, column) => counts.get(row * classes.length + column) || 0;
  const supports = classes.map(() => 0);
  for (const [row, , count] of cells) supports[row] += count;
  const recalls = classes.map((_, row) => (supports[row] ? countOf(row, row) / supports[row] : Infinity));
  const mistakes = cells.filter(([row, column]) => row !== column).sort((one, two) => two[2] - one[2]);

  const byClass = classes.map((_, row) => row);
  const compareNames = (one, two) => (families[one] < families[two] ? -1 : Number(families[one] > families[two]));
  const orders = {
    class: byClass,
    recall: [...byClass].sort((one, two) => recalls[one] - recalls[two] || one - two),
    family: [...byClass].sort((one, two) => compareNames(one, two) || one - two),
  };

  let order = orders.class; // place -> class
  let cell = 0; // pixels
  let isFitted = true;
  let gutter = 0; // pixels for the names, on the left and on top
  let selected = null; // {row, column}: places, as are those of `hovered`
  let hovered = null;
  let mistake = -1; // the last one that N went to

  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const say = (place) => {
    const [row, column] = [order[place.row], order[place.column]];
    const count = countOf(row, column);
    const share = supports[row] ? ` (${percent(count / supports[row])} of ${classes[row]})` : "";
    const images = `${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}`;
    const verdict = row === column ? " (right)" : "";
    status.textContent = `true ${classes[row]} taken for ${classes[column]}${verdict}: ${images}${share}`;
  };

  // ------------------------------------------------------------------------------------------------- drawing

  const colorOf = (name) => {
    const digits = getComputedStyle(root).getPropertyValue(`--${name}`).trim().slice(1);
    return [0, 2, 4].map((start) => parseInt(digits.slice(start, start + 2), 16));
  };
  const mix = (back, front, share) => back.map((value, channel) => Math.round(value + share * (front[channel] - value)));
  const css = (color) => `rgb(${color.join()})`;
  const isBright = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 140; // ITU-R BT.601 luma
  const shorten = (text, width) => {
    if (pen.measureText(text).width <= width) return text;
    let end = text.length;
    while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > width) end -= 1;
    return text.slice(0, end) + "…";
  };

  const measure = () => {
    pen.font = FONT;
    const longest = Math.max(...classes.map((name) => pen.measureText(name).width));
    gutter = Math.ceil(Math.min(longest + 14, Math.max(70, view.clientWidth / 5)));
    const fitting = (Math.min(view.clientWidth, HEIGHT * window.innerHeight) - gutter) / classes.length;
    if (isFitted) cell = Math.min(LARGEST, Math.max(SMALLEST, fitting > 10 ? Math.floor(fitting) : fitting));
    space.style.width = `${gutter + cell * classes.length}px`;
    space.style.height = `${gutter + cell * classes.length}px`;
    const [width, height] = [Math.min(view.clientWidth, gutter + cell * classes.length), view.clientHeight];
    const density = window.devicePixelRatio || 1;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    pen.setTransform(density, 0, 0, density, 0, 0);
  };

  const drawCells = (colors, width, height) => {
    const [left, top] = [view.scrollLeft, view.scrollTop];
    const last = (size, offset) => Math.min(classes.length, Math.ceil((size - gutter + offset) / cell));
    const gap = cell > 8 ? 1 : 0;
    for (let row = Math.floor(top / cell); row < last(height, top); row += 1) {
      for (let column = Math.floor(left / cell); column < last(width, left); column += 1) {
        const count = countOf(order[row], order[column]);
        const isRight = row === column;
        if (!count || (isRight && find("matrix-mistakes").checked)) continue;
        // The root spreads small shares, which is what most mistakes are.
        const strength = 0.15 + 0.85 * Math.sqrt(count / supports[order[row]]);
        const color = mix(colors.background, isRight ? colors.accent : colors.bad, strength);
        const [x, y] = [gutter + column * cell - left, gutter + row * cell - top];
        pen.fillStyle = css(color);
        pen.fillRect(x, y, cell - gap, cell - gap);
        const text = count.toLocaleString("en");
        if (cell < 18 || pen.measureText(text).width > cell - 4) continue;
        pen.fillStyle = isBright(color) ? "#000000" : "#ffffff";
        pen.textAlign = "center";
        pen.fillText(text, x + (cell - gap) / 2, y + cell / 2);
      }
    }
  };

  const drawLines = (colors, width, height) => {
    pen.strokeStyle = css(colors.line);
    pen.lineWidth = 1;
    const isEdge = (place) => cell > 14 || (order === orders.family && families[order[place]] !== families[order[place - 1]]);
    for (let place = 0; place <= classes.length; place += 1) {
      if (place && place < classes.length && !isEdge(place)) continue;
      const [x, y] = [gutter + place * cell - view.scrollLeft - 0.5, gutter + place * cell - view.scrollTop - 0.5];
      pen.beginPath();
      pen.moveTo(x, gutter);
      pen.lineTo(x, Math.min(height, gutter + classes.length * cell - view.scrollTop));
      pen.moveTo(gutter, y);
      pen.lineTo(Math.min(width, gutter + classes.length * cell - view.scrollLeft), y);
      pen.stroke();
    }
  };

  const drawMark = (colors, place) => {
    const [x, y] = [gutter + place.column * cell - view.scrollLeft, gutter + place.row * cell - view.scrollTop];
    pen.strokeStyle = css(colors.ink);
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, y - 1, cell + 1, cell + 1);
  };

  // The names of rows, or with `isTop` of columns: every so many-th where they are close, and the marked one always.
  const drawNames = (colors, length, isTop, marked) => {
    const offset = isTop ? view.scrollLeft : view.scrollTop;
    const every = Math.ceil(LINE / cell);
    pen.textAlign = isTop ? "left" : "right";
    order.forEach((name, place) => {
      const middle = gutter + (place + 0.5) * cell - offset;
      const isNear = marked !== null && Math.abs(place - marked) * cell < LINE && place !== marked;
      if (middle < gutter || middle > length || isNear || (place % every && place !== marked)) return;
      pen.fillStyle = css(place === marked ? colors.ink : colors.muted);
      pen.save();
      pen.translate(isTop ? middle : gutter - 7, isTop ? gutter - 7 : middle);
      if (isTop) pen.rotate(-Math.PI / 2);
      pen.fillText(shorten(classes[name], gutter - 12), 0, 0);
      pen.restore();
    });
  };

  const draw = () => {
    const names = ["background", "ink", "muted", "line", "accent", "bad"];
    const colors = Object.fromEntries(names.map((name) => [name, colorOf(name)]));
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    pen.clearRect(0, 0, width, height);
    pen.font = FONT;
    pen.textBaseline = "middle";
    drawCells(colors, width, height);
    drawLines(colors, width, height);
    const place = hovered || selected;
    if (place) drawMark(colors, place);
    pen.fillStyle = css(colors.background);
    pen.fillRect(0, 0, width, gutter);
    pen.fillRect(0, 0, gutter, height);
    drawNames(colors, width, true, place && place.column);
    drawNames(colors, height, false, place && place.row);
  };
  const lay = () => (measure(), draw());

  // ----------------------------------------------------------------------------------------------- moving about

  const reveal = ({ row, column }) => {
    const scroll = (place, offset, size) => {
      if (place * cell < offset) return place * cell;
      return Math.max(offset, gutter + (place + 1) * cell - size);
    };
    view.scrollLeft = scroll(column, view.scrollLeft, view.clientWidth);
    view.scrollTop = scroll(row, view.scrollTop, view.clientHeight);
  };
  const select = (row, column) => {
    const clamp = (place) => Math.min(classes.length - 1, Math.max(0, place));
    selected = { row: clamp(row), column: clamp(column) };
    hovered = null;
    say(selected);
    reveal(selected);
    draw();
  };
  const selectClasses = (row, column) => select(order.indexOf(row), order.indexOf(column));
  const zoom = (factor) => {
    const before = cell;
    cell = Math.min(LARGEST, Math.max(SMALLEST, cell * factor));
    isFitted = false;
    const middle = (offset, size) => ((offset + (size - gutter) / 2) / before) * cell - (size - gutter) / 2;
    const [left, top] = [middle(view.scrollLeft, view.clientWidth), middle(view.scrollTop, view.clientHeight)];
    measure();
    [view.scrollLeft, view.scrollTop] = [left, top];
    if (selected) reveal(selected);
    lay(); // once more: the scroll bars may have come or gone
  };
  const fit = () => {
    isFitted = true;
    lay();
    lay();
  };
  const goToMistake = (step) => {
    if (!mistakes.length) return;
    mistake = mistake < 0 && step < 0 ? mistakes.length - 1 : (mistake + step + mistakes.length) % mistakes.length;
    selectClasses(mistakes[mistake][0], mistakes[mistake][1]);
  };
  const placeAt = (event) => {
    const box = view.getBoundingClientRect();
    const place = (position, edge, border, offset) => Math.floor((position - edge - border - gutter + offset) / cell);
    const column = place(event.clientX, box.left, view.clientLeft, view.scrollLeft);
    const row = place(event.clientY, box.top, view.clientTop, view.scrollTop);
    const isInside = event.clientX - box.left > gutter && event.clientY - box.top > gutter;
    return isInside && row < classes.length && column < classes.length ? { row, column } : null;
  };

  const keys = {
    ArrowUp: ({ row, column }) => select(row - 1, column),
    ArrowDown: ({ row, column }) => select(row + 1, column),
    ArrowLeft: ({ row, column }) => select(row, column - 1),
    ArrowRight: ({ row, column }) => select(row, column + 1),
    Home: ({ row }) => select(row, 0),
    End: ({ row }) => select(row, classes.length - 1),
    "+": () => zoom(STEP),
    "=": () => zoom(STEP),
    "-": () => zoom(1 / STEP),
    n: () => goToMistake(1),
    N: () => goToMistake(-1),
  };
  view.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (!selected && event.key.length > 1) select(0, 0);
    else keys[event.key](selected);
  });
  view.addEventListener("pointermove", (event) => {
    hovered = event.pointerType === "touch" ? null : placeAt(event);
    if (hovered) say(hovered);
    draw();
  });
  view.addEventListener("pointerleave", () => {
    hovered = null;
    if (selected) say(selected);
    draw();
  });
  view.addEventListener("click", (event) => {
    const place = placeAt(event);
    if (place) select(place.row, place.column);
  });
  view.addEventListener("scroll", draw);
  find("matrix-in").addEventListener("click", () => zoom(STEP));
  find("matrix-out").addEventListener("click", () => zoom(1 / STEP));
  find("matrix-fit").addEventListener("click", fit);
  find("matrix-mistakes").addEventListener("change", draw);
  find("matrix-order").addEventListener("change", (event) => {
    const kept = selected && [order[selected.row], order[selected.column]];
    order = orders[event.target.value];
    if (kept) selectClasses(...kept);
    draw();
  });
  for (const row of document.querySelectorAll("#confusions tr[data-cell]")) {
    const button = document.createElement("button");
    const [name, taken] = [row.cells[0].textContent, row.cells[1].textContent];
    button.type = "button";
    button.className = "show-cell";
    button.textContent = name;
    button.setAttribute("aria-label", `${name} taken for ${taken}: show in the matrix`);
    button.addEventListener("click", () => {
      selectClasses(...row.dataset.cell.split(",").map(Number));
      view.focus();
    });
    row.cells[0].replaceChildren(button);
  }

  root.hidden = false;
  document.querySelector(".without-matrix").classList.add("replaced");
  fit();
  new ResizeObserver(lay).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();

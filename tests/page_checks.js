// Checks that run inside a page. findFaults gives what is wrong as a list of sentences; see page_checks.py.

const describe = (element) => {
  const id = element.id ? `#${element.id}` : "";
  const classes = typeof element.className === "string" && element.className ? `.${element.className.split(" ")[0]}` : "";
  const text = (element.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
  return `<${element.tagName.toLowerCase()}${id}${classes}> “${text}”`;
};

const isVisible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

// ---------------------------------------------------------------------------------------------------- overflow

const isClipped = (element) => {
  for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement) {
    if (getComputedStyle(parent).overflowX !== "visible") return true;
  }
  return false;
};

const overflow = () => {
  const width = document.documentElement.clientWidth;
  const faults = [];
  if (document.documentElement.scrollWidth > width) {
    faults.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${width} px`);
  }
  for (const element of document.body.querySelectorAll("*")) {
    if (!isVisible(element) || isClipped(element)) continue;
    const box = element.getBoundingClientRect();
    if (box.width > 1 && (box.right > width + 1 || (box.left < -1 && box.right > 0))) {
      faults.push(`${describe(element)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)} px of ${width}`);
    }
  }
  return faults;
};

// ---------------------------------------------------------------------------------------------------- contrast

// Any CSS colour as [red, green, blue, alpha], the first three 0 to 255: drawn, because a browser may answer in any
// notation, such as color(srgb ...).
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d", { willReadFrequently: true });
const known = new Map();
const parse = (color) => {
  if (!known.has(color)) {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    known.set(color, [red, green, blue, alpha / 255]);
  }
  return known.get(color);
};

const over = (front, back) => back.map((value, channel) => front[3] * front[channel] + (1 - front[3]) * value);

// What is behind an element's text; null where a picture is, of which nothing is known.
const backdrop = (element) => {
  const layers = [];
  for (let parent = element; parent; parent = parent.parentElement) {
    const style = getComputedStyle(parent);
    if (style.backgroundImage !== "none") return null;
    const color = parse(style.backgroundColor);
    layers.push(color);
    if (color[3] === 1) break;
  }
  return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255]);
};

// Relative luminance and contrast as WCAG 2.2 defines them.
const luminance = (color) => {
  const [red, green, blue] = color.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

const ratio = (first, second) => {
  const [dark, light] = [luminance(first), luminance(second)].sort((left, right) => left - right);
  return (light + 0.05) / (dark + 0.05);
};

const hasOwnText = (element) =>
  [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());

const contrast = () => {
  const faults = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (!hasOwnText(element) || !isVisible(element) || element.closest("script, style, noscript, :disabled")) continue;
    const style = getComputedStyle(element);
    const isDrawn = element instanceof SVGElement;
    const back = backdrop(element);
    if (!back) continue;
    const found = ratio(over(parse(isDrawn ? style.fill : style.color), back), back);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight, 10) >= 700) ? 3 : 4.5;
    if (found < least) faults.push(`${describe(element)} has a contrast of ${found.toFixed(2)}:1, at least ${least}:1`);
  }
  return faults;
};

// ------------------------------------------------------------------------------------- names, images, structure

const images = () =>
  [...document.images]
    .filter((image) => !image.hasAttribute("alt") || (image.complete && image.naturalWidth === 0))
    .map((image) => `${describe(image)} ${image.hasAttribute("alt") ? "did not load" : "has no alt"}`);

const nameOf = (element) => {
  const labelledBy = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
  const parts = [
    element.getAttribute("aria-label"),
    ...labelledBy.map((id) => document.getElementById(id)?.textContent),
    ...[...(element.labels || [])].map((label) => label.textContent),
    element.matches("button, a, summary, [role=button], [role=tab]") ? element.textContent : "",
    ...[...element.querySelectorAll("img[alt]")].map((image) => image.alt),
    element.getAttribute("title"),
    element.matches("table") ? element.caption?.textContent : "",
    element.matches("input[type=submit], input[type=button]") ? element.value : "",
  ];
  return parts.filter(Boolean).join(" ").trim();
};

const CONTROLS = "button, a[href], input:not([type=hidden]), select, textarea, summary, [tabindex], [role=button]";
const controls = () =>
  [...document.querySelectorAll(CONTROLS)]
    .filter((element) => isVisible(element) && !nameOf(element))
    .map((element) => `${describe(element)} can be used and has no name`);

const headings = () => {
  const found = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(isVisible);
  const levels = found.map((element) => Number(element.tagName[1]));
  const faults = levels.filter((level) => level === 1).length === 1 ? [] : ["the page does not have exactly one h1"];
  levels.forEach((level, index) => {
    const before = index ? levels[index - 1] : 0;
    if (level > before + 1) faults.push(`${describe(found[index])} follows a heading of level ${before}`);
  });
  return faults;
};

const ids = () => {
  const all = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = all.filter((id, index) => all.indexOf(id) !== index).map((id) => `the id ${id} is used twice`);
  const lost = [...document.querySelectorAll('a[href^="#"]')]
    .map((link) => decodeURIComponent(link.getAttribute("href").slice(1)))
    .filter((id) => id && !document.getElementById(id))
    .map((id) => `a link leads to #${id}, which is not on the page`);
  return [...twice, ...lost];
};

const findFaults = (names) => {
  const checks = { overflow, contrast, images, controls, headings, ids };
  return names.flatMap((name) => checks[name]().slice(0, 10).map((fault) => `${name}: ${fault}`));
};

// Mind map as a diagram: an SVG tree from left to right, with the keyboard behaviour of the ARIA tree pattern.

const SVG = "http://www.w3.org/2000/svg";
const FONT_PX = 14;
const LINE_PX = 19;
const WIDEST_PX = 190; // of the text of a node
const PAD_X = 10;
const PAD_Y = 6;
const GAP_X = 36; // between two levels
const GAP_Y = 8; // between two leaves

const element = (name, attributes = {}) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

const ruler = document.createElement("canvas").getContext("2d");

/** Parts of a text between which a line may break: words, and single characters where there are no blanks. */
const pieces = (text) =>
  globalThis.Intl?.Segmenter
    ? [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)].map(({ segment }) => segment)
    : text.split(/(?<=\s)/);

const splitLong = (piece) => (ruler.measureText(piece).width <= WIDEST_PX ? [piece] : [...piece]);

function wrapped(text) {
  const lines = [""];
  for (const piece of pieces(text).flatMap(splitLong)) {
    const line = lines[lines.length - 1] + piece;
    if (ruler.measureText(line.trimEnd()).width > WIDEST_PX && lines[lines.length - 1]) lines.push(piece.trimStart());
    else lines[lines.length - 1] = line;
  }
  return lines.map((line) => line.trim()).filter(Boolean);
}

/**
 * A diagram of a tree.
 *
 * Keys: up and down go to the previous and next node, right opens a branch or enters it, left closes it or goes to the
 * parent, Home and End go to the first and last node, Enter and the space bar open and close.
 *
 * @param {{name: string, children?: object[]}} tree
 * @param {string} label accessible name
 */
export function mindMap(tree, label) {
  const svg = element("svg", { role: "tree", "aria-label": label, class: "map" });
  const closed = new Set();
  let current = "0";

  const measured = (node, id, depth, branch) => {
    const lines = wrapped(node.name) || [""];
    const children = closed.has(id)
      ? []
      : (node.children ?? []).map((each, index) => measured(each, `${id}.${index}`, depth + 1, depth ? branch : index));
    const box = {
      node, id, depth, branch, lines, children,
      width: Math.ceil(Math.max(...lines.map((line) => ruler.measureText(line).width), 8)) + 2 * PAD_X,
      height: Math.max(lines.length, 1) * LINE_PX + 2 * PAD_Y,
    };
    const inner = children.reduce((sum, each) => sum + each.span, 0) + GAP_Y * Math.max(children.length - 1, 0);
    return { ...box, span: Math.max(box.height, inner), inner };
  };

  const draw = (focus = false) => {
    ruler.font = `600 ${FONT_PX}px ${getComputedStyle(document.body).fontFamily}`;
    const root = measured(tree, "0", 0, 0);
    const place = (box, left, top) => {
      box.x = left;
      box.y = top + (box.span - box.height) / 2;
      let at = top + (box.span - box.inner) / 2;
      for (const child of box.children) {
        place(child, left + box.width + GAP_X, at);
        at += child.span + GAP_Y;
      }
    };
    place(root, 1, 1);
    const all = [];
    const list = (box, siblings, position) => {
      all.push({ ...box, siblings, position });
      box.children.forEach((child, index) => list(child, box.children.length, index + 1));
    };
    list(root, 1, 1);
    const width = Math.max(...all.map((box) => box.x + box.width)) + 12; // room for a count
    const height = root.span + 2;
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
      svg.setAttribute(name, value);
    }
    svg.replaceChildren(...all.flatMap((box) => box.children.map((child) => link(box, child))), ...all.map(item));
    if (focus) {
      const node = svg.querySelector(`[data-id="${current}"]`);
      node.focus({ preventScroll: true });
      node.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  };

  const link = (from, to) => {
    const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
    const middle = (x1 + x2) / 2;
    const path = `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
    return element("path", { d: path, class: `link b${to.branch % 6}`, "aria-hidden": "true" });
  };

  const item = ({ node, id, depth, branch, lines, x, y, width, height, siblings, position }) => {
    const many = node.children?.length ?? 0;
    const made = element("g", {
      role: "treeitem",
      class: `node ${depth ? `b${branch % 6}` : "root"} ${many ? "many" : ""}`,
      "aria-label": node.name,
      "aria-level": depth + 1,
      "aria-setsize": siblings,
      "aria-posinset": position,
      "data-id": id,
      tabindex: id === current ? 0 : -1,
      transform: `translate(${x} ${y})`,
    });
    if (many) made.setAttribute("aria-expanded", !closed.has(id));
    made.append(element("rect", { width, height, rx: 8 }));
    const text = element("text", { x: PAD_X, "aria-hidden": "true" });
    for (const [index, line] of lines.entries()) {
      const part = text.appendChild(element("tspan", { x: PAD_X, y: PAD_Y + LINE_PX * index + FONT_PX }));
      part.textContent = line;
    }
    made.append(text);
    if (many && closed.has(id)) {
      made.append(element("circle", { cx: width, cy: height / 2, r: 9 }));
      const count = made.appendChild(element("text", { x: width, y: height / 2 + 4, class: "count", "aria-hidden": "true" }));
      count.textContent = many;
    }
    return made;
  };

  const at = (id) => id.split(".").slice(1).reduce((node, index) => node.children[index], tree);
  const toggle = (id, open = closed.has(id)) => {
    if (!at(id).children?.length) return;
    if (open) closed.delete(id);
    else closed.add(id);
  };
  const shown = () => [...svg.querySelectorAll("[data-id]")].map((node) => node.dataset.id);
  const parent = (id) => id.slice(0, Math.max(id.lastIndexOf("."), 1));

  svg.addEventListener("click", (event) => {
    const node = event.target.closest("[data-id]");
    if (!node) return;
    current = node.dataset.id;
    toggle(current);
    draw(true);
  });
  svg.addEventListener("keydown", (event) => {
    const ids = shown();
    const index = ids.indexOf(current);
    const many = Boolean(at(current).children?.length);
    const moves = {
      ArrowDown: () => (current = ids[index + 1] ?? current),
      ArrowUp: () => (current = ids[index - 1] ?? current),
      Home: () => (current = ids[0]),
      End: () => (current = ids[ids.length - 1]),
      ArrowRight: () => (many && closed.has(current) ? toggle(current, true) : many && (current = `${current}.0`)),
      ArrowLeft: () => (many && !closed.has(current) && current !== "0" ? toggle(current, false) : (current = parent(current))),
      Enter: () => toggle(current),
      " ": () => toggle(current),
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]();
    draw(true);
  });
  draw();
  return svg;
}

/** The diagram as a file of its own: the styles of the page become attributes. */
export function svgFile(svg) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  const originals = svg.querySelectorAll("*");
  for (const [index, made] of [...copy.querySelectorAll("*")].entries()) {
    const style = getComputedStyle(originals[index]);
    for (const name of ["fill", "fill-opacity", "stroke", "stroke-width", "font-family", "font-size", "font-weight", "text-anchor"]) {
      made.setAttribute(name, style.getPropertyValue(name));
    }
  }
  const fill = getComputedStyle(svg.closest(".card") ?? document.body).backgroundColor;
  copy.prepend(element("rect", { width: "100%", height: "100%", fill }));
  return new XMLSerializer().serializeToString(copy);
}

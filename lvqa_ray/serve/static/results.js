// Cards of the results: rendering as they grow, and the buttons that copy and download them.

import { clock, copy, download, fileName, markdown, markdownLines, srt } from "./exports.js";
import { t } from "./i18n.js";
import { mindMap, svgFile } from "./mindmap.js";
import { partialJson } from "./partial.js";
import { expected, finished, keyOf, nameOf } from "./progress.js";

const make = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text; // text of models and files is never markup
  return made;
};

const TYPES = { md: "text/markdown", srt: "application/x-subrip", json: "application/json", svg: "image/svg+xml" };
const json = (value) => `${JSON.stringify(value, null, 2)}\n`;
const partNames = () => ({ tags: t("style.tags"), highlights: t("style.highlights") });

/** Buttons for what `exports()` returns: the text by file extension; the Markdown is also what is copied. */
export function tools(name, stem, exports) {
  const made = [];
  const copier = make("button", "small", t("copy"));
  copier.ariaLabel = t("copyOf", { name });
  copier.addEventListener("click", async () => {
    const copied = await copy(exports().md()).then(() => true, () => false);
    copier.textContent = t(copied ? "copied" : "notCopied");
    setTimeout(() => (copier.textContent = t("copy")), 1500);
  });
  made.push(copier);
  const forms = { md: "Markdown", srt: "SRT", json: "JSON", svg: t("picture") };
  for (const form of Object.keys(exports())) {
    const button = make("button", "small", forms[form]);
    button.ariaLabel = t("save", { name, form: forms[form] });
    button.addEventListener("click", () => download(`${stem}.${form}`, TYPES[form], exports()[form]()));
    made.push(button);
  }
  for (const each of made) each.type = "button";
  return made;
}

const TIMED = /^From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?),\s*/;

function moment(text) {
  const item = make("li");
  const found = TIMED.exec(text);
  if (found) item.append(make("time", "", `${clock(found[1] * 1000)}–${clock(found[2] * 1000)}`));
  item.append(make("span", "", found ? text.slice(found[0].length) : text));
  return item;
}

const many = (name, className, items) => {
  const list = make(name, className);
  list.append(...items);
  return list;
};
const texts = (value) => (Array.isArray(value) ? value.filter((each) => typeof each === "string") : []);

/** Title, tags and highlights, as far as they are there. */
function fields({ title, tags, highlights }) {
  const made = [];
  const headed = typeof title === "string";
  if (headed) made.push(make("h3", "", title));
  if (texts(tags).length) {
    if (headed) made.push(make("h4", "", t("style.tags")));
    made.push(many("ul", "tags", texts(tags).map((tag) => make("li", "", tag))));
  }
  if (texts(highlights).length) {
    if (headed) made.push(make("h4", "", t("style.highlights")));
    made.push(many("ol", "lines", texts(highlights).map(moment)));
  }
  return made;
}

const treeOf = (value) => (typeof value?.name === "string" ? prune(value) : undefined);
const prune = ({ name, children, childNodes }) => ({
  name,
  children: (children ?? childNodes ?? []).filter((child) => typeof child?.name === "string").map(prune),
});

/** The content of a result; while it is being written, as much as can be read. */
function content(result) {
  const value = result.value ?? (finished(result) ? null : partialValue(result));
  if (result.task === "mind_map") {
    const tree = treeOf(value);
    if (tree) {
      const frame = make("div", "scroll");
      frame.append(mindMap(tree, t("task.mind_map")));
      return [frame, make("p", "hint", t("expand"))];
    }
    return finished(result) ? [make("div", "prose", result.text)] : [];
  }
  if (value?.titles) return [many("ol", "titles", texts(value.titles).map((title) => make("li", "", title)))];
  if (value && typeof value === "object") return fields(value);
  return [make("div", "prose", result.text)];
}

function partialValue({ task, style, text }) {
  const items = text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (task === "titles") return { titles: items };
  if (style === "tags") return { tags: items };
  if (style === "highlights") return { highlights: items };
  if (task === "mind_map" || style === "multi_task") return partialJson(text) ?? {};
  return null;
}

function repeat(name, again) {
  const button = make("button", "small", t("again"));
  button.type = "button";
  button.ariaLabel = t("againOf", { name });
  button.addEventListener("click", again);
  return button;
}

/** A card with a heading, buttons and content; `update` changes what differs. */
class Card {
  #shown = "";
  #toolsShown = "";

  constructor(id) {
    this.root = make("section", "card result");
    this.root.id = `result-${id}`;
    const header = make("header");
    this.title = header.appendChild(make("h2"));
    this.title.id = `${this.root.id}-title`;
    this.badge = header.appendChild(make("span", "badge"));
    this.tools = header.appendChild(make("div", "tools"));
    this.body = make("div", "body");
    this.root.setAttribute("aria-labelledby", this.title.id);
    this.root.append(header, this.body);
  }

  update({ name, stem, state, signature, exports, render, again }) {
    this.exports = exports;
    this.root.dataset.state = state;
    this.title.textContent = name;
    this.badge.textContent = state === "done" ? "" : t(state);
    const toolsKey = `${name} ${stem} ${state} ${Boolean(again)} ${Object.keys(exports())}`;
    if (toolsKey !== this.#toolsShown) {
      this.#toolsShown = toolsKey;
      const saving = state === "done" ? tools(name, stem, () => this.exports()) : [];
      this.tools.replaceChildren(...saving, ...(again ? [repeat(name, again)] : []));
    }
    if (signature === this.#shown) return;
    this.#shown = signature;
    render(this.body);
  }
}

/** Update a list of lines with times; only lines that changed are touched, since there may be thousands. */
function showLines(body, lines) {
  const list = body.querySelector("ol") ?? body.appendChild(make("ol", "lines many"));
  list.tabIndex = 0; // it scrolls
  for (const [index, { start_ms, end_ms, text }] of lines.entries()) {
    const key = `${start_ms} ${end_ms} ${text}`;
    const item = list.children[index] ?? list.appendChild(make("li"));
    if (item.key === key) continue;
    item.key = key;
    item.replaceChildren(make("time", "", `${clock(start_ms)}–${clock(end_ms)}`), make("span", "", text));
  }
  while (list.children.length > lines.length) list.lastChild.remove();
}

/** The cards of one analysis. */
export class Results {
  #cards = new Map();

  /** `again` makes a result again. */
  constructor(root, again) {
    this.root = root;
    this.again = again;
    root.replaceChildren();
  }

  update(analysis, language) {
    const stem = fileName(analysis.video.uri);
    const over = analysis.state !== "running";
    const order = [];
    for (const each of expected(analysis)) {
      const result = analysis.results.find((one) => keyOf(one) === keyOf(each));
      if (!result) continue;
      order.push(keyOf(each));
      const kind = each.style || each.task;
      const state = result.failure ? "failed" : finished(result) ? "done" : over ? "missing" : "writing";
      this.#card(keyOf(each)).update({
        name: nameOf(each),
        stem: `${stem}.${kind}`,
        state,
        signature: JSON.stringify([language, state, result.text, result.value, result.failure, result.note]),
        exports: () => ({
          md: () => `${markdown(result, partNames())}\n`,
          json: () => json(result),
          ...(each.task === "mind_map" && result.value ? { svg: () => this.#svg(keyOf(each)) } : {}),
        }),
        again: over ? () => this.again(each) : undefined,
        render: (body) => {
          const { failure, note } = result;
          body.replaceChildren(...(failure ? [make("p", "bad", t("failure", failure))] : content(result)));
          if (note) body.append(make("p", "hint", t("noteOf", { note })));
        },
      });
    }
    const lists = { analysis: analysis.shots, speech: analysis.speech ?? [] };
    for (const [task, lines] of Object.entries(lists)) {
      if (!lines.length) continue;
      order.push(task);
      const whole = task === "analysis" ? analysis.clips.looked_at : analysis.clips.all_found;
      this.#card(task).update({
        name: t(`task.${task}`),
        stem: `${stem}.${task === "analysis" ? "captions" : "speech"}`,
        state: whole || over ? "done" : "writing",
        signature: JSON.stringify(lines),
        exports: () => ({
          md: () => `${markdownLines(lines)}\n`,
          srt: () => srt(lines),
          json: () => json(lines),
        }),
        render: (body) => showLines(body, lines),
      });
    }
    for (const [index, key] of order.entries()) {
      const { root } = this.#cards.get(key);
      if (this.root.children[index] !== root) this.root.insertBefore(root, this.root.children[index] ?? null);
    }
  }

  #card(key) {
    if (!this.#cards.has(key)) this.#cards.set(key, new Card(key.replace(/:$/, "").replace(":", "-")));
    return this.#cards.get(key);
  }

  #svg(key) {
    return svgFile(this.#cards.get(key).root.querySelector("svg"));
  }
}

/** All results as one Markdown document. */
export function everything(analysis) {
  const parts = [`# ${fileName(analysis.video.uri)}`];
  for (const each of expected(analysis)) {
    const result = analysis.results.find((one) => keyOf(one) === keyOf(each));
    if (result && !result.failure && finished(result)) parts.push(`## ${nameOf(each)}`, markdown(result, partNames()));
  }
  if (analysis.shots.length) parts.push(`## ${t("task.analysis")}`, markdownLines(analysis.shots));
  if (analysis.speech?.length) parts.push(`## ${t("task.speech")}`, markdownLines(analysis.speech));
  return `${parts.join("\n\n")}\n`;
}

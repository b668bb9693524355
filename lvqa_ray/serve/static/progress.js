// Progress of an analysis: one row per step, with counts, seconds and tokens, computed from its document.

import { clock } from "./exports.js";
import { number, t } from "./i18n.js";

export const keyOf = (result) => `${result.task}:${result.style ?? ""}`;

/** Whether a result is complete: while its text still grows, `finished` is false. */
export const finished = (result) => result.finished !== false;

/** The results that an analysis makes, as task and style. */
export function expected(document) {
  const made = document.results.filter(({ task }) => task !== "analysis");
  const asked = document.asked.styles?.length ? document.asked.styles : [];
  const planned = document.tasks
    .filter((task) => task !== "analysis")
    .flatMap((task) => (task === "summary" ? asked.map((style) => ({ task, style })) : [{ task, style: "" }]));
  const all = new Map([...planned, ...made].map((each) => [keyOf(each), { task: each.task, style: each.style ?? "" }]));
  if (document.tasks.includes("summary") && ![...all.values()].some(({ task }) => task === "summary")) {
    all.set("summary:", { task: "summary", style: "" });
  }
  const order = ["summary", "titles", "mind_map"];
  return [...all.values()].sort((a, b) => order.indexOf(a.task) - order.indexOf(b.task));
}

export const nameOf = ({ task, style }) => (task === "summary" && style ? t(`style.${style}`) : t(`task.${task}`));

/** Times (ms since the start) at which the steps were first seen to be done; kept for a reload of the tab. */
export class Times {
  #at = {};

  constructor(session) {
    this.key = `lvqa.times.${session}`;
    this.#at = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
  }

  note(document, live) {
    const now = Date.parse(document.updated) - Date.parse(document.created);
    const seen = { start: 0 };
    if (live) {
      if (document.video.info) seen.video = now;
      if (document.speech) seen.speech = now;
      if (document.clips.looked_at) seen.captions = now;
      for (const result of document.results) if (finished(result)) seen[keyOf(result)] = now;
    }
    this.#at = { ...seen, ...this.#at };
    if (document.state !== "running") this.#at.end ??= now;
    sessionStorage.setItem(this.key, JSON.stringify(this.#at));
  }

  /** Milliseconds between two marks; up to now if the second is not reached yet, undefined if the first is not. */
  between(from, to, now) {
    const begun = this.#at[from];
    const end = this.#at[to] ?? this.#at.end ?? now;
    return begun === undefined ? undefined : Math.max(0, end - begun);
  }

  known = (mark) => mark in this.#at;
}

const captionsAmount = ({ found, all_found, captioned, failed }) => {
  const parts = [t(all_found ? "clips" : "clipsMore", { done: number(captioned), found: number(found) })];
  if (failed) parts.push(t("clipsFailed", { count: number(failed) }));
  return parts.join(", ");
};

/**
 * The rows: key, name, state, amount and, where they are known, share (0 to 1) and the marks of begin and end.
 * States: waiting, running, writing, done, failed, missing.
 */
export function rows(document) {
  const over = document.state !== "running";
  const { info } = document.video;
  const { clips, speech } = document;
  const unless = (state) => (over ? "missing" : state);
  const tokens = (usage) => (usage ? usage.input_tokens + usage.output_tokens : 0);
  const captions = document.results.find(({ task }) => task === "analysis");
  const made = [
    {
      key: "video",
      name: t("step.video"),
      state: info ? "done" : over ? "failed" : "running",
      amount: info
        ? t("videoInfo", { time: clock(info.duration_sec * 1000), width: info.width, height: info.height })
        : "",
      from: "start",
      to: "video",
    },
    {
      key: "speech",
      name: t("task.speech"),
      state: speech ? "done" : unless(info ? "running" : "waiting"),
      amount: speech ? (speech.length ? t("lines", { count: number(speech.length) }) : t("noLines")) : "",
      from: "video",
      to: "speech",
    },
    {
      key: "captions",
      name: t("task.analysis"),
      state: clips.looked_at ? "done" : unless(info ? "running" : "waiting"),
      amount: clips.found ? captionsAmount(clips) : "",
      share: clips.all_found && clips.found ? (clips.captioned + clips.failed) / clips.found : undefined,
      tokens: tokens(captions?.usage),
      from: "video",
      to: "captions",
    },
  ];
  const planned = expected(document);
  const first = planned.find(({ task }) => task === "summary");
  for (const each of planned) {
    const result = document.results.find((one) => keyOf(one) === keyOf(each));
    const from = each.task === "summary" ? "captions" : first ? keyOf(first) : "captions";
    const before =
      from === "captions" ? clips.looked_at : document.results.some((one) => keyOf(one) === from && finished(one));
    const state = !result ? unless(before ? "running" : "waiting") : finished(result) ? "done" : unless("writing");
    made.push({
      key: keyOf(each),
      name: nameOf(each),
      state: result?.failure ? "failed" : state,
      amount: "",
      tokens: tokens(result?.usage),
      from,
      to: keyOf(each),
    });
  }
  return made;
}

/** One sentence for the live region. It changes at events, not with every second or token. */
export function sentence(document) {
  if (document.state !== "running") return t(`state.${document.state}`);
  const names = document.results.filter((each) => each.task !== "analysis" && finished(each) && !each.failure).map(nameOf);
  if (names.length) return t("state.made", { names: names.join(", ") });
  if (document.clips.captioned) return t("state.captions", { amount: captionsAmount(document.clips) });
  return t(document.video.info ? "state.video" : "state.queue");
}

/** Update the table. */
export function showRows(body, document, times, now) {
  for (const [index, row] of rows(document).entries()) {
    const line = body.rows[index] ?? body.insertRow();
    while (line.cells.length < 3) {
      line.append(line.cells.length ? globalThis.document.createElement("td") : header());
    }
    const [name, amount, seconds] = line.cells;
    line.dataset.state = row.state;
    line.dataset.key = row.key;
    name.textContent = row.name;
    const parts = [row.amount, row.tokens ? t("tokens", { count: number(row.tokens) }) : ""].filter(Boolean);
    if (!["done"].includes(row.state) || !parts.length) parts.unshift(t(row.state));
    const text = parts.join(" · ");
    if (amount.firstChild?.textContent !== text) amount.replaceChildren(span(text));
    bar(amount, row);
    const elapsed =
      row.state === "waiting" || row.state === "missing" || (row.state === "done" && !times.known(row.to))
        ? undefined
        : times.between(row.from, row.to, now);
    seconds.textContent = elapsed === undefined ? "–" : number(elapsed / 1000, elapsed < 10_000 ? 1 : 0);
    seconds.className = "right num";
  }
  while (body.rows.length > rows(document).length) body.deleteRow(-1);
}

const header = () => {
  const made = globalThis.document.createElement("th");
  made.scope = "row";
  return made;
};

const span = (text) => {
  const made = globalThis.document.createElement("span");
  made.textContent = text;
  return made;
};

function bar(cell, row) {
  const shown = row.state === "running" && row.key === "captions";
  let meter = cell.querySelector("progress");
  if (!shown) return meter?.remove();
  meter ??= cell.appendChild(globalThis.document.createElement("progress"));
  meter.ariaLabel = row.name;
  if (row.share === undefined) meter.removeAttribute("value");
  else meter.value = row.share;
}

"use strict";
// One record of the report. The same script continues with page.js (helpers) and list.js (the list and the start).
const films = new Map();
let light = () => {}, dark = () => {};

async function open(number, byHand) {
  const entry = entries[number];
  current = number;
  for (const button of $("list").querySelectorAll("[data-entry]")) {
    const mine = button.dataset.entry === String(number);
    button.setAttribute("aria-current", String(mine));
    if (mine) button.scrollIntoView({ block: "nearest" });
  }
  if (!films.has(entry[FILM])) films.set(entry[FILM], await unpack(`film-${entry[FILM]}`));
  if (current !== number) return; // another entry was opened meanwhile
  const film = films.get(entry[FILM]);
  $("record").replaceChildren(...record(film, film.questions[entry[QUESTION]], entry));
  document.querySelector(".browser").dataset.open = byHand ? "true" : document.querySelector(".browser").dataset.open;
  if (byHand && matchMedia("(max-width: 900px)").matches) $("record").scrollIntoView();
  history.replaceState(null, "", "#" + encodeURIComponent(entry[ID]));
}

function record(film, question, entry) {
  const strip = $(`strip-${entry[FILM]}`) && film.strip ? { ...film.strip, url: `url(data:image/jpeg;base64,${$(`strip-${entry[FILM]}`).textContent})` } : null;
  const steps = question ? question.steps : [];
  const line = timeline(film, steps, strip);
  const parts = [
    h("button", { class: "plain back", type: "button", onclick: () => { document.querySelector(".browser").dataset.open = "false"; } }, "‹ All records"),
    head(film, question),
    line,
  ];
  if (film.failure && !question) parts.push(failure(film.failure));
  if (question) parts.push(...asked(question, film, steps, strip));
  parts.push(...results(film, !question));
  parts.push(...more(film, question));
  return parts;
}

function head(film, question) {
  const info = film.info, facts = [clock(film.seconds), info.width && `${info.width}×${info.height}`, info.fps && `${+info.fps.toFixed(2)} fps`, info.codec];
  const player = h("video", { controls: true, preload: "metadata", hidden: true });
  const play = film.video.startsWith("/") && h("button", { class: "plain", type: "button", onclick: () => playFrom(0) }, "Play");
  const said = h("span", { class: "small soft" });
  function playFrom(seconds) {
    player.hidden = false;
    player.addEventListener("error", () => { player.hidden = true; said.textContent = "The file cannot be played here."; }, { once: true });
    if (!player.src) player.src = "file://" + film.video.split("/").map(encodeURIComponent).join("/");
    player.currentTime = seconds;
    player.play().catch(() => {});
  }
  head.play = play ? playFrom : null;
  const title = question ? question.id : film.id;
  return h("div", {},
    h("div", { class: "head" },
      h("h2", { class: "grow" }, title), question && question.category && h("span", { class: "chip" }, question.category),
      question && h("span", { class: question.fate === "kept" ? "chip good" : "chip" }, question.fate), film.failure && !question && h("span", { class: "chip bad" }, "failed"), play),
    h("p", { class: "small soft" }, film.video, " · ", facts.filter(Boolean).join(" · "), " ", said),
    info.partial && h("p", { class: "small warn" }, info.partial), player);
}

function place(strip, n) {
  const of = strip.times.filter((time) => time !== null).length;
  const before = strip.times.slice(0, n).filter((time) => time !== null).length;
  return { "background-image": strip.url, "background-position": `${of > 1 ? (100 * before) / (of - 1) : 0}% 0`, "--of": `${100 * of}%`, "--shape": `${strip.width} / ${strip.height}` };
}

function timeline(film, steps, strip) {
  if (!film.seconds) return null;
  const whole = film.seconds, near = (a, b, c, d) => Math.min(b, d) - Math.max(a, c) > Math.min(0.5, (b - a) / 2);
  const cells = [];
  if (strip) for (let n = 0; n < strip.grid; n++) cells.push(h("i", { style: strip.times[n] === null ? {} : place(strip, n), title: strip.times[n] === null ? "" : clock(strip.times[n]) }));
  const now = h("div", { class: "now", "aria-live": "off" });
  const rest = () => { now.replaceChildren(h("span", { class: "soft" }, "Point at the timeline, or tap it, to read its captions; point at a step to see its time span.")); };
  const clips = film.clips.map((clip, n) => {
    const [start, end, caption, why] = clip;
    const kind = why ? (why.startsWith("left out") ? "out" : "gap") : steps.some((one) => near(start, end, one.start, one.end)) ? "cited" : "";
    const label = stretch(start, end);
    const tell = () => { now.replaceChildren(h("b", {}, label), h("span", why ? { class: "bad" } : {}, caption || why || "no caption")); beamAt(start, end, "var(--accent)"); };
    return h("button", { type: "button", class: kind, tabindex: n === 0 ? "0" : "-1", "aria-label": label, style: { left: percent(start, whole), width: percent(end - start, whole) },
      onmouseenter: tell, onfocus: tell, onclick: (event) => { tell(); event.stopPropagation(); } });
  });
  const track = h("div", { class: "track", role: "group", "aria-label": "Clips; left and right go through them", onkeydown: (event) => {
    const to = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = clips.indexOf(document.activeElement);
    if (to && clips[at + to]) { clips[at + to].focus(); event.preventDefault(); }
  } }, clips);
  const speech = film.subtitles.length ? h("div", { class: "speech", role: "group", "aria-label": "What is said" }, film.subtitles.map(([start, end, text]) => {
    const tell = () => { now.replaceChildren(h("b", {}, stretch(start, end)), h("span", {}, `“${text}”`)); beamAt(start, end, "var(--accent)"); };
    return h("i", { style: { left: percent(start, whole), width: percent(end - start, whole) }, title: text, onmouseenter: tell, onclick: (event) => { tell(); event.stopPropagation(); } });
  })) : null;
  const lanes = [], bars = steps.map((one, n) => {
    const end = Math.max(one.end, one.start + whole / 40) - whole / 400;
    let lane = lanes.findIndex((taken) => taken.every(([from, to]) => to <= one.start || from >= end));
    if (lane < 0) lane = lanes.push([]) - 1;
    lanes[lane].push([one.start, end]);
    return h("button", { type: "button", tabindex: "-1", "aria-label": `Step ${n + 1}`, title: `Step ${n + 1}: ${stretch(one.start, one.end)}`, style: { left: percent(one.start, whole), width: percent(one.end - one.start, whole), top: `${lane * 20}px`, "--own": hue(n) },
      onmouseenter: () => light(n), onmouseleave: () => dark(), onclick: () => { light(n, true); document.querySelectorAll(".steps > li")[n]?.scrollIntoView({ block: "nearest" }); } }, String(n + 1));
  });
  const beam = h("div", { class: "beam", hidden: true });
  const beamAt = (start, end, color) => {
    beam.hidden = false;
    for (const [name, value] of Object.entries({ left: percent(start, whole), width: percent(end - start, whole), "--own": color })) beam.style.setProperty(name, value);
  };
  const node = h("div", { class: "time", onmouseleave: () => dark() },
    h("div", { class: strip ? "film" : "film none", "aria-hidden": "true" }, strip ? cells : "no thumbnails"), track, speech,
    bars.length ? h("div", { class: "lanes", style: { height: `${lanes.length * 20}px` } }, bars) : null, beam,
    h("div", { class: "axis" }, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, clock(part * whole)))));
  let pinned = -1;
  light = (n, pin) => {
    if (!steps[n]) return;
    if (pin) pinned = pinned === n ? -1 : n;
    const one = steps[n];
    node.classList.add("lit");
    bars.forEach((bar, m) => bar.classList.toggle("on", m === n));
    cells.forEach((cell, m) => cell.classList.toggle("on", near((whole * m) / cells.length, (whole * (m + 1)) / cells.length, one.start, one.end)));
    document.querySelectorAll(".steps > li").forEach((item, m) => item.classList.toggle("on", m === n));
    const there = film.clips.filter((clip) => near(clip[0], clip[1], one.start, one.end));
    now.replaceChildren(...there.slice(0, 4).map((clip) => h("p", {}, h("b", {}, stretch(clip[0], clip[1])), clip[2] || clip[3] || "no caption")));
    if (!there.length) now.replaceChildren(h("span", { class: "warn" }, "No clip covers this span."));
    beamAt(one.start, one.end, hue(n));
  };
  dark = (all) => {
    if (all) pinned = -1;
    if (pinned >= 0) return light(pinned);
    node.classList.remove("lit");
    beam.hidden = true;
    for (const item of document.querySelectorAll(".steps > li.on")) item.classList.remove("on");
    rest();
  };
  rest();
  return h("div", {}, node, now);
}

function asked(question, film, steps, strip) {
  const parts = [h("p", { class: "stemline" }, question.question || "This reply could not be read as a question.")];
  if (question.drop) parts.unshift(h("p", { class: "banner" }, h("b", {}, `Dropped by ${question.drop.check}`), `: ${question.drop.reason || question.drop.kind}`));
  if (question.note) parts.push(h("p", { class: "small warn" }, question.note));
  if (!Object.keys(question.options).length) parts.push(h("p", { class: "options" }, h("b", {}, "Answer: "), question.answer));
  else parts.push(h("ul", { class: "options" }, Object.entries(question.options).map(([letter, text]) =>
    h("li", { class: letter === question.answer ? "key" : "" }, h("b", {}, letter), h("span", {}, text, letter === question.answer && h("em", {}, "right"))))));
  if (steps.length) {
    let place_ = strip ? strip.grid : 0;
    const spots = new Map();
    if (strip) for (const span of strip.spans) spots.set(span.join(), place_++);
    parts.push(h("h3", {}, "Reasoning"), h("ol", { class: "steps" }, steps.map((one, n) => {
      const spot = spots.get([one.start, one.end].join()), time = spot === undefined ? null : strip.times[spot];
      const shape = strip && time !== null && time !== undefined ? place(strip, spot) : null;
      return h("li", { style: { "--own": hue(n) }, tabindex: "0", onmouseenter: () => light(n), onmouseleave: () => dark(), onfocus: () => light(n), onblur: () => dark(),
        onclick: () => light(n, true) },
        h("span", { class: "n" }, String(n + 1)),
        h("div", {}, h("p", { class: "small soft num" }, stretch(one.start, one.end), head.play && [" ", h("button", { class: "go", type: "button", onclick: (event) => { event.stopPropagation(); head.play(one.start); } }, "play")]),
          h("ul", {}, one.reasons.map((reason) => h("li", {}, reason)))),
        shape && h("figure", { "aria-hidden": "true" }, h("i", { style: shape }), h("figcaption", {}, `at ${clock(time)}`)));
    })));
  }
  if (question.prose) parts.push(h("h3", {}, "Reasoning as prose"), h("p", { class: "prose" }, question.prose));
  if (question.traces.length) parts.push(h("h3", {}, "Sampled answers"), ...question.traces.map((one) => attempt(one, strip)));
  if (question.checks.length) parts.push(h("h3", {}, "Checks"), h("div", { class: "scroll" }, h("table", {},
    h("tr", {}, ["check", "verdict", "score", "why"].map((name) => h("th", {}, name))),
    question.checks.map((one) => h("tr", {}, h("td", {}, one.check),
      h("td", { class: one.passed ? "good" : one.action === "dropped" ? "bad" : "warn" }, one.passed ? "passed" : one.action || "marked"),
      h("td", { class: "num" }, one.score === null ? "" : +one.score.toFixed(3)), h("td", {}, one.reason || ""))))));
  return parts;
}

// One sampled answer: the frames that the model was given, and its reasoning.
function attempt(one, strip) {
  const first = strip ? strip.grid + strip.spans.length : 0;
  const frames = strip ? one.times.map((time) => [time, first + strip.frames.indexOf(time)]).filter(([time, n]) => strip.frames.includes(time) && strip.times[n] !== null) : [];
  const media = one.media === "frames" ? `${one.times.length} frames` : one.media;
  return h("details", { class: "trace" },
    h("summary", {}, h("b", {}, `${one.check} ${one.attempt + 1}`), " ", h("span", { class: one.correct ? "good" : one.correct === null ? "warn" : "bad" }, one.answer ? `${one.answer}, ${one.correct ? "right" : one.correct === null ? "nearly right" : "wrong"}` : "no answer"),
      one.best && [" ", h("span", { class: "chip good" }, "best")], one.note && [" ", h("span", { class: "chip" }, one.note)], h("span", { class: "small soft" }, ` ${one.model} from ${media}`)),
    frames.length > 0 && h("div", { class: "shots" }, frames.map(([time, n]) => h("figure", {}, h("i", { style: place(strip, n) }), h("figcaption", {}, clock(time))))),
    h("p", { class: "prose" }, one.text || "It gave no reasons."));
}

// Results about the whole video.
const STYLES = { plot_detail: "Plot", summary: "Summary", tags: "Tags", highlights: "Highlights", multi_task: "Title, tags and highlights" };
const list = (texts) => h("ul", { class: "plainlist" }, texts.map((text) => h("li", {}, text)));
const chips = (texts) => h("p", { class: "tags" }, texts.map((text) => h("span", { class: "chip" }, text)));
const tree = (node) => h("li", {}, h("span", { class: "node" }, node.name), node.children && h("ul", {}, node.children.map(tree)));

function results(film, open) {
  if (!film.results.length && !film.subtitles.length) return [];
  const body = film.results.map((one) => {
    const value = one.value || {}, name = one.task === "summary" ? STYLES[one.style] || one.style : { titles: "Titles", mind_map: "Mind map", analysis: "Shots" }[one.task];
    const parts = [h("h3", {}, name)];
    if (one.failure) parts.push(failure(one.failure));
    else if (one.task === "mind_map" && value.name) parts.push(h("div", { class: "scroll" }, h("ul", { class: "map" }, tree(value))));
    else if (value.titles || value.tags || value.highlights || value.title) parts.push(value.title && h("p", {}, h("b", {}, value.title)), value.titles && list(value.titles), value.tags && chips(value.tags), value.highlights && list(value.highlights));
    else parts.push(h("p", { class: "prose" }, one.text));
    if (one.note) parts.push(h("p", { class: "small warn" }, one.note));
    return parts;
  });
  if (film.subtitles.length) body.push(h("details", {}, h("summary", {}, "What is said ", h("span", { class: "soft" }, `${film.subtitles.length} lines`)), h("div", { class: "caps" },
    film.subtitles.map(([start, end, text]) => [h("span", {}, stretch(start, end)), h("span", {}, text)]))));
  return [h("details", { class: "whole", open }, h("summary", {}, "The video as a whole ", h("span", { class: "soft" }, film.results.map((one) => one.task.replace("_", " ")).join(", "))), body)];
}

function failure(what) {
  return h("div", {}, h("p", { class: "banner bad" }, h("b", {}, `${what.kind} in ${what.stage}`), `: ${what.message || ""}`),
    h("p", { class: "small soft" }, what.retryable ? "A plain rerun tries it again." : "A plain rerun does not try it again.", ` ${count(what.attempts)} attempts.`),
    what.raw && [h("p", { class: "role" }, "the reply"), h("pre", {}, what.raw)]);
}

function more(film, question) {
  const parts = [], mine = question ? question.said.map((n) => film.said[n]) : [];
  const own = new Set(film.questions.flatMap((one) => one.said));
  const shared = film.said.filter((one, n) => one.clip === null && !own.has(n)), clips = film.said.filter((one) => one.clip !== null);
  if (question && question.usage) parts.push(h("details", {}, h("summary", {}, "Cost ", h("span", { class: "soft" }, "this question's part")), h("div", { class: "scroll" }, h("table", {},
    h("tr", {}, ["stage", "calls", "tokens in", "tokens out", "cost"].map((name, n) => h("th", { class: n ? "r" : "" }, name))),
    Object.entries(question.usage).map(([stage, used]) => h("tr", {}, h("td", {}, stage), [count(used.calls), count(used.input_tokens), count(used.output_tokens), dollars(used.cost_usd)].map((value) => h("td", { class: "r" }, value))))))));
  if (film.clips.length) parts.push(h("details", {}, h("summary", {}, "Captions ", h("span", { class: "soft" }, `${film.clips.length} clips`)), h("div", { class: "caps" },
    film.clips.map((clip) => [h("span", {}, stretch(clip[0], clip[1])), h("span", clip[3] ? { class: "bad" } : {}, clip[2] || clip[3] || "no caption", clip[4] && h("span", { class: "soft" }, ` (${clip[4]})`))]))));
  if (question && question.drop && question.drop.raw) parts.push(h("details", { open: !question.question }, h("summary", {}, "The reply that could not be used"), h("pre", {}, question.drop.raw)));
  if (mine.length + shared.length) parts.push(h("details", {}, h("summary", {}, "Prompts and replies ", h("span", { class: "soft" }, `${mine.length} about this question, ${shared.length} about all of the video`)), [...mine, ...shared].map((one) => exchange(one, film))));
  if (clips.length) parts.push(h("details", {}, h("summary", {}, "Prompts and replies for the captions ", h("span", { class: "soft" }, `${clips.length}`)), h("div", { class: "many" }, clips.map((one) => exchange(one, film)))));
  if (film.unsaid) parts.push(h("p", { class: "small soft" }, film.unsaid));
  return parts;
}

function exchange(one, film) {
  const clip = one.clip === null ? "" : ` · ${stretch(film.clips[one.clip][0], film.clips[one.clip][1])}`;
  const facts = [one.model, `${count(one.in)} tokens in, ${count(one.out)} out`, one.cost !== null && dollars(one.cost), one.seconds && `${one.seconds} s`].filter(Boolean).join(" · ");
  const node = h("details", { class: "said" }, h("summary", {}, one.stage, h("span", { class: "soft" }, clip), one.error && h("span", { class: "chip bad" }, one.error)));
  node.addEventListener("toggle", () => { // built when opened: a video has hundreds
    if (!node.open || node.childElementCount > 1) return;
    node.append(h("p", { class: "small soft" }, facts),
      ...one.messages.flatMap(([role, text]) => [h("p", { class: "role" }, role), h("pre", {}, text.replaceAll("\0", () => film.captions))]),
      h("p", { class: "role" }, "reply"), h("pre", {}, one.reply));
  });
  return node;
}

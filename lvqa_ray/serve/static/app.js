// The page: form, one analysis at a time, and its progress and results.

import { Refused, follow, read, settings, start, stop, token } from "./api.js";
import { clock, fileName } from "./exports.js";
import { choose, language, number, t, translatePage } from "./i18n.js";
import { Times, sentence, showRows } from "./progress.js";
import { Results, everything, tools } from "./results.js";

const find = (selector) => document.querySelector(selector);
const form = find("#request");
const MOST_EARLIER = 20;
const SESSION = /^#session=([\w.-]+)$/;

let offered = null; // the settings of the service
let shown = null; // { analysis, times, results, live } of the analysis on the page
let going = null; // AbortController of what runs
let earlier = []; // the analyses that it builds on
let status = null; // function that returns the text of the live region, instead of the analysis' own

const say = (text) => {
  const state = find("#state");
  if (state.textContent !== text) state.textContent = text;
};

function fail(error) {
  const box = find("#error");
  box.hidden = !error;
  box.textContent = error?.() ?? "";
  box.say = error;
}

const reason = (error) => () =>
  error instanceof Refused ? t("refused", { code: error.code, message: error.message }) : t("unreachable");

/** Show an error; a missing token opens its field. */
function refused(error) {
  fail(reason(error));
  const aboutVideo = /^(videoUrl|video)\b/.test(error.message);
  find("#video").setAttribute("aria-invalid", aboutVideo);
  if (aboutVideo) find("#video").focus();
  if (error.status === 401) askToken(true);
}

function askToken(focus) {
  find("#token-field").hidden = false;
  if (focus) find("#token").focus();
}

const sinceStart = ({ analysis, received, live }) =>
  Date.parse(analysis.updated) - Date.parse(analysis.created) + (live ? performance.now() - received : 0);

function showTimes() {
  if (!shown) return;
  const { analysis, times } = shown;
  const now = sinceStart(shown);
  const used = analysis.spent ?? analysis.usage; // an earlier release stored no `spent`
  showRows(find("#progress tbody"), analysis, times, now);
  find("#totals").textContent = t("totals", {
    time: clock(times.between("start", "end", now) ?? 0),
    input: number(used.input_tokens),
    output: number(used.output_tokens),
  });
}

function show() {
  if (!shown) return;
  const { analysis, results } = shown;
  find("#progress").hidden = false;
  say(status?.() ?? sentence(analysis));
  showTimes();
  results.update(analysis, language());
  fail(analysis.failure ? () => t("failure", analysis.failure) : find("#error").say);
  const over = analysis.state !== "running";
  const key = over ? `${language()} ${analysis.session}` : "";
  const bar = find("#all-tools");
  if (bar.dataset.key !== key) {
    bar.dataset.key = key;
    const stem = fileName(analysis.video.uri);
    const exports = () => ({ md: () => everything(analysis), json: () => `${JSON.stringify(analysis, null, 2)}\n` });
    bar.replaceChildren(...(over ? tools(t("tasks"), stem, exports) : []));
  }
}

let scheduled = false;
/** Render at most once per frame: several events may arrive at once, each with all results. */
function render() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    show();
  });
}

function clear() {
  shown = status = null;
  earlier = [];
  fail(null);
  find("#video").removeAttribute("aria-invalid");
  find("#progress").hidden = true;
  find("#all-tools").dataset.key = "";
  find("#results").replaceChildren();
  find("#progress tbody").replaceChildren();
  say("");
}

function take(analysis, live) {
  // An event that was on its way when the analysis ended is older than what is shown.
  const ended = shown?.analysis.session === analysis.session && shown.analysis.state !== "running";
  if (ended && analysis.state === "running") return;
  if (shown?.analysis.session !== analysis.session) {
    shown = { times: new Times(analysis.session), results: new Results(find("#results"), again) };
  }
  Object.assign(shown, { analysis: merged(analysis), live: live && analysis.state === "running", received: performance.now() });
  shown.times.note(analysis, live);
  render();
}

const busy = (mine) => {
  going = mine;
  find("#start").disabled = Boolean(mine);
  find("#stop").disabled = !mine;
};

/** Run an action with the buttons set; `work` gets its AbortController. */
async function run(work) {
  going?.abort();
  const mine = new AbortController();
  busy(mine);
  clear();
  try {
    await work(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof Refused) refused(error);
    else fail(() => t(shown?.analysis.state === "running" ? "disconnected" : "unreachable"));
  } finally {
    if (going === mine) {
      busy(null);
      if (shown) shown.live = false;
      render();
    }
  }
}

async function watch(session, signal) {
  for await (const analysis of follow(session, signal)) {
    status = analysis ? null : () => t("reconnecting");
    if (analysis) take(analysis, true);
    else render();
  }
}

/** The request that the form describes; empty fields are left out. */
function wanted() {
  const given = new FormData(form);
  const text = (name) => given.get(name)?.trim() || undefined;
  const tasks = given.getAll("tasks");
  const own = text("summary_prompt");
  const amount = (name) => (text(name) ? Number(text(name)) : undefined);
  return {
    video: text("video"),
    tasks: tasks.length ? tasks : ["analysis"],
    styles: tasks.length ? (own ? ["plot_detail"] : given.getAll("styles")) : undefined,
    language: text("language"),
    vlm_model: text("vlm_model"),
    llm_model: text("llm_model"),
    extra_info: text("extra_info"),
    caption_prompt: text("caption_prompt"),
    summary_prompt: own,
    snapshot_interval: amount("snapshot_interval"),
    titles: amount("titles"),
    clip_seconds: amount("clip_seconds"),
  };
}

/** Start an analysis and show it to its end. */
function launch(request) {
  return run(async (signal) => {
    find("#progress").hidden = false;
    say(t("starting"));
    if (find("#outcome").getBoundingClientRect().top > innerHeight * 0.7) find("#progress").scrollIntoView();
    let analysis;
    try {
      analysis = await start(request);
    } finally {
      if (!signal.aborted) find("#progress").hidden = true;
    }
    if (signal.aborted) await stop(analysis.session); // stopped before it began
    signal.throwIfAborted();
    history.pushState(null, "", `#session=${analysis.session}`);
    address.set(analysis.session, request.video);
    const found = await before(analysis);
    signal.throwIfAborted();
    earlier = found;
    take(analysis, true);
    await watch(analysis.session, signal);
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = wanted();
  if (request.styles && !request.styles.length) fail(() => t("noTask"));
  else launch(request);
});

/** Make a result again, with the form as it is now; the other results stay. */
function again({ task }) {
  const { task: name, session } = shown.analysis;
  const { styles, ...request } = wanted();
  launch({ ...request, tasks: [task], styles: task === "summary" ? styles : undefined, task: name, base: session });
}

find("#stop").addEventListener("click", async () => {
  const mine = going;
  if (!shown) {
    mine?.abort();
    clear();
    busy(null);
    return;
  }
  find("#stop").disabled = true;
  try {
    take(await stop(shown.analysis.session), true);
  } catch (error) {
    refused(error);
    find("#stop").disabled = going !== mine;
  }
});

/** The typed address of a video, for a reload of the tab: the service shows addresses without their signatures. */
const address = {
  get: (session) => sessionStorage.getItem(`lvqa.video.${session}`),
  set: (session, video) => sessionStorage.setItem(`lvqa.video.${session}`, video),
};

/** The analyses that an analysis builds on, the latest first. */
async function before({ asked }) {
  const found = [];
  for (let base = asked.base; base && found.length < MOST_EARLIER; base = found.at(-1).asked.base) {
    const analysis = await read(base).catch(() => null); // kept no longer
    if (!analysis) break;
    found.push(analysis);
  }
  return found;
}

/** An analysis with the results of earlier ones for the tasks that it does not make. */
function merged(analysis) {
  const all = { ...analysis, tasks: [...analysis.tasks], results: [...analysis.results] };
  for (const each of earlier) {
    const kept = each.results.filter(({ task, failure }) => !all.tasks.includes(task) && !failure);
    all.results.push(...kept);
    all.tasks.push(...new Set(kept.map(({ task }) => task)));
  }
  return all;
}

/** Show the analysis that the address names, running or not. */
function open() {
  const session = SESSION.exec(location.hash)?.[1];
  if (!session || session === shown?.analysis.session) return;
  run(async (signal) => {
    const analysis = await read(session);
    const found = await before(analysis);
    signal.throwIfAborted(); // another one is shown meanwhile
    for (const [name, value] of Object.entries(analysis.asked)) fill(name, value);
    find("#video").value = address.get(session) ?? analysis.asked.video ?? "";
    earlier = found;
    take(analysis, analysis.state === "running");
    if (analysis.state === "running") await watch(session, signal);
  });
}

function fill(name, value) {
  const fields = form.querySelectorAll(`[name="${CSS.escape(name)}"]`);
  for (const field of fields) {
    if (field.type === "checkbox") field.checked = value.includes(field.value);
    else field.value = value ?? "";
    if (value !== null && field.closest("details")) field.closest("details").open = true;
  }
  if (name === "tasks") adapt();
}

/** The styles matter only for results that use the summary, and not with a prompt of one's own. */
function adapt() {
  const used = form.querySelector("[name=tasks]:checked") && !form.elements.summary_prompt.value.trim();
  find("#styles").disabled = !used;
}

/** Hints that depend on the service's settings. */
function hints() {
  find("#video-hint").textContent = offered
    ? t("videoHint", { gb: number(offered.limits.max_gb, offered.limits.max_gb % 1 ? 2 : 0), minutes: number(offered.limits.max_minutes) })
    : "";
  find("#language").placeholder = offered?.language || t("languageUsual");
  find("#interval").placeholder = offered?.snapshot_interval ?? t("usual");
  for (const name of ["titles", "clip_seconds"]) form.elements[name].placeholder = t("usual");
  for (const role of ["vlm", "llm"]) find(`#${role}`).placeholder = offered?.models[role][0] ?? "";
}

async function offer() {
  try {
    offered = await settings();
  } catch (error) {
    if (error.status === 401) askToken(Boolean(token.get()));
    return;
  }
  if (!token.get()) find("#token-field").hidden = true;
  for (const field of form.querySelectorAll("details .field")) {
    field.hidden = !offered.fields.includes(field.querySelector("[name]").name);
  }
  for (const role of ["vlm", "llm"]) {
    find(`#${role}-models`).replaceChildren(...offered.models[role].map((model) => new Option(model)));
  }
  for (const button of document.querySelectorAll("[data-prompt]")) button.hidden = false;
  hints();
}

for (const button of document.querySelectorAll("[data-prompt]")) {
  button.addEventListener("click", () => {
    const caption = button.dataset.prompt === "caption";
    const style = form.querySelector("[name=styles]:checked")?.value ?? "plot_detail";
    const field = form.elements[caption ? "caption_prompt" : "summary_prompt"];
    field.value = caption ? offered.prompts.caption : offered.prompts.summary[style];
    field.focus();
    adapt();
  });
}

find("#token").value = token.get();
if (token.get()) askToken(false);
find("#token").addEventListener("input", (event) => token.set(event.target.value.trim()));
find("#token").addEventListener("change", () => offer().then(open));
form.addEventListener("input", adapt);
find("#ui-language").value = language();
find("#ui-language").addEventListener("change", (event) => {
  choose(event.target.value);
  hints();
  show();
  find("#error").say && fail(find("#error").say);
});
addEventListener("hashchange", open);
setInterval(() => shown?.live && showTimes(), 500);

translatePage();
adapt();
hints();
offer().finally(() => {
  open();
  document.documentElement.dataset.ready = "";
});

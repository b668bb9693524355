// The list of the report: filters, order, selection and export; then keys, links and the start.
// An entry: [video, question or -1, id, fate, category, failed checks, check that dropped it, kind of failure, title, text,
// score by check, reason for the drop, kind of answer]
const FILM = 0, QUESTION = 1, ID = 2, FATE = 3, CATEGORY = 4, FAULTS = 5, DROP = 6, FAILURE = 7, TITLE = 8, TEXT = 9, SCORES = 10, WHY = 11, KIND = 12;
const AT_ONCE = 200;
const selects = { fate: $("by-fate"), category: $("by-category"), kind: $("by-kind"), check: $("by-check"), failure: $("by-failure") };
const bounds = { least: $("least"), most: $("most") };
let entries = [], shown = [], current = -1, limit = AT_ONCE, ranks = [];
const selected = new Set();

function fill(select, all, counts) {
  const options = [...counts].sort((a, b) => b[1] - a[1]).map(([value, n]) => h("option", { value }, `${value} (${count(n)})`));
  select.replaceChildren(h("option", { value: "" }, all), ...options);
  select.hidden = counts.size === 0;
}

function tally(of) {
  const counts = new Map();
  for (const entry of entries) for (const value of of(entry)) counts.set(value, (counts.get(value) || 0) + 1);
  return counts;
}

const fates = (entry) => (entry[FATE] === "kept" && entry[FAULTS].length ? ["kept", "marked"] : [entry[FATE]]);
const faults = (entry) => (entry[DROP] ? [...new Set([...entry[FAULTS], entry[DROP]])] : entry[FAULTS]);

// ---- order ----
/** Random ranks. The first order is the same whenever the page is opened, so that two people see the same records first. */
function shuffle(seed) {
  let state = seed;
  const random = () => { // mulberry32, public domain
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  ranks = entries.map(random);
}

function sort() {
  const [by, check] = [$("sort").value.split(":")[0], $("sort").value.replace(/^[^:]*:?/, "")];
  $("shuffle").hidden = by !== "random";
  if (by === "random") shown.sort((a, b) => ranks[a] - ranks[b]);
  if (by !== "low" && by !== "high") return;
  const of = (number) => entries[number][SCORES][check] ?? (by === "low" ? Infinity : -Infinity);
  shown.sort((a, b) => (by === "low" ? of(a) - of(b) : of(b) - of(a)) || a - b); // without a score: last
}

function offerScores() {
  const scored = tally((entry) => Object.keys(entry[SCORES]));
  fill($("by-score"), "Any score", scored);
  const group = (label, by) => [...scored.keys()].map((check) => h("option", { value: `${by}:${check}` }, `${check}: ${label}`));
  $("sort").append(...group("lowest score first", "low"), ...group("highest score first", "high"));
}

/** Whether a score is within the bounds; an empty bound is none. */
function within(score) {
  const [least, most] = [bounds.least.value, bounds.most.value];
  return score !== undefined && (least === "" || score >= Number(least)) && (most === "" || score <= Number(most));
}

// ---- the list ----
function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const want = Object.fromEntries(Object.entries(selects).map(([name, select]) => [name, select.value]));
  const score = $("by-score").value;
  $("bounds").hidden = !score;
  shown = [];
  entries.forEach((entry, number) => {
    if (want.fate && !fates(entry).includes(want.fate)) return;
    if (want.category && entry[CATEGORY] !== want.category) return;
    if (want.kind && entry[KIND] !== want.kind) return;
    if (want.check && !faults(entry).includes(want.check)) return;
    if (want.failure && entry[FAILURE] !== want.failure) return;
    if (score && !within(entry[SCORES][score])) return;
    if (words.every((word) => entry[TEXT].includes(word))) shown.push(number);
  });
  sort();
  limit = AT_ONCE;
  const all = shown.length === entries.length;
  $("count").textContent = all ? `${count(entries.length)} entries` : `${count(shown.length)} of ${count(entries.length)}`;
  $("reset").hidden = all;
  draw();
}

function draw() {
  const by = /^(?:low|high):(.*)/s.exec($("sort").value)?.[1] || $("by-score").value;
  const rows = shown.slice(0, limit).map((number) => {
    const entry = entries[number], chips = [], score = entry[SCORES][by];
    if (entry[FATE] === "dropped") chips.push(h("span", { class: "chip" }, `dropped: ${entry[DROP]}`));
    if (entry[FATE] === "failed") chips.push(h("span", { class: "chip bad" }, entry[FAILURE]));
    if (entry[FATE] === "analyzed") chips.push(...entry[FAULTS].map((task) => h("span", { class: "chip bad" }, task)));
    if (entry[FATE] === "kept") chips.push(...entry[FAULTS].map((check) => h("span", { class: "chip warn" }, check)));
    if (score !== undefined) chips.push(h("span", { class: "num" }, `${by} ${+score.toFixed(3)}`));
    return h("div", { class: "item" },
      h("label", {}, h("input", { type: "checkbox", "aria-label": `Select ${entry[ID]}`, "data-select": number, checked: selected.has(number), onchange: (event) => choose(number, event.target.checked) })),
      h("button", { type: "button", "data-entry": number, "aria-current": String(number === current), onclick: () => open(number, true) },
        h("div", { class: "stem" }, entry[TITLE]),
        entry[WHY] && h("div", { class: "why" }, entry[WHY]),
        h("div", { class: "meta" }, h("span", {}, entry[ID]), entry[CATEGORY] && h("span", {}, "· " + entry[CATEGORY]), entry[KIND] && entry[KIND] !== "choice" && h("span", {}, "· " + entry[KIND]), chips)));
  });
  if (!rows.length) rows.push(h("p", {}, entries.length ? "No match. Remove a word or a filter." : "There is nothing to show."));
  if (shown.length > limit) rows.push(h("button", { type: "button", onclick: () => { limit += AT_ONCE; draw(); } }, `Show more (${count(shown.length - limit)} left)`));
  $("list").replaceChildren(...rows);
  drawSelection();
}

function step(by) {
  const place = shown.indexOf(current), next = shown[place < 0 ? 0 : place + by];
  if (next !== undefined) open(next, false);
}

// ---- selection and export ----
function choose(number, on) {
  if (on) selected.add(number);
  else selected.delete(number);
  const box = $("list").querySelector(`[data-select="${number}"]`);
  if (box) box.checked = on;
  drawSelection();
}

function drawSelection() {
  $("chosen").textContent = selected.size ? `${count(selected.size)} selected` : "None selected";
  $("select-shown").textContent = `Select these ${count(shown.length)}`;
  $("select-shown").hidden = !shown.some((number) => !selected.has(number));
  for (const id of ["select-none", "save-jsonl", "save-ids"]) $(id).hidden = !selected.size;
}

/** A selected entry as one JSON object, without prompts and pictures. */
async function exported(number) {
  const entry = entries[number];
  if (!films.has(entry[FILM])) films.set(entry[FILM], await unpack(`film-${entry[FILM]}`));
  const film = films.get(entry[FILM]), question = film.questions[entry[QUESTION]];
  const line = { id: entry[ID], video_id: film.id, video: film.video, outcome: entry[FATE] };
  if (!question) return { ...line, failure: film.failure || undefined, results: film.results };
  const { category, question: asked, options, answer, steps, prose, checks, drop } = question;
  return { ...line, category, question: asked, options, answer, reasons: steps, prose, checks, drop };
}

function save(name, text) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const inOrder = () => [...selected].sort((a, b) => a - b);
$("select-shown").addEventListener("click", () => { for (const number of shown) selected.add(number); draw(); });
$("select-none").addEventListener("click", () => { selected.clear(); draw(); });
$("save-ids").addEventListener("click", () => save("selected.txt", inOrder().map((number) => `${entries[number][ID]}\n`).join("")));
$("save-jsonl").addEventListener("click", async () => {
  const lines = [];
  for (const number of inOrder()) lines.push(`${JSON.stringify(await exported(number))}\n`);
  save("selected.jsonl", lines.join(""));
});

// ---- keys, links, start ----
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea, video");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    dark(true);
    document.querySelector(".browser").dataset.open = "false";
  } else if (typing) {
    if (event.key === "Enter" && event.target.id === "search" && shown.length) open(shown[0], true);
  } else if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "x" && current >= 0) choose(current, !selected.has(current));
  else if (event.key === "t") turn();
  else if (/^[1-9]$/.test(event.key)) light(Number(event.key) - 1, true);
});
for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    const [kind, value] = [button.dataset.filter.split(":")[0], button.dataset.filter.slice(button.dataset.filter.indexOf(":") + 1)];
    reset();
    if (kind === "failed") selects.failure.value = value;
    else { selects.check.value = value; selects.fate.value = kind === "dropped" ? "dropped" : ""; }
    search();
    $("records").scrollIntoView();
    if (shown.length) open(shown[0], false);
  });
}
function reset() {
  $("search").value = "";
  for (const input of [...Object.values(selects), $("by-score"), ...Object.values(bounds)]) input.value = "";
}
$("reset").addEventListener("click", () => { reset(); search(); });
$("search").addEventListener("input", search);
for (const select of [...Object.values(selects), $("by-score"), $("sort")]) select.addEventListener("change", search);
for (const bound of Object.values(bounds)) bound.addEventListener("input", search);
$("shuffle").addEventListener("click", () => { shuffle(Date.now()); search(); if (shown.length) open(shown[0], false); });

(async () => {
  if (typeof DecompressionStream === "undefined") {
    $("record").replaceChildren(h("p", {}, "This browser is too old to show the records: it needs one of 2023 or later."));
    return;
  }
  entries = await unpack("index");
  for (const entry of entries) entry[TEXT] = `${entry[ID]}\n${entry[TEXT]}`.toLowerCase();
  fill(selects.fate, "Everything", tally(fates));
  fill(selects.category, "All categories", tally((entry) => (entry[CATEGORY] ? [entry[CATEGORY]] : [])));
  const kinds = tally((entry) => (entry[KIND] ? [entry[KIND]] : []));
  fill(selects.kind, "All kinds of answer", kinds);
  selects.kind.hidden = kinds.size < 2;
  fill(selects.check, "All checks", tally(faults));
  fill(selects.failure, "All failures", tally((entry) => (entry[FAILURE] ? [entry[FAILURE]] : [])));
  offerScores();
  shuffle(1);
  search();
  const linked = entries.findIndex((entry) => "#" + encodeURIComponent(entry[ID]) === location.hash);
  if (linked >= 0) await open(linked, true);
  else if (shown.length) await open(shown[0], false);
  else $("record").replaceChildren(h("p", { class: "soft" }, "There is no record yet."));
  root.dataset.ready = "true";
})();

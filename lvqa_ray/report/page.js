// Text from models and files is inserted by textContent only, never by innerHTML.
const $ = (id) => document.getElementById(id);
const root = document.documentElement;

function h(tag, props, ...kids) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, set] of Object.entries(value)) node.style.setProperty(name, set);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const kid of kids.flat(3)) if (kid !== undefined && kid !== null && kid !== false) node.append(kid);
  return node;
}

async function unpack(id) {
  const bytes = Uint8Array.from(atob($(id).textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const clock = (s) => {
  const whole = Math.max(0, Math.round(s)), hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60, seconds = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
};
const hundredths = (s) => { const all = Math.floor(s * 100 + 1e-6); return `${clock(Math.floor(all / 100))}.${String(all % 100).padStart(2, "0")}`; };
// Clips shorter than one second need hundredths.
const stretch = (start, end) => (end - start >= 1 ? `${clock(start)} to ${clock(end)}` : `${hundredths(start)} to ${hundredths(end)}`);
const count = (n) => (n || 0).toLocaleString("en-US");
const dollars = (n) => (n === null || n === undefined ? "not known" : "$" + n.toFixed(n < 0.1 ? 5 : 2));
const percent = (part, whole) => `${Math.max(0, Math.min(100, (100 * part) / whole))}%`;
const hue = (number) => `var(--c${number % 8})`;

// ---- light and dark ----
const kept = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* file:// pages may have no storage */ } },
};
function setTheme(theme) {
  root.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
}
setTheme(kept.get("lvqa-theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
function turn() {
  setTheme(root.dataset.theme === "dark" ? "light" : "dark");
  kept.set("lvqa-theme", root.dataset.theme);
}
$("theme").addEventListener("click", turn);

// ---- the list ----
// An entry: [video, question or -1, id, fate, category, failed checks, check that dropped it, kind of failure, title, text]
const FILM = 0, QUESTION = 1, ID = 2, FATE = 3, CATEGORY = 4, FAULTS = 5, DROP = 6, FAILURE = 7, TITLE = 8, TEXT = 9;
const AT_ONCE = 200;
const selects = { fate: $("by-fate"), category: $("by-category"), check: $("by-check"), failure: $("by-failure") };
let entries = [], shown = [], current = -1, limit = AT_ONCE;

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

function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const want = Object.fromEntries(Object.entries(selects).map(([name, select]) => [name, select.value]));
  shown = [];
  entries.forEach((entry, number) => {
    if (want.fate && !fates(entry).includes(want.fate)) return;
    if (want.category && entry[CATEGORY] !== want.category) return;
    if (want.check && !faults(entry).includes(want.check)) return;
    if (want.failure && entry[FAILURE] !== want.failure) return;
    if (words.every((word) => entry[TEXT].includes(word))) shown.push(number);
  });
  limit = AT_ONCE;
  const all = shown.length === entries.length;
  $("count").textContent = all ? `${count(entries.length)} entries` : `${count(shown.length)} of ${count(entries.length)}`;
  $("reset").hidden = all;
  draw();
}

function draw() {
  const rows = shown.slice(0, limit).map((number) => {
    const entry = entries[number], chips = [];
    if (entry[FATE] === "dropped") chips.push(h("span", { class: "chip" }, `dropped: ${entry[DROP]}`));
    if (entry[FATE] === "failed") chips.push(h("span", { class: "chip bad" }, entry[FAILURE]));
    if (entry[FATE] === "analyzed") chips.push(...entry[FAULTS].map((task) => h("span", { class: "chip bad" }, task)));
    if (entry[FATE] === "kept") chips.push(...entry[FAULTS].map((check) => h("span", { class: "chip warn" }, check)));
    return h("button", { type: "button", "data-entry": number, "aria-current": String(number === current), onclick: () => open(number, true) },
      h("div", { class: "stem" }, entry[TITLE]),
      h("div", { class: "meta" }, h("span", {}, entry[ID]), entry[CATEGORY] && h("span", {}, "· " + entry[CATEGORY]), chips));
  });
  if (!rows.length) rows.push(h("p", {}, entries.length ? "No match. Remove a word or a filter." : "There is nothing to show."));
  if (shown.length > limit) rows.push(h("button", { type: "button", onclick: () => { limit += AT_ONCE; draw(); } }, `Show more (${count(shown.length - limit)} left)`));
  $("list").replaceChildren(...rows);
}

function step(by) {
  const place = shown.indexOf(current), next = shown[place < 0 ? 0 : place + by];
  if (next !== undefined) open(next, false);
}

// ---- keys, links, start ----
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea, video");
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
  for (const select of Object.values(selects)) select.value = "";
}
$("reset").addEventListener("click", () => { reset(); search(); });
$("search").addEventListener("input", search);
for (const select of Object.values(selects)) select.addEventListener("change", search);

(async () => {
  if (typeof DecompressionStream === "undefined") {
    $("record").replaceChildren(h("p", {}, "This browser is too old to show the records: it needs one of 2023 or later."));
    return;
  }
  entries = await unpack("index");
  for (const entry of entries) entry[TEXT] = `${entry[ID]}\n${entry[TEXT]}`.toLowerCase();
  fill(selects.fate, "Everything", tally(fates));
  fill(selects.category, "All categories", tally((entry) => (entry[CATEGORY] ? [entry[CATEGORY]] : [])));
  fill(selects.check, "All checks", tally(faults));
  fill(selects.failure, "All failures", tally((entry) => (entry[FAILURE] ? [entry[FAILURE]] : [])));
  search();
  const linked = entries.findIndex((entry) => "#" + encodeURIComponent(entry[ID]) === location.hash);
  if (linked >= 0) await open(linked, true);
  else if (entries.length) await open(0, false);
  else $("record").replaceChildren(h("p", { class: "soft" }, "There is no record yet."));
  root.dataset.ready = "true";
})();

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

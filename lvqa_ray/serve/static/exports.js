// Exports of results: Markdown, SubRip (SRT), files to download, and the clipboard.

const two = (number) => String(number).padStart(2, "0");

/** A time (ms) as mm:ss, or h:mm:ss from one hour on. */
export function clock(ms) {
  const s = Math.floor(ms / 1000);
  const parts = [two(Math.floor(s / 60) % 60), two(s % 60)];
  return (s >= 3600 ? [Math.floor(s / 3600), ...parts] : parts).join(":");
}

const srtTime = (ms) => {
  const s = Math.floor(ms / 1000);
  return `${two(Math.floor(s / 3600))}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)},${String(ms % 1000).padStart(3, "0")}`;
};

/** Lines (`start_ms`, `end_ms`, `text`) as SubRip. An empty line would end a cue, and an arrow is the syntax of times. */
export function srt(lines) {
  const cues = lines.map(({ start_ms, end_ms, text }, index) => {
    const said = text.split(/\s+/).filter(Boolean).join(" ").replaceAll("-->", "→");
    return `${index + 1}\n${srtTime(start_ms)} --> ${srtTime(Math.max(end_ms, start_ms))}\n${said}\n`;
  });
  return cues.join("\n");
}

// Text of models stays Markdown, but must not become HTML.
const plain = (text) => String(text).replaceAll("<", "\\<");
const list = (items) => items.map((item) => `- ${plain(item).replace(/\s*\n\s*/g, " ")}`).join("\n");
const branches = (node, depth = 0) =>
  [`${"  ".repeat(depth)}- ${plain(node.name)}`, ...(node.children ?? []).map((each) => branches(each, depth + 1))].join("\n");

/** Lines with times as a Markdown list. */
export const markdownLines = (lines) =>
  lines.map(({ start_ms, end_ms, text }) => `- **${clock(start_ms)}–${clock(end_ms)}** ${plain(text)}`).join("\n");

/** A result as Markdown, without a heading. `names` gives the headings of its parts. */
export function markdown(result, names) {
  const { value } = result;
  if (!value) return plain(result.text);
  if (value.titles) return value.titles.map((title, index) => `${index + 1}. ${plain(title)}`).join("\n");
  if (value.name) return branches(value);
  const parts = value.title ? [`### ${plain(value.title)}`] : [];
  const headed = Boolean(value.title);
  for (const part of ["tags", "highlights"]) {
    if (value[part]) parts.push((headed ? `#### ${names[part]}\n\n` : "") + list(value[part]));
  }
  return parts.join("\n\n");
}

/** Save a text as a file. */
export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Copy a text. `navigator.clipboard` exists only on HTTPS and on this machine, hence the second way. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("The browser does not allow it.");
}

/** Name for files about a video: the last part of its address without extension and query. */
export function fileName(uri) {
  const last = uri.split(/[?#]/)[0].split("/").filter(Boolean).pop() ?? "";
  return last.replace(/\.[^.]{1,5}$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) || "video";
}

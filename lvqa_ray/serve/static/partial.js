// Parser for JSON that is still being written: closes what is open.

/**
 * The value of the longest readable beginning of the first JSON value of a text, or `undefined`. Text before the first
 * bracket and after its end is ignored.
 */
export function partialJson(text) {
  const from = text.search(/[{[]/);
  if (from < 0) return undefined;
  const open = [];
  const cuts = []; // places to cut the text if its end cannot be read, with what closes it there
  const closers = () => open.toReversed().join("");
  let quoted = false;
  let end = text.length;
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (quoted) {
      if (character === "\\" && ++at === text.length) end -= 1; // half an escape
      else if (character === '"') quoted = false;
    } else if (character === '"') {
      quoted = true;
    } else if (character === "{" || character === "[") {
      open.push(character === "{" ? "}" : "]");
      cuts.push([at + 1, closers()]);
    } else if (character === "}" || character === "]") {
      open.pop();
      if (!open.length) return parsed(text.slice(from, at + 1));
    } else if (character === ",") {
      cuts.push([at, closers()]);
    }
  }
  const whole = quoted ? `${text.slice(from, end).replace(/\\u[0-9a-f]{0,3}$/i, "")}"` : text.slice(from);
  const attempts = [whole + closers(), ...cuts.slice(-3).reverse().map(([at, close]) => text.slice(from, at) + close)];
  return attempts.map(parsed).find((value) => value !== undefined);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

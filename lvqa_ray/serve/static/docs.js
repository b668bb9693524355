// API reference: renders openapi.json.

import { translatePage } from "./i18n.js";

const main = document.querySelector("main");

const add = (to, name, text) => {
  const made = to.appendChild(document.createElement(name));
  if (text !== undefined) made.textContent = text;
  return made;
};

const resolver = (api) => {
  const resolved = (value) => {
    if (Array.isArray(value)) return value.map(resolved);
    if (value === null || typeof value !== "object") return value;
    if (value.$ref) return resolved(value.$ref.split("/").slice(1).reduce((at, name) => at[name], api));
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolved(inner)]));
  };
  return resolved;
};

translatePage();
const api = await (await fetch("openapi.json")).json();
const resolved = resolver(api);
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const one = add(main, "details");
    one.className = "card";
    const head = add(one, "summary");
    add(head, "b", method.toUpperCase());
    add(head, "code", path);
    add(one, "p", route.description || route.summary || "");
    const parts = { parameters: route.parameters, body: route.requestBody, responses: route.responses };
    for (const [name, part] of Object.entries(parts)) {
      if (!part) continue;
      add(one, "h3", name);
      add(one, "pre", JSON.stringify(resolved(part), null, 2));
    }
  }
}
document.documentElement.dataset.ready = "";

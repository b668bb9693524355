"use strict";
// One record at a time: decisions are stored by the server before the next record is shown.
const element = (id) => document.getElementById(id);
const state = { actions: [], of: 0, at: 0, record: null, step: -1 };

async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: the session has ended on the terminal.");
  }
  const value = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(value.error || `The server answered ${response.status}.`);
  return value;
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] ? parts : parts.slice(1)).map((part) => String(part).padStart(2, "0")).join(":");
}

function add(parent, tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  Object.assign(made, attributes);
  parent.append(made);
  return made;
}

function percent(value) { return `${Math.round(100 * value)} %`; }

async function show(at) {
  state.at = Math.max(0, Math.min(at, state.actions.length - 1));
  state.record = await call(`api/records/${state.at}`);
  state.step = -1;
  close();
  element("problem").textContent = "";
  draw();
  play(0, false);
}

function draw() {
  const { record } = state;
  const { texts } = record;
  const decided = state.actions.filter(Boolean).length;
  element("bar").max = state.actions.length;
  element("bar").value = decided;
  element("count").textContent = `${state.at + 1} of ${state.actions.length}; ${decided} decided`;
  const rates = [["solved", record.solve_rate], ["guessed", record.blind_rate]]
    .filter(([, rate]) => rate !== null).map(([name, rate]) => `${name} ${percent(rate)}`);
  element("about").textContent = [record.id, record.category, record.kind, ...rates].filter(Boolean).join(" · ");
  element("question").textContent = texts.question;
  element("options").replaceChildren();
  for (const [letter, text] of Object.entries(texts.options)) {
    const key = letter === texts.answer;
    add(element("options"), "li", `${letter}. ${text}${key ? " ✓" : ""}`, { className: key ? "key" : "" });
  }
  element("answer").hidden = Object.keys(texts.options).length > 0;
  element("answer").textContent = `Answer: ${texts.answer}`;
  element("reasoning").textContent = texts.reasoning;
  element("faults").replaceChildren();
  for (const fault of record.faults) {
    add(element("faults"), "li", `${fault.check}: ${fault.reason || "failed"} (${fault.action || "marked"})`);
  }
  if (record.action) {
    const words = { accept: "accepted", drop: "dropped", edit: "edited" };
    add(element("faults"), "li", `You ${words[record.action]} this${record.reason ? `: ${record.reason}` : ""}.`);
  }
  for (const button of element("actions").children) {
    button.setAttribute("aria-pressed", String(button.dataset.do === record.action));
    if (button.dataset.do === "undo") button.disabled = !record.action;
  }
  element("steps").replaceChildren();
  record.steps.forEach((step, number) => {
    const item = add(element("steps"), "li", "");
    add(item, "button", `▶ ${clock(step.start)}–${clock(step.end)}`, { type: "button", onclick: () => play(number, true) });
    add(item, "span", ` ${step.reasons.join(" ")}`);
    for (const caption of step.captions) add(item, "div", `Caption: ${caption}`, { className: "caption" });
  });
}

async function play(number, now) {
  const player = element("player");
  if (number >= state.record.steps.length) {
    player.hidden = true;
    return;
  }
  const at = state.at;
  state.step = number;
  [...element("steps").children].forEach((item, index) => item.classList.toggle("playing", index === number));
  const path = `clips/${at}-${number}.mp4`;
  element("no-clip").textContent = "The clip is being cut…";
  element("no-clip").hidden = false;
  player.hidden = true;
  let problem = "";
  try {
    const response = await fetch(path, { headers: { Range: "bytes=0-0" } });
    if (!response.ok) problem = (await response.json().catch(() => ({}))).error || "There is no clip.";
  } catch {
    problem = "The server does not answer.";
  }
  if (at !== state.at || number !== state.step) return; // the reviewer went on
  element("no-clip").hidden = !problem;
  element("no-clip").textContent = problem;
  player.hidden = Boolean(problem);
  if (problem) return;
  player.src = path;
  if (now) player.play().catch(() => {});
}

async function decide(body) {
  element("problem").textContent = "";
  try {
    const { action } = await call(`api/records/${state.at}`, body);
    state.actions[state.at] = action;
    if (body.action === "undo" || body.action === "edit") {
      await show(state.at);
    } else {
      await next();
    }
  } catch (error) {
    element("problem").textContent = error.message;
  }
}

function next() {
  const order = [...state.actions.keys()];
  const after = [...order.slice(state.at + 1), ...order.slice(0, state.at)];
  const open = after.find((n) => !state.actions[n]);
  return show(open === undefined ? state.at : open);
}

function edit() {
  const form = element("editor");
  const { texts } = state.record;
  form.question.value = texts.question;
  form.reasoning.value = texts.reasoning;
  element("edit-options").replaceChildren();
  form.answer.replaceChildren();
  for (const [letter, text] of Object.entries(texts.options)) {
    const label = add(element("edit-options"), "label", `Option ${letter} `);
    add(label, "input", "", { name: `option-${letter}`, value: text });
    add(form.answer, "option", letter, { value: letter, selected: letter === texts.answer });
  }
  element("edit-answer").hidden = !Object.keys(texts.options).length;
  form.hidden = false;
  element("actions").hidden = true;
  form.question.focus();
}

function edited() {
  const form = element("editor");
  const { texts } = state.record;
  const letters = Object.keys(texts.options);
  return {
    question: form.question.value,
    options: Object.fromEntries(letters.map((letter) => [letter, form[`option-${letter}`].value])),
    answer: letters.length ? form.answer.value : texts.answer,
    reasoning: form.reasoning.value,
  };
}

function close() {
  document.activeElement.blur(); // a field keeps the keys until the browser draws the page without it
  element("editor").hidden = element("reasons").hidden = true;
  element("actions").hidden = false;
}

const actions = {
  accept: () => decide({ action: "accept" }),
  drop: () => {
    element("reasons").hidden = false;
    element("actions").hidden = true;
    element("reasons").reason.value = "";
    element("reasons").reason.focus();
  },
  edit,
  undo: () => state.record.action && decide({ action: "undo" }),
  previous: () => show(state.at - 1),
  next: () => show(state.at + 1),
};
const keys = { a: "accept", d: "drop", e: "edit", u: "undo", ArrowLeft: "previous", ArrowRight: "next" };

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { close(); return; }
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (typing) {
    if (event.ctrlKey && event.key === "Enter") event.target.form.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || element("main").hidden || element("actions").hidden) return;
  if (keys[event.key]) {
    event.preventDefault();
    actions[keys[event.key]]();
  } else if (/^[1-9]$/.test(event.key) && Number(event.key) <= state.record.steps.length) {
    play(Number(event.key) - 1, true);
  } else if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "VIDEO") {
    event.preventDefault();
    const player = element("player");
    if (player.paused) player.play().catch(() => {}); else player.pause();
  }
});
element("actions").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) actions[button.dataset.do]();
});
element("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  decide({ action: "edit", after: edited() });
});
element("reasons").addEventListener("submit", (event) => {
  event.preventDefault();
  decide({ action: "drop", reason: element("reasons").reason.value });
});
element("cancel").addEventListener("click", close);
element("keep").addEventListener("click", close);
element("finish").addEventListener("click", async () => {
  try { await call("api/finish", {}); } catch (error) { element("problem").textContent = error.message; return; }
  element("main").hidden = true;
  element("finish").hidden = true;
  element("ended").hidden = false;
});

call("api/queue").then((queue) => {
  Object.assign(state, queue);
  element("main").hidden = false;
  return show(0);
}).catch((error) => { element("count").textContent = error.message; });

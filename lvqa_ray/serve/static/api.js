// Client of the service's plain API: requests, errors, and server-sent events with reconnection.

const TRIES = 6; // consecutive attempts to reconnect, after 1, 2, 4, ... s: about a minute
const TOKEN = "lvqa.token";

/** The bearer token of this tab; sessionStorage forgets it when the tab is closed. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

/** A refusal of the service, or a status that a proxy sent. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const headersFor = (more) => (token.get() ? { ...more, Authorization: `Bearer ${token.get()}` } : more);

async function answered(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headersFor(options.headers ?? {}), cache: "no-store" });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const error = said.error ?? said;
  throw new Refused(answer.status, error.code ?? `HTTP ${answer.status}`, error.message ?? answer.statusText);
}

const json = async (path, options) => (await answered(path, options)).json();

export const settings = () => json("v1/settings");
export const read = (session) => json(`v1/analyses/${encodeURIComponent(session)}`);
export const stop = (session) => json(`v1/analyses/${encodeURIComponent(session)}`, { method: "DELETE" });
export const start = (wanted) =>
  json("v1/analyses", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(wanted),
  });

/** Incremental parser of server-sent events (WHATWG HTML, section 9.2.6): lines may end in CR, LF or CRLF. */
export class EventParser {
  #rest = "";
  #data = [];
  #id = "";

  /** The events that this chunk completes, each with the id and the data. */
  push(chunk) {
    this.#rest += chunk;
    const events = [];
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      // A CR at the end of a chunk may be the first half of CRLF.
      if (end < 0 || (this.#rest[end] === "\r" && end + 1 === this.#rest.length)) return events;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
      if (line) this.#field(line);
      else if (this.#data.length) {
        events.push({ id: this.#id, data: this.#data.join("\n") });
        this.#data = [];
      }
    }
  }

  #field(line) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.#data.push(value ?? "");
    if (name === "id") this.#id = value ?? "";
  }
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

/**
 * Follow an analysis to its end: yields its document after each event, and `null` whenever the connection is lost.
 * Reconnects with the id of the last event; throws the last error if that fails for about a minute.
 */
export async function* follow(session, signal) {
  let since = "0";
  for (let failed = 0; ; ) {
    try {
      const headers = { "Last-Event-ID": since };
      const answer = await answered(`v1/analyses/${encodeURIComponent(session)}/events`, { headers, signal });
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        for (const event of parser.push(value)) {
          const document = JSON.parse(event.data);
          [since, failed] = [event.id || since, 0];
          yield document;
          if (document.state !== "running") return;
        }
      }
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Refused && error.status < 500) {
        if (error.status !== 404) throw error;
        yield await read(session); // over already
        return;
      }
      if (failed >= TRIES) throw error;
    }
    yield null;
    await pause(1000 * 2 ** failed++, signal);
  }
}

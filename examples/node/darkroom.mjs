// A client of Darkroom's HTTP API for Node 20 or newer, and for whatever else has fetch. No
// dependencies: copy it, with darkroom.d.mts beside it for TypeScript.
//
// It is JavaScript with its types in comments, not TypeScript, so that it runs as it stands on
// every Node: before 22 none runs TypeScript without a build. `tsc -p examples/node` checks it.

/** @import * as types from "./darkroom.d.mts" */
/** @import { Account, Job, JobEvent, Options, Order } from "./darkroom.d.mts" */

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const LONGEST_WAIT_SECONDS = 60; // the most that ?wait= takes
// A stream says something every 15 s; after this long without a word the connection is dead.
const SILENCE_SECONDS = 45;
const TRY_AGAIN = new Set([408, 429, 502, 503, 504]);

/** @implements {types.Problem} */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Record<string, unknown>} body
   * @param {number} [retryAfterSeconds]
   */
  constructor(status, body, retryAfterSeconds = 0) {
    const code = String(body.type ?? "about:blank").split(":").at(-1) ?? "";
    const listed = /** @type {{ field: string, message: string }[]} */ (body.errors ?? []);
    const faults = Object.fromEntries(listed.map((one) => [one.field, one.message]));
    const lines = listed.map((one) => `\n  ${one.field}: ${one.message}`).join("");
    super(`${status} ${code}: ${lines || (body.detail ?? body.title ?? "")}`);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.faults = faults;
    this.body = body;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** @implements {types.Darkroom} */
export class Darkroom {
  #url;
  #headers;
  #tries;
  #timeoutSeconds;

  /** @param {Options} [options] */
  constructor({ url, key, tries = 6, timeoutSeconds = 35 } = {}) {
    this.#url = (url ?? "http://127.0.0.1:8080").replace(/\/+$/, "");
    this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
    this.#tries = tries;
    this.#timeoutSeconds = timeoutSeconds;
  }

  /**
   * @param {Order} order
   * @param {string} [idempotencyKey]
   * @returns {Promise<Job>}
   */
  async enqueue(order, idempotencyKey = crypto.randomUUID()) {
    return this.#ask("/v1/jobs", {
      method: "POST",
      body: JSON.stringify(order),
      headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
    });
  }

  /**
   * @param {string} jobId
   * @returns {Promise<Job>}
   */
  async job(jobId) {
    return this.#ask(`/v1/jobs/${encodeURIComponent(jobId)}`);
  }

  /**
   * @param {string} accountId
   * @returns {Promise<Account>}
   */
  async account(accountId) {
    return this.#ask(`/v1/accounts/${encodeURIComponent(accountId)}`);
  }

  /**
   * @param {string} jobId
   * @returns {Promise<Job>}
   */
  async wait(jobId, timeoutSeconds = 600) {
    const deadline = performance.now() + timeoutSeconds * 1000;
    for (;;) {
      const left = Math.max((deadline - performance.now()) / 1000, 0);
      const seconds = Math.min(left, LONGEST_WAIT_SECONDS);
      const path = `/v1/jobs/${encodeURIComponent(jobId)}?wait=${seconds.toFixed(3)}`;
      const job = await this.#ask(path, {}, seconds + this.#timeoutSeconds);
      if (ENDED.has(job.state)) return job;
      if (performance.now() >= deadline) {
        throw new Error(`job ${jobId} is still ${job.state}; it goes on`);
      }
    }
  }

  /**
   * @param {string} jobId
   * @returns {AsyncGenerator<JobEvent, void, void>}
   */
  async *events(jobId, lastEventId = "") {
    const path = `/v1/jobs/${encodeURIComponent(jobId)}/events`;
    let pauseSeconds = 2;
    let failures = 0;
    for (;;) {
      const silence = new Silence(SILENCE_SECONDS);
      try {
        /** @type {Record<string, string>} */
        const headers = lastEventId ? { "Last-Event-ID": lastEventId } : {};
        const response = await this.#open(path, { headers, signal: silence.signal });
        if (response.status === 204 || !response.body) return; // its last event was seen
        for await (const fields of frames(response.body, silence)) {
          failures = 0;
          if (fields.retry) pauseSeconds = Number(fields.retry) / 1000;
          lastEventId = fields.id ?? lastEventId;
          if (!fields.data) continue;
          /** @type {JobEvent} */
          const event = JSON.parse(fields.data);
          yield event;
          if (ENDED.has(event.state)) return;
        }
      } catch (error) {
        failures += 1;
        if (failures >= this.#tries || !mayPass(error)) throw error;
      } finally {
        silence.end(); // a caller that stops reading closes the stream
      }
      await sleep(pauseSeconds);
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<any>}
   */
  async #ask(path, init = {}, timeoutSeconds = this.#timeoutSeconds) {
    for (let failures = 1; ; failures += 1) {
      try {
        const signal = AbortSignal.timeout(timeoutSeconds * 1000);
        const response = await this.#open(path, { ...init, signal });
        return await response.json();
      } catch (error) {
        if (failures >= this.#tries || !mayPass(error)) throw error;
        await sleep(pauseAfter(error, failures));
      }
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #open(path, init) {
    const headers = { ...this.#headers, ...init.headers };
    // The API redirects nowhere, and a key must not be carried elsewhere.
    const response = await fetch(this.#url + path, { ...init, headers, redirect: "error" });
    if (response.ok) return response;
    const text = await response.text();
    const asked = Number(response.headers.get("Retry-After"));
    throw new Problem(response.status, objectIn(text), Number.isFinite(asked) ? asked : 0);
  }
}

/** Gives a connection up that says nothing for too long. */
class Silence {
  #controller = new AbortController();
  #seconds;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {number} seconds */
  constructor(seconds) {
    this.#seconds = seconds;
    this.broken();
  }

  get signal() {
    return this.#controller.signal;
  }

  broken() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#controller.abort(new DOMException("nothing was heard for too long", "TimeoutError"));
    }, this.#seconds * 1000);
  }

  end() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

/**
 * Yields the frames of a stream of Server-Sent Events as fields; comments are left out, and so is
 * what has no blank line behind it: it broke off.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @param {Silence} silence
 */
async function* frames(body, silence) {
  /** @type {Record<string, string>} */
  let fields = {};
  let text = "";
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    silence.broken();
    const lines = (text + decoder.decode(value, { stream: true })).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines.map((one) => one.replace(/\r$/, ""))) {
      if (line === "") {
        if (Object.keys(fields).length > 0) yield fields;
        fields = {};
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const given = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      // Several lines of data are one value.
      const before = name === "data" ? fields.data : undefined;
      fields[name] = before === undefined ? given : `${before}\n${given}`;
    }
  }
}

/**
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : {};
  } catch {
    return {}; // not from Darkroom: a proxy in between
  }
}

/**
 * Whether the same request may be answered soon.
 *
 * @param {unknown} error
 */
function mayPass(error) {
  if (error instanceof Problem) return TRY_AGAIN.has(error.status);
  // No connection or a broken one, silence, half an answer.
  return (
    error instanceof TypeError ||
    error instanceof SyntaxError ||
    (error instanceof Error && error.name === "TimeoutError")
  );
}

/**
 * Longer each time, and never all clients at the same time.
 *
 * @param {unknown} error
 * @param {number} failures
 */
function pauseAfter(error, failures) {
  const asked = error instanceof Problem ? error.retryAfterSeconds : 0;
  return asked + (0.1 + 0.4 * Math.random()) * 2 ** Math.min(failures, 5);
}

/** @param {number} seconds */
function sleep(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

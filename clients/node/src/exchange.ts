// Sends requests, and repeats those that cannot act twice.

import { ApiError, ConnectionFailed, DarkroomError, UnexpectedAnswer } from "./errors.js";
import { pauseAfter, sleep, type RetryPolicy } from "./retries.js";

/** One request. */
export interface Call {
  readonly path: string;
  readonly method?: "GET" | "POST" | "PUT";
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly bytes?: Uint8Array;
  readonly idempotencyKey?: string;
  /** Whether it is sent once, because it could act twice. */
  readonly isSentOnce?: boolean;
  /** How much longer than usual the answer may take. */
  readonly waitSeconds?: number;
  readonly signal?: AbortSignal | undefined;
}

export class Exchange {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor(
    url: string,
    key: string | undefined,
    readonly timeoutSeconds: number,
    readonly retries: RetryPolicy,
  ) {
    const { protocol, username, search, hash } = new URL(url);
    if (!/^https?:$/.test(protocol) || username || search || hash) {
      throw new TypeError(`url: ${url} must be an http:// or https:// URL without user or query`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
  }

  /** Returns the JSON of the answer. */
  async json<T>(call: Call): Promise<T> {
    return this.#repeat(call, async (response) => {
      const text = await answerOf(response);
      try {
        return JSON.parse(text) as T;
      } catch {
        const shown = `status ${response.status} with ${JSON.stringify(text.slice(0, 100))}`;
        throw new UnexpectedAnswer(`${call.method ?? "GET"} ${call.path}: ${shown}`);
      }
    });
  }

  async text(call: Call): Promise<string> {
    return this.#repeat(call, answerOf);
  }

  /** Returns the bytes of the answer, or those behind the link that it names. */
  async bytes(call: Call): Promise<Uint8Array> {
    return this.#repeat(call, async (response) => {
      if (response.status < 300) return new Uint8Array(await response.arrayBuffer());
      const location = response.headers.get("Location");
      if (location === null) throw refusalOf(response, "");
      return this.#download(new URL(location, this.#url + call.path).href);
    });
  }

  /** Returns the bytes behind a link of another host, without sending it the key. */
  async linkedBytes(url: string): Promise<Uint8Array> {
    return this.#repeated({ path: url }, () => this.#download(url));
  }

  /** Opens one request. The answer is not read. */
  async open(call: Call, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      for (const one of [value ?? []].flat()) query.append(name, one);
    }
    const headers: Record<string, string> = { ...this.#headers };
    if (call.json !== undefined) headers["Content-Type"] = "application/json";
    if (call.bytes !== undefined) headers["Content-Type"] = "application/octet-stream";
    if (call.idempotencyKey !== undefined) headers["Idempotency-Key"] = call.idempotencyKey;
    const body = (call.bytes as BodyInit | undefined) ?? (call.json === undefined ? null : JSON.stringify(call.json));
    const asked = query.size > 0 ? `?${query}` : "";
    return this.fetch(this.#url + call.path + asked, {
      method: call.method ?? "GET",
      headers,
      body,
      signal,
      // A redirect is followed without the key, or not at all.
      redirect: "manual",
    });
  }

  /** Fetches, and throws `ApiError` for a refusal, `ConnectionFailed` for want of an answer. */
  async fetch(url: string, init: RequestInit): Promise<Response> {
    const response = await orConnectionFailed(fetch(url, init), init.signal);
    if (response.status < 400) return response;
    throw refusalOf(response, await orConnectionFailed(response.text(), init.signal));
  }

  address(path: string): string {
    return this.#url + path;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  async #repeat<T>(call: Call, read: (response: Response) => Promise<T>): Promise<T> {
    return this.#repeated(call, async () => {
      const timeout = timeoutAfter((call.waitSeconds ?? 0) + this.timeoutSeconds);
      const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
      return orConnectionFailed(read(await this.open(call, signal)), call.signal);
    });
  }

  async #repeated<T>(call: Call, once: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      try {
        return await once();
      } catch (error) {
        if (call.isSentOnce || call.signal?.aborted) throw error;
        await sleep(pauseAfter(error, failures, this.retries), call.signal);
      }
    }
  }

  async #download(url: string): Promise<Uint8Array> {
    const signal = timeoutAfter(this.timeoutSeconds);
    const response = await this.fetch(url, { signal });
    return new Uint8Array(await orConnectionFailed(response.arrayBuffer(), signal));
  }
}

/** Turns fetch's own errors into ours. What the caller aborted is thrown as it is. */
export async function orConnectionFailed<T>(
  answer: Promise<T>,
  signal?: AbortSignal | null,
): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isAborted = signal?.aborted && (error as Error).name === "AbortError";
    if (error instanceof DarkroomError || isAborted || !(error instanceof Error)) throw error;
    const cause = error.cause instanceof Error ? error.cause : error;
    throw new ConnectionFailed(`${error.message}: ${cause.message}`, { cause: error });
  }
}

/** Returns the text of an answer. A redirect is none: the key goes to no other address. */
export async function answerOf(response: Response): Promise<string> {
  const text = await response.text();
  if (response.status >= 300) throw refusalOf(response, text);
  return text;
}

/** Returns the error of a response with this text. */
export function refusalOf(response: Response, text: string): ApiError {
  const asked = response.headers.get("Retry-After") ?? "";
  const location = response.headers.get("Location");
  const isRedirect = response.status < 400 && location !== null;
  return new ApiError(
    response.status,
    isRedirect ? { detail: `redirected to ${location.split("?")[0]}: give the client that URL` } : objectIn(text),
    /^\d+$/.test(asked) ? Number(asked) : undefined,
    response.headers.get("X-Request-Id") ?? undefined,
  );
}

export function timeoutAfter(seconds: number): AbortSignal {
  return AbortSignal.timeout(Math.ceil(seconds * 1000)); // which takes whole numbers alone
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return value && typeof value === "object" ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // not from Darkroom: a proxy in between
  }
}

// Sends requests, and repeats those that cannot act twice.
import { ApiError, ConnectionFailed } from "./errors.js";
import { pauseAfter, sleep } from "./retries.js";
export class Exchange {
    timeoutSeconds;
    retries;
    #url;
    #headers;
    constructor(url, key, timeoutSeconds, retries) {
        this.timeoutSeconds = timeoutSeconds;
        this.retries = retries;
        const { protocol, username, search, hash } = new URL(url);
        if (!/^https?:$/.test(protocol) || username || search || hash) {
            throw new TypeError(`url: ${url} must be an http:// or https:// URL without user or query`);
        }
        this.#url = url.replace(/\/+$/, "");
        this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
    }
    /** Returns the JSON of the answer. */
    async json(call) {
        return this.#repeat(call, async (response) => (await response.json()));
    }
    async text(call) {
        return this.#repeat(call, (response) => response.text());
    }
    /** Returns the bytes of the answer, or those behind the link that it names. */
    async bytes(call) {
        return this.#repeat(call, async (response) => {
            if (response.status < 300)
                return new Uint8Array(await response.arrayBuffer());
            const link = new URL(response.headers.get("Location") ?? "", this.#url + call.path);
            return this.#download(link.href);
        });
    }
    /** Returns the bytes behind a link of another host, without sending it the key. */
    async linkedBytes(url) {
        return this.#repeated({ path: url }, () => this.#download(url));
    }
    /** Opens one request. The answer is not read. */
    async open(call, signal) {
        const query = new URLSearchParams();
        for (const [name, value] of Object.entries(call.query ?? {})) {
            for (const one of [value ?? []].flat())
                query.append(name, one);
        }
        const headers = { ...this.#headers };
        if (call.json !== undefined)
            headers["Content-Type"] = "application/json";
        if (call.bytes !== undefined)
            headers["Content-Type"] = "application/octet-stream";
        if (call.idempotencyKey !== undefined)
            headers["Idempotency-Key"] = call.idempotencyKey;
        const body = call.bytes ?? (call.json === undefined ? null : JSON.stringify(call.json));
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
    async fetch(url, init) {
        const response = await orConnectionFailed(fetch(url, init), init.signal);
        if (response.status < 400)
            return response;
        const text = await orConnectionFailed(response.text(), init.signal);
        const asked = response.headers.get("Retry-After") ?? "";
        throw new ApiError(response.status, objectIn(text), /^\d+$/.test(asked) ? Number(asked) : undefined, response.headers.get("X-Request-Id") ?? undefined);
    }
    address(path) {
        return this.#url + path;
    }
    get headers() {
        return this.#headers;
    }
    async #repeat(call, read) {
        return this.#repeated(call, async () => {
            const timeout = timeoutAfter((call.waitSeconds ?? 0) + this.timeoutSeconds);
            const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
            return orConnectionFailed(read(await this.open(call, signal)), call.signal);
        });
    }
    async #repeated(call, once) {
        for (let failures = 1;; failures += 1) {
            try {
                return await once();
            }
            catch (error) {
                if (call.isSentOnce || call.signal?.aborted)
                    throw error;
                await sleep(pauseAfter(error, failures, this.retries));
            }
        }
    }
    async #download(url) {
        const signal = timeoutAfter(this.timeoutSeconds);
        const response = await this.fetch(url, { signal });
        return new Uint8Array(await orConnectionFailed(response.arrayBuffer(), signal));
    }
}
/** Turns fetch's own errors into ours. What the caller aborted is thrown as it is. */
export async function orConnectionFailed(answer, signal) {
    try {
        return await answer;
    }
    catch (error) {
        const isOurs = error instanceof ApiError || error instanceof ConnectionFailed;
        const isAborted = signal?.aborted && error.name === "AbortError";
        if (isOurs || isAborted || !(error instanceof Error))
            throw error;
        const cause = error.cause instanceof Error ? error.cause : error;
        throw new ConnectionFailed(`${error.message}: ${cause.message}`, { cause: error });
    }
}
function timeoutAfter(seconds) {
    return AbortSignal.timeout(Math.ceil(seconds * 1000)); // which takes whole numbers alone
}
function objectIn(text) {
    try {
        const value = JSON.parse(text);
        return value && typeof value === "object" ? value : {};
    }
    catch {
        return {}; // not from Darkroom: a proxy in between
    }
}

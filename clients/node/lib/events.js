// Follows Server-Sent Events, and resumes a broken stream where it broke.
import { orConnectionFailed, refusalOf } from "./exchange.js";
import { pauseAfter, sleep } from "./retries.js";
// A stream says something every 15 s; after this long without a word the connection is dead.
const SILENCE_SECONDS = 45;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
export async function* follow(exchange, path, lastEventId, 
// A stream of an account has no end: a server that stops ends it after any event.
endsWithJob = true) {
    let pauseSeconds = 2;
    let failures = 0;
    let last;
    for (;;) {
        const silence = new Silence(SILENCE_SECONDS);
        try {
            const headers = { ...exchange.headers };
            if (lastEventId)
                headers["Last-Event-ID"] = lastEventId;
            const response = await exchange.fetch(exchange.address(path), {
                headers,
                signal: silence.signal,
                redirect: "manual",
            });
            if (response.status >= 300)
                throw refusalOf(response, "");
            if (response.status === 204 || !response.body)
                return; // its last event was seen
            for await (const frame of frames(response.body, silence)) {
                failures = 0;
                if (/^\d+$/.test(frame.retry ?? ""))
                    pauseSeconds = Number(frame.retry) / 1000;
                lastEventId = frame.id ?? lastEventId;
                if (frame.data === undefined)
                    continue;
                last = JSON.parse(frame.data);
                yield { ...last, lastEventId: lastEventId ?? "" };
            }
            // A success whose images are being copied is followed by another event.
            const isEnd = last && ENDED.has(last.state) && !("images_due_at" in last.detail);
            if (endsWithJob && isEnd)
                return;
        }
        catch (error) {
            failures += 1;
            await sleep(pauseAfter(error, failures, exchange.retries));
            continue;
        }
        finally {
            silence.end(); // a caller that stops reading closes the stream
        }
        await sleep(pauseSeconds);
    }
}
/** Gives a connection up that says nothing for too long. */
class Silence {
    seconds;
    #controller = new AbortController();
    #timer;
    constructor(seconds) {
        this.seconds = seconds;
        this.broken();
    }
    get signal() {
        return this.#controller.signal;
    }
    broken() {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
            this.#controller.abort(new DOMException("nothing was heard for too long", "TimeoutError"));
        }, this.seconds * 1000);
    }
    end() {
        clearTimeout(this.#timer);
        this.#controller.abort();
    }
}
/** Yields the frames of a stream as fields. Comments are left out, and so is half a frame. */
async function* frames(body, silence) {
    let fields = {};
    let text = "";
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
        const { done, value } = await orConnectionFailed(reader.read(), undefined);
        if (done)
            return;
        silence.broken();
        const lines = (text + decoder.decode(value, { stream: true })).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines.map((one) => one.replace(/\r$/, ""))) {
            if (line === "") {
                if (Object.keys(fields).length > 0)
                    yield fields;
                fields = {};
                continue;
            }
            const colon = line.indexOf(":");
            if (colon === 0)
                continue;
            const name = colon < 0 ? line : line.slice(0, colon);
            const given = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
            // Several lines of data are one value.
            const before = name === "data" ? fields.data : undefined;
            fields[name] = before === undefined ? given : `${before}\n${given}`;
        }
    }
}

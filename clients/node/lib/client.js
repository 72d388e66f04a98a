// The client of Darkroom's HTTP API.
import { readFile } from "node:fs/promises";
import { ApiError } from "./errors.js";
import { follow } from "./events.js";
import { Exchange } from "./exchange.js";
import { Job } from "./job.js";
import { RETRIES } from "./retries.js";
import { waitForEnd } from "./wait.js";
const PAGE_LENGTH = "100";
const UPLOAD_SECONDS = 120;
/**
 * One API and one key. Every method rejects with `ApiError` for a refusal, and with
 * `ConnectionFailed` if no answer came after all tries.
 */
export class Darkroom {
    #exchange;
    #accountId;
    constructor(options = {}) {
        this.#exchange = new Exchange(options.url ?? (process.env.DARKROOM_URL || "http://127.0.0.1:8080"), options.key ?? (process.env.DARKROOM_API_KEY || undefined), options.timeoutSeconds ?? 35, { ...RETRIES, ...options.retries });
        this.#accountId = options.accountId;
    }
    /**
     * Places a job and returns it as it was accepted. Its price is held.
     *
     * The same `idempotencyKey` is the same job, for ever. Without one, the client makes a key,
     * which makes its own retries safe.
     */
    async enqueue(order, options = {}) {
        return this.#job({
            method: "POST",
            path: "/v1/jobs",
            query: { check_images: options.checkImages ? "true" : undefined },
            json: await this.#completed(order),
            idempotencyKey: options.idempotencyKey ?? crypto.randomUUID(),
        });
    }
    /** Places up to 1,000 jobs, all or none, and returns them in the same order. */
    async enqueueMany(orders, options = {}) {
        const completed = [];
        for (const order of orders)
            completed.push(await this.#completed(order));
        const { jobs } = await this.#exchange.json({
            method: "POST",
            path: "/v1/jobs/batch",
            query: { check_images: options.checkImages ? "true" : undefined },
            json: { jobs: completed },
            idempotencyKey: options.idempotencyKey ?? crypto.randomUUID(),
        });
        return jobs.map((one) => new Job(one, this));
    }
    async job(jobId) {
        return this.#job({ path: path("jobs", jobId) });
    }
    /**
     * Returns a job when it has ended. Rejects with `WaitTimedOut`, and the job goes on. The wait also
     * ends when the cancel of the job is requested meanwhile: the job is then returned open. Whatever
     * the API does, the wait ends within 5 s after its timeout.
     */
    async wait(jobId, timeoutSeconds = 600, options = {}) {
        const at = path("jobs", jobId);
        return new Job(await waitForEnd(this.#exchange, jobId, at, timeoutSeconds, options), this);
    }
    /** Yields the jobs that match every filter, newest first, page by page. */
    async *jobs(where = {}) {
        for await (const one of this.#pages("/v1/jobs", "jobs", texts(where))) {
            yield new Job(one, this);
        }
    }
    /** Returns how many jobs match every filter, by state and reason. */
    async count(where = {}) {
        return this.#exchange.json({ path: "/v1/jobs/counts", query: texts(where) });
    }
    /**
     * Cancels a queued job, or requests that of a job at Kie, which Kie's outcome ends. It is sent
     * once: a cancel that is lost on its way may have arrived.
     */
    async cancel(jobId) {
        return this.#job({ method: "POST", path: path("jobs", jobId, "cancel"), isSentOnce: true });
    }
    /** Runs the request of an ended job again. A job has one retry: a second call returns it. */
    async retry(jobId, options = {}) {
        const json = { again: options.again ?? false };
        return this.#job({ method: "POST", path: path("jobs", jobId, "retry"), json });
    }
    /** Cancels up to 1,000 open jobs, by their ids or by filters. */
    async cancelMany(selection, options = {}) {
        return this.#many("cancel", selection, options);
    }
    /** Retries up to 1,000 ended jobs, by their ids or by filters. */
    async retryMany(selection, options = {}) {
        return this.#many("retry", selection, options);
    }
    /** Yields the events of a job, from the start or after that one, until it has ended. */
    events(jobId, lastEventId) {
        return follow(this.#exchange, path("jobs", jobId, "events"), lastEventId);
    }
    /**
     * Yields the events of all jobs of an account, from now on or after that one, without end.
     * `0.0` is the beginning. A resumed stream may repeat events: drop repeats by `id`.
     */
    accountEvents(accountId, lastEventId) {
        const account = path("accounts", this.#account(accountId), "events");
        return follow(this.#exchange, account, lastEventId, false);
    }
    /** Uploads a PNG, a JPEG or a WebP: its path, its `file:` URL, or its bytes. */
    async upload(image, options = {}) {
        return this.#exchange.json({
            method: "POST",
            path: "/v1/files",
            query: { account_id: options.accountId ?? this.#accountId },
            bytes: image instanceof Uint8Array ? image : await readFile(image),
            waitSeconds: UPLOAD_SECONDS,
        });
    }
    async file(fileId) {
        return this.#exchange.json({ path: path("files", fileId) });
    }
    /**
     * Returns the bytes of one image of a job; the first has the number 1. They come from the copy
     * that Darkroom keeps, or else from Kie's link. The key is sent to the API alone.
     */
    async download(jobId, number = 1) {
        try {
            return await this.#exchange.bytes({ path: path("jobs", jobId, "images", String(number)) });
        }
        catch (error) {
            if (!(error instanceof ApiError) || error.code !== "not_found")
                throw error;
            const link = (await this.job(jobId)).result_urls[number - 1];
            if (link === undefined)
                throw error;
            return this.#exchange.linkedBytes(link);
        }
    }
    /** Returns every price in force. */
    async prices() {
        return (await this.#exchange.json({ path: "/v1/prices" })).prices;
    }
    /**
     * Says what an order would cost and when it would be submitted. Nothing is placed or held, but
     * local images are uploaded.
     */
    async quote(order) {
        return this.#exchange.json({
            method: "POST",
            path: "/v1/quote",
            json: await this.#completed(order),
        });
    }
    /** Returns the credits of an account. */
    async account(accountId) {
        return this.#exchange.json({ path: path("accounts", this.#account(accountId)) });
    }
    /** Yields every movement of credits of an account, newest first, page by page. */
    ledger(accountId) {
        return this.#pages(path("accounts", this.#account(accountId), "ledger"), "entries", {});
    }
    /** Returns what changed the balance in a period, by month, with up to 1,000 lines. */
    async statement(accountId, period = {}) {
        return this.#exchange.json({
            path: path("accounts", this.#account(accountId), "statement"),
            query: { ...texts(period), limit: "1000" },
        });
    }
    /** Returns the lines of a statement as CSV. */
    async statementCsv(accountId, period = {}) {
        const account = path("accounts", this.#account(accountId), "statement.csv");
        return this.#exchange.text({ path: account, query: texts(period) });
    }
    /** Yields webhook messages, newest first, page by page. */
    webhooks(where = {}) {
        const { accountId, jobId, state } = where;
        return this.#pages(path("webhooks"), "webhooks", {
            account_id: accountId,
            job_id: jobId,
            state,
        });
    }
    /** Returns a webhook message with each of its tries. */
    async webhook(messageId) {
        return this.#exchange.json({ path: path("webhooks", messageId) });
    }
    /** Sends a webhook message again, with the same id and another day of tries. */
    async replayWebhook(messageId) {
        return this.#exchange.json({ method: "POST", path: path("webhooks", messageId, "replay") });
    }
    /**
     * Returns the secret that signs all webhooks of an account, or those to a URL. With `create` it
     * is made where there is none.
     */
    async webhookSecret(url, options = {}) {
        return this.#exchange.json({
            method: options.create ? "PUT" : "GET",
            path: path("accounts", this.#account(options.accountId), "webhook-secret"),
            query: { url },
        });
    }
    /** Replaces a secret and returns the new one. The old one signs as well for a day. */
    async rotateWebhookSecret(url, accountId) {
        return this.#exchange.json({
            method: "POST",
            path: path("accounts", this.#account(accountId), "webhook-secret", "rotate"),
            query: { url },
            isSentOnce: true,
        });
    }
    /** Ends the secret of the account at once. Those of its URLs stay. */
    async revokeWebhookSecret(accountId) {
        return this.#exchange.json({
            method: "POST",
            path: path("accounts", this.#account(accountId), "webhook-secret", "revoke"),
            isSentOnce: true,
        });
    }
    async #job(call) {
        return new Job(await this.#exchange.json(call), this);
    }
    async *#pages(at, name, query) {
        let cursor;
        do {
            const page = await this.#exchange.json({
                path: at,
                query: { ...query, limit: PAGE_LENGTH, cursor },
            });
            yield* page[name];
            cursor = page.next_cursor ?? undefined;
        } while (cursor !== undefined);
    }
    async #many(action, selection, options) {
        const chosen = Array.isArray(selection)
            ? { ids: selection }
            : { where: texts(selection) };
        return this.#exchange.json({
            method: "POST",
            path: path("jobs", action),
            json: {
                ...chosen,
                dry_run: options.dryRun ?? false,
                cursor: options.cursor,
                again: options.again,
            },
        });
    }
    #account(accountId) {
        const name = accountId ?? this.#accountId;
        if (name === undefined)
            throw new TypeError("name the account, here or once as `accountId`");
        return name;
    }
    /** Returns the order with the account of the client, the task that its images imply, and URLs. */
    async #completed(order) {
        const given = order;
        const completed = {
            account_id: this.#accountId,
            task: "image_urls" in given ? "image-to-image" : "text-to-image",
            ...given,
        };
        const accountId = completed.account_id;
        const asUrl = async (source) => {
            const isLocal = source instanceof Uint8Array || (source instanceof URL && source.protocol === "file:");
            if (isLocal)
                return (await this.upload(source, { accountId })).url;
            return source instanceof URL ? source.href : source;
        };
        if (Array.isArray(completed.image_urls)) {
            const urls = [];
            for (const one of completed.image_urls)
                urls.push(await asUrl(one));
            completed.image_urls = urls;
        }
        if ("mask_url" in completed)
            completed.mask_url = await asUrl(completed.mask_url);
        return completed;
    }
}
function path(...parts) {
    return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}
/** Returns filters as the API takes them. */
function texts(where) {
    const entries = Object.entries(where);
    return Object.fromEntries(entries.map(([name, value]) => [name, text(value)]));
}
function text(value) {
    if (value === undefined || value === null)
        return undefined;
    if (value instanceof Date)
        return value.toISOString();
    if (Array.isArray(value))
        return value.join(",");
    if (typeof value === "object") {
        return Object.entries(value).map(([name, one]) => `${name}=${String(one)}`).join(",");
    }
    return String(value);
}

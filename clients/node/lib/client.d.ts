import { type JobEvent } from "./events.js";
import { Job } from "./job.js";
import type { Account, BulkResult, File, JobCounts, JobState, LedgerEntry, Order, Price, Priority, Quote, RevokedWebhookSecret, Statement, WebhookDelivery, WebhookSecret, WebhookWithTries } from "./models.js";
import { type RetryPolicy } from "./retries.js";
import { type WaitOptions } from "./wait.js";
export interface Options {
    /** Where the API is. Default: `DARKROOM_URL`, or http://127.0.0.1:8080. */
    readonly url?: string | undefined;
    /** The API key. Default: `DARKROOM_API_KEY`, or none. */
    readonly key?: string | undefined;
    /** The account of orders and reads that name none. A service key has its own. */
    readonly accountId?: string | undefined;
    /** How long one answer may take, beside the time of `wait`. Default: 35. */
    readonly timeoutSeconds?: number;
    readonly retries?: Partial<RetryPolicy>;
}
/** A public URL, or what is uploaded first: a `file:` URL, or the bytes of an image. */
export type ImageSource = string | URL | Uint8Array;
type WithSources<T> = {
    [K in keyof T]: K extends "image_urls" ? readonly ImageSource[] : K extends "mask_url" ? ImageSource | null : T[K];
};
type WithoutTask<T> = T extends {
    task: string;
} ? Omit<T, "task"> & Partial<Pick<T, "task">> : T;
/** An order. Without `task`, it is image-to-image if it has `image_urls`, else text-to-image. */
export type OrderInput = Order extends infer T ? T extends Order ? WithSources<WithoutTask<T>> : never : never;
/** Which jobs are listed, counted, cancelled or retried. A job must match every filter. */
export interface JobFilter {
    readonly account_id?: string;
    readonly state?: JobState | readonly JobState[];
    readonly reason?: string;
    readonly model?: string;
    readonly task?: string;
    readonly priority?: Priority;
    readonly created_from?: Date | string;
    readonly created_to?: Date | string;
    readonly provider_task_id?: string;
    readonly idempotency_key?: string;
    /** One key of the metadata with its value. */
    readonly metadata?: Readonly<Record<string, string | number>>;
    readonly retried?: boolean;
    readonly scheduled?: boolean;
    readonly id?: string;
}
export interface Period {
    readonly from?: Date | string;
    readonly to?: Date | string;
}
/**
 * One API and one key. Every method rejects with `ApiError` for a refusal, and with
 * `ConnectionFailed` if no answer came after all tries.
 */
export declare class Darkroom {
    #private;
    constructor(options?: Options);
    /**
     * Places a job and returns it as it was accepted. Its price is held.
     *
     * The same `idempotencyKey` is the same job, for ever. Without one, the client makes a key,
     * which makes its own retries safe.
     */
    enqueue(order: OrderInput, options?: {
        idempotencyKey?: string | undefined;
        checkImages?: boolean;
    }): Promise<Job>;
    /** Places up to 1,000 jobs, all or none, and returns them in the same order. */
    enqueueMany(orders: readonly OrderInput[], options?: {
        idempotencyKey?: string | undefined;
        checkImages?: boolean;
    }): Promise<Job[]>;
    job(jobId: string): Promise<Job>;
    /**
     * Returns a job when it has ended. Rejects with `WaitTimedOut`, and the job goes on. The wait also
     * ends when the cancel of the job is requested meanwhile: the job is then returned open. Whatever
     * the API does, the wait ends within 5 s after its timeout.
     */
    wait(jobId: string, timeoutSeconds?: number, options?: WaitOptions): Promise<Job>;
    /** Yields the jobs that match every filter, newest first, page by page. */
    jobs(where?: JobFilter): AsyncGenerator<Job, void, void>;
    /** Returns how many jobs match every filter, by state and reason. */
    count(where?: JobFilter): Promise<JobCounts>;
    /**
     * Cancels a queued job, or requests that of a job at Kie, which Kie's outcome ends. It is sent
     * once: a cancel that is lost on its way may have arrived.
     */
    cancel(jobId: string): Promise<Job>;
    /** Runs the request of an ended job again. A job has one retry: a second call returns it. */
    retry(jobId: string, options?: {
        again?: boolean;
    }): Promise<Job>;
    /** Cancels up to 1,000 open jobs, by their ids or by filters. */
    cancelMany(selection: readonly string[] | JobFilter, options?: {
        dryRun?: boolean;
        cursor?: string;
    }): Promise<BulkResult>;
    /** Retries up to 1,000 ended jobs, by their ids or by filters. */
    retryMany(selection: readonly string[] | JobFilter, options?: {
        dryRun?: boolean;
        cursor?: string;
        again?: boolean;
    }): Promise<BulkResult>;
    /** Yields the events of a job, from the start or after that one, until it has ended. */
    events(jobId: string, lastEventId?: string): AsyncGenerator<JobEvent, void, void>;
    /**
     * Yields the events of all jobs of an account, from now on or after that one, without end.
     * `0.0` is the beginning. A resumed stream may repeat events: drop repeats by `id`.
     */
    accountEvents(accountId?: string, lastEventId?: string): AsyncGenerator<JobEvent, void, void>;
    /** Uploads a PNG, a JPEG or a WebP: its path, its `file:` URL, or its bytes. */
    upload(image: string | URL | Uint8Array, options?: {
        accountId?: string | undefined;
    }): Promise<File>;
    file(fileId: string): Promise<File>;
    /**
     * Returns the bytes of one image of a job; the first has the number 1. They come from the copy
     * that Darkroom keeps, or else from Kie's link. The key is sent to the API alone.
     */
    download(jobId: string, number?: number): Promise<Uint8Array>;
    /** Returns every price in force. */
    prices(): Promise<Price[]>;
    /**
     * Says what an order would cost and when it would be submitted. Nothing is placed or held, but
     * local images are uploaded.
     */
    quote(order: OrderInput): Promise<Quote>;
    /** Returns the credits of an account. */
    account(accountId?: string): Promise<Account>;
    /** Yields every movement of credits of an account, newest first, page by page. */
    ledger(accountId?: string): AsyncGenerator<LedgerEntry, void, void>;
    /** Returns what changed the balance in a period, by month, with up to 1,000 lines. */
    statement(accountId?: string, period?: Period & {
        cursor?: string;
    }): Promise<Statement>;
    /** Returns the lines of a statement as CSV. */
    statementCsv(accountId?: string, period?: Period): Promise<string>;
    /** Yields webhook messages, newest first, page by page. */
    webhooks(where?: {
        accountId?: string;
        jobId?: string;
        state?: WebhookDelivery["state"];
    }): AsyncGenerator<WebhookDelivery, void, void>;
    /** Returns a webhook message with each of its tries. */
    webhook(messageId: string): Promise<WebhookWithTries>;
    /** Sends a webhook message again, with the same id and another day of tries. */
    replayWebhook(messageId: string): Promise<WebhookDelivery>;
    /**
     * Returns the secret that signs all webhooks of an account, or those to a URL. With `create` it
     * is made where there is none.
     */
    webhookSecret(url?: string, options?: {
        accountId?: string;
        create?: boolean;
    }): Promise<WebhookSecret>;
    /** Replaces a secret and returns the new one. The old one signs as well for a day. */
    rotateWebhookSecret(url?: string, accountId?: string): Promise<WebhookSecret>;
    /** Ends the secret of the account at once. Those of its URLs stay. */
    revokeWebhookSecret(accountId?: string): Promise<RevokedWebhookSecret>;
}
export {};

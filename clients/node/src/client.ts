// The client of Darkroom's HTTP API.

import { readFile } from "node:fs/promises";

import { ApiError } from "./errors.js";
import { follow, type JobEvent } from "./events.js";
import { Exchange, type Call } from "./exchange.js";
import { Job } from "./job.js";
import type {
  Account,
  BulkResult,
  File,
  JobCounts,
  JobFields,
  JobState,
  LedgerEntry,
  Order,
  Price,
  Priority,
  Quote,
  RevokedWebhookSecret,
  Statement,
  WebhookDelivery,
  WebhookSecret,
  WebhookWithTries,
} from "./models.js";
import { RETRIES, type RetryPolicy } from "./retries.js";
import { waitForEnd, type WaitOptions } from "./wait.js";

const PAGE_LENGTH = "100";
const UPLOAD_SECONDS = 120;

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
  [K in keyof T]: K extends "image_urls"
    ? readonly ImageSource[]
    : K extends "mask_url"
      ? ImageSource | null
      : T[K];
};
type WithoutTask<T> = T extends { task: string } ? Omit<T, "task"> & Partial<Pick<T, "task">> : T;

/** An order. Without `task`, it is image-to-image if it has `image_urls`, else text-to-image. */
export type OrderInput = Order extends infer T
  ? T extends Order
    ? WithSources<WithoutTask<T>>
    : never
  : never;

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
export class Darkroom {
  readonly #exchange: Exchange;
  readonly #accountId: string | undefined;

  constructor(options: Options = {}) {
    this.#exchange = new Exchange(
      options.url ?? (process.env.DARKROOM_URL || "http://127.0.0.1:8080"),
      options.key ?? (process.env.DARKROOM_API_KEY || undefined),
      options.timeoutSeconds ?? 35,
      { ...RETRIES, ...options.retries },
    );
    this.#accountId = options.accountId;
  }

  /**
   * Places a job and returns it as it was accepted. Its price is held.
   *
   * The same `idempotencyKey` is the same job, for ever. Without one, the client makes a key,
   * which makes its own retries safe.
   */
  async enqueue(
    order: OrderInput,
    options: { idempotencyKey?: string | undefined; checkImages?: boolean } = {},
  ): Promise<Job> {
    return this.#job({
      method: "POST",
      path: "/v1/jobs",
      query: { check_images: options.checkImages ? "true" : undefined },
      json: await this.#completed(order),
      idempotencyKey: options.idempotencyKey ?? crypto.randomUUID(),
    });
  }

  /** Places up to 1,000 jobs, all or none, and returns them in the same order. */
  async enqueueMany(
    orders: readonly OrderInput[],
    options: { idempotencyKey?: string | undefined; checkImages?: boolean } = {},
  ): Promise<Job[]> {
    const completed = [];
    for (const order of orders) completed.push(await this.#completed(order));
    const { jobs } = await this.#exchange.json<{ jobs: JobFields[] }>({
      method: "POST",
      path: "/v1/jobs/batch",
      query: { check_images: options.checkImages ? "true" : undefined },
      json: { jobs: completed },
      idempotencyKey: options.idempotencyKey ?? crypto.randomUUID(),
    });
    return jobs.map((one) => new Job(one, this));
  }

  async job(jobId: string): Promise<Job> {
    return this.#job({ path: path("jobs", jobId) });
  }

  /**
   * Returns a job when it has ended. Rejects with `WaitTimedOut`, and the job goes on. The wait also
   * ends when the cancel of the job is requested meanwhile: the job is then returned open. Whatever
   * the API does, the wait ends within 5 s after its timeout.
   */
  async wait(jobId: string, timeoutSeconds = 600, options: WaitOptions = {}): Promise<Job> {
    const at = path("jobs", jobId);
    return new Job(await waitForEnd(this.#exchange, jobId, at, timeoutSeconds, options), this);
  }

  /** Yields the jobs that match every filter, newest first, page by page. */
  async *jobs(where: JobFilter = {}): AsyncGenerator<Job, void, void> {
    for await (const one of this.#pages<JobFields>("/v1/jobs", "jobs", texts(where))) {
      yield new Job(one, this);
    }
  }

  /** Returns how many jobs match every filter, by state and reason. */
  async count(where: JobFilter = {}): Promise<JobCounts> {
    return this.#exchange.json({ path: "/v1/jobs/counts", query: texts(where) });
  }

  /**
   * Cancels a queued job, or requests that of a job at Kie, which Kie's outcome ends. It is sent
   * once: a cancel that is lost on its way may have arrived.
   */
  async cancel(jobId: string): Promise<Job> {
    return this.#job({ method: "POST", path: path("jobs", jobId, "cancel"), isSentOnce: true });
  }

  /** Runs the request of an ended job again. A job has one retry: a second call returns it. */
  async retry(jobId: string, options: { again?: boolean } = {}): Promise<Job> {
    const json = { again: options.again ?? false };
    return this.#job({ method: "POST", path: path("jobs", jobId, "retry"), json });
  }

  /** Cancels up to 1,000 open jobs, by their ids or by filters. */
  async cancelMany(
    selection: readonly string[] | JobFilter,
    options: { dryRun?: boolean; cursor?: string } = {},
  ): Promise<BulkResult> {
    return this.#many("cancel", selection, options);
  }

  /** Retries up to 1,000 ended jobs, by their ids or by filters. */
  async retryMany(
    selection: readonly string[] | JobFilter,
    options: { dryRun?: boolean; cursor?: string; again?: boolean } = {},
  ): Promise<BulkResult> {
    return this.#many("retry", selection, options);
  }

  /** Yields the events of a job, from the start or after that one, until it has ended. */
  events(jobId: string, lastEventId?: string): AsyncGenerator<JobEvent, void, void> {
    return follow(this.#exchange, path("jobs", jobId, "events"), lastEventId);
  }

  /**
   * Yields the events of all jobs of an account, from now on or after that one, without end.
   * `0.0` is the beginning. A resumed stream may repeat events: drop repeats by `id`.
   */
  accountEvents(accountId?: string, lastEventId?: string): AsyncGenerator<JobEvent, void, void> {
    const account = path("accounts", this.#account(accountId), "events");
    return follow(this.#exchange, account, lastEventId, false);
  }

  /** Uploads a PNG, a JPEG or a WebP: its path, its `file:` URL, or its bytes. */
  async upload(
    image: string | URL | Uint8Array,
    options: { accountId?: string | undefined } = {},
  ): Promise<File> {
    return this.#exchange.json({
      method: "POST",
      path: "/v1/files",
      query: { account_id: options.accountId ?? this.#accountId },
      bytes: image instanceof Uint8Array ? image : await readFile(image),
      waitSeconds: UPLOAD_SECONDS,
    });
  }

  async file(fileId: string): Promise<File> {
    return this.#exchange.json({ path: path("files", fileId) });
  }

  /**
   * Returns the bytes of one image of a job; the first has the number 1. They come from the copy
   * that Darkroom keeps, or else from Kie's link. The key is sent to the API alone.
   */
  async download(jobId: string, number = 1): Promise<Uint8Array> {
    try {
      return await this.#exchange.bytes({ path: path("jobs", jobId, "images", String(number)) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "not_found") throw error;
      const link = (await this.job(jobId)).result_urls[number - 1];
      if (link === undefined) throw error;
      return this.#exchange.linkedBytes(link);
    }
  }

  /** Returns every price in force. */
  async prices(): Promise<Price[]> {
    return (await this.#exchange.json<{ prices: Price[] }>({ path: "/v1/prices" })).prices;
  }

  /**
   * Says what an order would cost and when it would be submitted. Nothing is placed or held, but
   * local images are uploaded.
   */
  async quote(order: OrderInput): Promise<Quote> {
    return this.#exchange.json({
      method: "POST",
      path: "/v1/quote",
      json: await this.#completed(order),
    });
  }

  /** Returns the credits of an account. */
  async account(accountId?: string): Promise<Account> {
    return this.#exchange.json({ path: path("accounts", this.#account(accountId)) });
  }

  /** Yields every movement of credits of an account, newest first, page by page. */
  ledger(accountId?: string): AsyncGenerator<LedgerEntry, void, void> {
    return this.#pages(path("accounts", this.#account(accountId), "ledger"), "entries", {});
  }

  /** Returns what changed the balance in a period, by month, with up to 1,000 lines. */
  async statement(accountId?: string, period: Period & { cursor?: string } = {}): Promise<Statement> {
    return this.#exchange.json({
      path: path("accounts", this.#account(accountId), "statement"),
      query: { ...texts(period), limit: "1000" },
    });
  }

  /** Returns the lines of a statement as CSV. */
  async statementCsv(accountId?: string, period: Period = {}): Promise<string> {
    const account = path("accounts", this.#account(accountId), "statement.csv");
    return this.#exchange.text({ path: account, query: texts(period) });
  }

  /** Yields webhook messages, newest first, page by page. */
  webhooks(
    where: { accountId?: string; jobId?: string; state?: WebhookDelivery["state"] } = {},
  ): AsyncGenerator<WebhookDelivery, void, void> {
    const { accountId, jobId, state } = where;
    return this.#pages(path("webhooks"), "webhooks", {
      account_id: accountId,
      job_id: jobId,
      state,
    });
  }

  /** Returns a webhook message with each of its tries. */
  async webhook(messageId: string): Promise<WebhookWithTries> {
    return this.#exchange.json({ path: path("webhooks", messageId) });
  }

  /** Sends a webhook message again, with the same id and another day of tries. */
  async replayWebhook(messageId: string): Promise<WebhookDelivery> {
    return this.#exchange.json({ method: "POST", path: path("webhooks", messageId, "replay") });
  }

  /**
   * Returns the secret that signs all webhooks of an account, or those to a URL. With `create` it
   * is made where there is none.
   */
  async webhookSecret(
    url?: string,
    options: { accountId?: string; create?: boolean } = {},
  ): Promise<WebhookSecret> {
    return this.#exchange.json({
      method: options.create ? "PUT" : "GET",
      path: path("accounts", this.#account(options.accountId), "webhook-secret"),
      query: { url },
    });
  }

  /** Replaces a secret and returns the new one. The old one signs as well for a day. */
  async rotateWebhookSecret(url?: string, accountId?: string): Promise<WebhookSecret> {
    return this.#exchange.json({
      method: "POST",
      path: path("accounts", this.#account(accountId), "webhook-secret", "rotate"),
      query: { url },
      isSentOnce: true,
    });
  }

  /** Ends the secret of the account at once. Those of its URLs stay. */
  async revokeWebhookSecret(accountId?: string): Promise<RevokedWebhookSecret> {
    return this.#exchange.json({
      method: "POST",
      path: path("accounts", this.#account(accountId), "webhook-secret", "revoke"),
      isSentOnce: true,
    });
  }

  async #job(call: Call): Promise<Job> {
    return new Job(await this.#exchange.json<JobFields>(call), this);
  }

  async *#pages<T>(
    at: string,
    name: string,
    query: Record<string, string | undefined>,
  ): AsyncGenerator<T, void, void> {
    let cursor: string | undefined;
    do {
      const page: Record<string, unknown> = await this.#exchange.json({
        path: at,
        query: { ...query, limit: PAGE_LENGTH, cursor },
      });
      yield* page[name] as T[];
      cursor = (page.next_cursor as string | null) ?? undefined;
    } while (cursor !== undefined);
  }

  async #many(
    action: "cancel" | "retry",
    selection: readonly string[] | JobFilter,
    options: { dryRun?: boolean; cursor?: string; again?: boolean },
  ): Promise<BulkResult> {
    const chosen = Array.isArray(selection)
      ? { ids: selection as readonly string[] }
      : { where: texts(selection as JobFilter) };
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

  #account(accountId: string | undefined): string {
    const name = accountId ?? this.#accountId;
    if (name === undefined) throw new TypeError("name the account, here or once as `accountId`");
    return name;
  }

  /** Returns the order with the account of the client, the task that its images imply, and URLs. */
  async #completed(order: OrderInput): Promise<Record<string, unknown>> {
    const given = order as Record<string, unknown>;
    const completed: Record<string, unknown> = {
      account_id: this.#accountId,
      task: "image_urls" in given ? "image-to-image" : "text-to-image",
      ...given,
    };
    const accountId = completed.account_id as string | undefined;
    const asUrl = async (source: unknown): Promise<unknown> => {
      const isLocal =
        source instanceof Uint8Array || (source instanceof URL && source.protocol === "file:");
      if (isLocal) return (await this.upload(source, { accountId })).url;
      return source instanceof URL ? source.href : source;
    };
    if (Array.isArray(completed.image_urls)) {
      const urls = [];
      for (const one of completed.image_urls) urls.push(await asUrl(one));
      completed.image_urls = urls;
    }
    if ("mask_url" in completed) completed.mask_url = await asUrl(completed.mask_url);
    return completed;
  }
}

function path(...parts: string[]): string {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

/** Returns filters as the API takes them. */
function texts(where: object): Record<string, string | undefined> {
  const entries = Object.entries(where) as [string, unknown][];
  return Object.fromEntries(entries.map(([name, value]) => [name, text(value)]));
}

function text(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.join(",");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, one]) => `${name}=${String(one)}`).join(",");
  }
  return String(value);
}

// What darkroom.mjs offers, for TypeScript; editors find this file by its name.

// Written by `make types`:

export type State = Job["state"];

export type Order = Flux1KontextTextToImage | Flux1KontextImageToImage | Gpt4oImageTextToImage | Gpt4oImageImageToImage | GptImage15TextToImage | GptImage15ImageToImage | GptImage2TextToImage | GptImage2ImageToImage | GptImage25TextToImage | GptImage25ImageToImage | Model4oImageApiTextToImage | Model4oImageApiImageToImage;

export interface Flux1KontextTextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "flux1-kontext";
  task: "text-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of jpeg, png */
  output_format?: "jpeg" | "png";
  /** whether Kie refines the prompt */
  enhance_prompt?: boolean;
  /** whether Kie translates the prompt into English, which is needed */
  translate_prompt?: boolean;
  /** a whole number from 0 (strict) to 6 */
  safety_tolerance?: number;
  /** text of 1 to 200 characters that Kie writes on the image */
  watermark?: string | null;
  /** whether to upload through China */
  upload_cn?: boolean;
  /** one of 21:9, 16:9, 4:3, 1:1, 3:4, 9:16 */
  aspect_ratio?: "21:9" | "16:9" | "4:3" | "1:1" | "3:4" | "9:16";
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Flux1KontextImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "flux1-kontext";
  task: "image-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of jpeg, png */
  output_format?: "jpeg" | "png";
  /** whether Kie refines the prompt */
  enhance_prompt?: boolean;
  /** whether Kie translates the prompt into English, which is needed */
  translate_prompt?: boolean;
  /** a whole number from 0 (strict) to 6 */
  safety_tolerance?: number;
  /** text of 1 to 200 characters that Kie writes on the image */
  watermark?: string | null;
  /** whether to upload through China */
  upload_cn?: boolean;
  /** one public http:// or https:// image URL */
  image_urls: Array<string>;
  /** one of 21:9, 16:9, 4:3, 1:1, 3:4, 9:16; left out: that of the image */
  aspect_ratio?: "21:9" | "16:9" | "4:3" | "1:1" | "3:4" | "9:16" | null;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Gpt4oImageTextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model?: "gpt-4o-image";
  task: "text-to-image";
  /** one of 1:1, 3:2, 2:3 */
  aspect_ratio: "1:1" | "3:2" | "2:3";
  /** how many images: 1, 2 or 4 */
  quantity?: 1 | 2 | 4;
  /** whether Kie refines the prompt */
  enhance_prompt?: boolean;
  /** the model to fall back to: GPT_IMAGE_1 or FLUX_MAX */
  fallback_model?: "GPT_IMAGE_1" | "FLUX_MAX" | null;
  /** whether to upload through China */
  upload_cn?: boolean;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Gpt4oImageImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model?: "gpt-4o-image";
  task: "image-to-image";
  /** one of 1:1, 3:2, 2:3 */
  aspect_ratio: "1:1" | "3:2" | "2:3";
  /** how many images: 1, 2 or 4 */
  quantity?: 1 | 2 | 4;
  /** whether Kie refines the prompt */
  enhance_prompt?: boolean;
  /** the model to fall back to: GPT_IMAGE_1 or FLUX_MAX */
  fallback_model?: "GPT_IMAGE_1" | "FLUX_MAX" | null;
  /** whether to upload through China */
  upload_cn?: boolean;
  /** 1 to 5 public http:// or https:// image URLs */
  image_urls: Array<string>;
  /** text of 1 to 20,000 characters */
  prompt?: string | null;
  /** a public URL of a mask (black is changed, white is kept), with exactly one image */
  mask_url?: string | null;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage15TextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-1.5";
  task: "text-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1:1, 2:3, 3:2 */
  aspect_ratio: "1:1" | "2:3" | "3:2";
  /** one of medium, high; it decides the price */
  quality: "medium" | "high";
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage15ImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-1.5";
  task: "image-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1:1, 2:3, 3:2 */
  aspect_ratio: "1:1" | "2:3" | "3:2";
  /** one of medium, high; it decides the price */
  quality: "medium" | "high";
  /** 1 to 16 public http:// or https:// image URLs */
  image_urls: Array<string>;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage2TextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-2";
  task: "text-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1K, 2K, 4K; it decides the price */
  resolution?: "1K" | "2K" | "4K";
  /** one of transparent, opaque, auto */
  background?: "transparent" | "opaque" | "auto" | null;
  /** one of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 5:4, 4:5, 16:9, 9:16, 2:1, 1:2, 3:1, 1:3, 21:9, 9:21; auto in 1K alone */
  aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "5:4" | "4:5" | "16:9" | "9:16" | "2:1" | "1:2" | "3:1" | "1:3" | "21:9" | "9:21";
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage2ImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-2";
  task: "image-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1K, 2K, 4K; it decides the price */
  resolution?: "1K" | "2K" | "4K";
  /** one of transparent, opaque, auto */
  background?: "transparent" | "opaque" | "auto" | null;
  /** one of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 5:4, 4:5, 16:9, 9:16, 2:1, 1:2, 3:1, 1:3, 21:9, 9:21; auto in 1K alone */
  aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "5:4" | "4:5" | "16:9" | "9:16" | "2:1" | "1:2" | "3:1" | "1:3" | "21:9" | "9:21";
  /** 1 to 16 public http:// or https:// image URLs */
  image_urls: Array<string>;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage25TextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-2-5";
  task: "text-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1K, 2K, 4K; it decides the price */
  resolution?: "1K" | "2K" | "4K";
  /** one of transparent, opaque, auto */
  background?: "transparent" | "opaque" | "auto" | null;
  /** one of flare, sunburst */
  edition?: "flare" | "sunburst";
  /** one of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 16:9, 9:16, 21:9, 27:16, 16:27, 9:8, 8:9; the last four in 1K alone */
  aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "16:9" | "9:16" | "21:9" | "27:16" | "16:27" | "9:8" | "8:9";
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface GptImage25ImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "gpt-image-2-5";
  task: "image-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** one of 1K, 2K, 4K; it decides the price */
  resolution?: "1K" | "2K" | "4K";
  /** one of transparent, opaque, auto */
  background?: "transparent" | "opaque" | "auto" | null;
  /** one of flare, sunburst */
  edition?: "flare" | "sunburst";
  /** one of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 16:9, 9:16, 21:9, 27:16, 16:27, 9:8, 8:9; the last four in 1K alone */
  aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "16:9" | "9:16" | "21:9" | "27:16" | "16:27" | "9:8" | "8:9";
  /** 1 to 16 public http:// or https:// image URLs */
  image_urls: Array<string>;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Model4oImageApiTextToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "4o-image-api";
  task: "text-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** one of 1:1, 3:2, 2:3 */
  aspect_ratio: "1:1" | "3:2" | "2:3";
  /** text of 1 to 20,000 characters */
  prompt: string;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Model4oImageApiImageToImage {
  /** who pays; the account must exist. A service key may leave it out: it pays from its own account */
  account_id?: string;
  model: "4o-image-api";
  task: "image-to-image";
  /** how many images: 1, because one task makes one image */
  quantity?: 1;
  /** one of 1:1, 3:2, 2:3 */
  aspect_ratio: "1:1" | "3:2" | "2:3";
  /** 1 to 5 public http:// or https:// image URLs */
  image_urls: Array<string>;
  /** text of 1 to 20,000 characters */
  prompt?: string | null;
  /** your own notes, given back as they are; at most 16 KiB of JSON */
  metadata?: Record<string, unknown>;
  /** receives a signed POST when the job ends; a public http:// or https:// URL */
  webhook_url?: string | null;
  /** high, normal or low */
  priority?: "high" | "normal" | "low";
  /** the earliest time to run the job, with its timezone; null: now */
  run_at?: string | null;
}

export interface Job {
  id: string;
  /** The account that pays. */
  account_id: string;
  model: string;
  task: string;
  /** What moves the price besides the quantity, such as `2K`. Empty if nothing does. */
  variant: string;
  /** The validated fields, including defaults. */
  request: Record<string, unknown>;
  /** Terminal are succeeded, failed, cancelled. */
  state: "queued" | "submitting" | "unknown" | "generating" | "succeeded" | "failed" | "cancelled";
  /** Why the job is in this state, as a stable code. So far: rate_limited, maintenance, provider_full, unreachable, account_refused, wrong_endpoint, model_gone, route_unfit, reply_lost, server_error, worker_lost, result_unreadable, rejected, provider_failed, content_policy, submission_lost, deadline_exceeded, cancelled_by_caller, cancelled_by_operator. */
  reason: string | null;
  /** The reason as a sentence, with Kie's message if there is one. */
  message: string | null;
  /** From Kie's newest response. */
  progress: number;
  /** The task at Kie. */
  provider_task_id: string | null;
  /** The images. Kie keeps them for 14 days. A copy, if there is one, lasts. */
  result_urls: Array<string>;
  /** Images that Kie delivered after the end of the job: stored, never charged. */
  late_result_urls: Array<string> | null;
  /** The images of `result_urls` and `late_result_urls` with what is known of them. Empty where no store is configured. */
  images: Array<{ url: string; width: number | null; height: number | null; bytes: number | null; content_type: string | null; sha256: string | null; kie_url: string; expires_at: string | null; }>;
  /** The credits held while the job is open. */
  credits_quoted: number;
  /** The credits deducted. Null until the job succeeds. */
  credits_charged: number | null;
  /** The number of paid POSTs that were started. */
  attempt: number;
  created_at: string;
  /** When Kie accepted the task. */
  submitted_at: string | null;
  /** When the job ended. */
  finished_at: string | null;
  /** The notes of the order. */
  metadata: Record<string, unknown>;
  priority: "high" | "normal" | "low";
  /** The job is not submitted before. While it is later than now, a queued job is scheduled and does not wait. A time in the past means now. */
  run_at: string;
  /** The family by which the newest attempt was sent. Null: that of the model. */
  route: string | null;
}

export interface Account {
  id: string;
  /** owned, holds included */
  balance: number;
  /** set aside for open jobs */
  held: number;
  /** balance less held */
  available: number;
  created_at: string;
  /** its share of the submits while others wait */
  weight: number;
  /** how many jobs may be submitting, unknown or generating at once */
  max_open_jobs: number | null;
  /** how many jobs may be queued, scheduled ones included */
  max_queued_jobs: number | null;
  /** what the jobs placed in one day (UTC) may hold and cost */
  max_credits_per_day: number | null;
  /** the highest priority that its service keys may ask for */
  max_priority: "high" | "normal" | "low";
  /** what the jobs placed since midnight (UTC) hold or were charged; failed and cancelled ones do not count */
  credits_today: number;
}

export interface JobEvent {
  /** the same for a repeated event */
  id: number;
  job_id: string;
  account_id: string;
  at: string;
  /** what happened, in docs/lifecycle.md */
  event: string;
  /** where it led the job */
  state: "queued" | "submitting" | "unknown" | "generating" | "succeeded" | "failed" | "cancelled";
  detail: Record<string, unknown>;
}

// The end of what `make types` writes.

/** The API's answer was an error: RFC 9457 `application/problem+json`. */
export class Problem extends Error {
  constructor(status: number, body: Record<string, unknown>, retryAfterSeconds?: number);
  readonly status: number;
  /** Stable, to decide by: `invalid_request`, `insufficient_credits` and so on. */
  readonly code: string;
  /** Everything wrong with the request, by field. */
  readonly faults: Record<string, string>;
  readonly body: Record<string, unknown>;
  /** How long the API asks to be left alone. */
  readonly retryAfterSeconds: number;
}

export interface Options {
  /** Default: `http://127.0.0.1:8080`. */
  url?: string | undefined;
  key?: string | undefined;
  /** How often a request is sent at most. Default: 6. */
  tries?: number;
  /** How long an answer may take. Default: 35. */
  timeoutSeconds?: number;
}

/**
 * One API and one key. Every method rejects with a `Problem` for an answer that is an error, and
 * with fetch's own error for want of an answer.
 */
export class Darkroom {
  constructor(options?: Options);
  /**
   * Places a job and returns it as it was accepted. Lost answers and short outages are tried
   * again; the key makes sure that one job comes of it. Give one that you keep (an order number),
   * and the same holds over a restart of yours.
   */
  enqueue(order: Order, idempotencyKey?: string): Promise<Job>;
  job(jobId: string): Promise<Job>;
  account(accountId: string): Promise<Account>;
  /** Returns the job once it has ended; rejects when the time is over, and the job goes on. */
  wait(jobId: string, timeoutSeconds?: number): Promise<Job>;
  /**
   * Yields the job's events from the start, or after that one, until the job has ended. A broken
   * connection is taken up again where it broke: no event is missed or repeated.
   */
  events(jobId: string, lastEventId?: string): AsyncGenerator<JobEvent, void, void>;
}

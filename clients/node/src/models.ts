// What the API takes and returns. Written by `make types` from the OpenAPI document.

export type JobState = "queued" | "submitting" | "unknown" | "generating" | "succeeded" | "failed" | "cancelled";

export type Priority = "high" | "normal" | "low";

/** The words that end the `type` of a refusal. */
export type ProblemCode =
  | "malformed_request"
  | "key_refused"
  | "insufficient_credits"
  | "priority_not_allowed"
  | "forbidden"
  | "not_found"
  | "job_not_found"
  | "account_not_found"
  | "file_not_found"
  | "scheduled_price_not_found"
  | "pause_not_found"
  | "session_not_found"
  | "price_not_found"
  | "request_too_slow"
  | "state_conflict"
  | "idempotency_conflict"
  | "confirmation_needed"
  | "price_changed"
  | "already_exists"
  | "too_late_to_cancel"
  | "would_leave_debt"
  | "refund_too_large"
  | "already_refunded"
  | "scheduled_price_ended"
  | "request_too_large"
  | "unsupported_content"
  | "invalid_request"
  | "price_missing"
  | "database_refused"
  | "queue_limit_reached"
  | "daily_limit_reached"
  | "too_much_at_once"
  | "internal_error"
  | "uploads_not_configured"
  | "dependency_down"
  | "postgres_down"
  | "redis_down"
  | "results_store_down"
  | "row_busy"
  | "upload_failed";

/** An account's credits at one time, and its limits. A limit of null is no limit. */
export interface Account {
  readonly id: string;
  /** Owned, holds included. */
  readonly balance: number;
  /** Set aside for open jobs. */
  readonly held: number;
  /** Balance less held. */
  readonly available: number;
  readonly created_at: string;
  /** Its share of the submits while others wait. */
  readonly weight: number;
  /** How many jobs may be submitting, unknown or generating at once. */
  readonly max_open_jobs: number | null;
  /** How many jobs may be queued, scheduled ones included. */
  readonly max_queued_jobs: number | null;
  /** What the jobs placed in one day (UTC) may hold and cost. */
  readonly max_credits_per_day: number | null;
  /** The highest priority that its service keys may ask for. */
  readonly max_priority: "high" | "normal" | "low";
  /** What the jobs placed since midnight (UTC) hold or were charged; failed and cancelled ones do not count. */
  readonly credits_today: number;
}

/** What the call means for the credits of one account. */
export interface BulkAccount {
  readonly account_id: string;
  readonly jobs: number;
  /** What retries hold, or what cancels release at once. */
  readonly credits: number;
  /** What the account has; null after the act. */
  readonly available: number | null;
  /** What it lacks for retrying all of these jobs. */
  readonly lacking: number;
  /** Jobs that have no price, and are refused. */
  readonly jobs_without_price: number;
}

/** A job that was cancelled or retried, or whose cancel was requested: then `state` is open. */
export interface BulkDone {
  /** The job that was selected. */
  readonly id: string;
  /** The job that retries it; of a cancel, the same. */
  readonly job_id: string;
  readonly account_id: string;
  /** Of the job `job_id`. */
  readonly state: JobState;
  /** Whether this call did it; false: it was done before. */
  readonly is_new: boolean;
}

/** A job that was not cancelled or retried. */
export interface BulkRefused {
  readonly id: string;
  /** The word that the `type` of an error ends with. */
  readonly code: string;
  /** Why, for people. */
  readonly detail: string;
}

/** What a call did to many jobs, or would do. */
export interface BulkResult {
  readonly action: "cancel" | "retry";
  readonly dry_run: boolean;
  /** The jobs that the action was possible for. */
  readonly matched: number;
  /** Those beyond `limit`, for the next call. */
  readonly remaining: number;
  /** Those of the cancels whose jobs are at Kie: they end by its outcome. */
  readonly requested: number;
  /** `cursor` of the next call; null if nothing remains. */
  readonly next_cursor: string | null;
  /** The sum over the accounts. */
  readonly credits: number;
  /** In a dry run of all that matched, up to 100,000 jobs; else of what was done. */
  readonly accounts: readonly (BulkAccount)[];
  readonly done: readonly (BulkDone)[];
  readonly refused: readonly (BulkRefused)[];
}

/** The `data` of one event of a stream. */
export interface EventFields {
  /** The same for a repeated event. */
  readonly id: number;
  readonly job_id: string;
  readonly account_id: string;
  readonly at: string;
  /** What happened, in docs/lifecycle.md. */
  readonly event: string;
  /** Where it led the job. */
  readonly state: JobState;
  readonly detail: Record<string, unknown>;
}

/** One thing wrong with a request. */
export interface FieldFault {
  /** Its path, like jobs.3.prompt. */
  readonly field: string;
  readonly message: string;
}

/** An uploaded image. */
export interface File {
  readonly id: string;
  /** Whose jobs it is for. */
  readonly account_id: string;
  /** For `image_urls` and `mask_url`; who knows it can read the image. */
  readonly url: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly content_type: "image/png" | "image/jpeg" | "image/webp";
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  readonly created_at: string;
  /** Until when `url` is served, unless a queued job names it. */
  readonly expires_at: string;
}

/** One request for images and its result. */
export interface JobFields {
  readonly id: string;
  /** The account that pays. */
  readonly account_id: string;
  readonly model: string;
  readonly task: string;
  /** What moves the price besides the quantity, such as `2K`. Empty if nothing does. */
  readonly variant: string;
  /** The validated fields, including defaults. */
  readonly request: Record<string, unknown>;
  /** Terminal are succeeded, failed, cancelled. */
  readonly state: JobState;
  /** Why the job is in this state, as a stable code. So far: rate_limited, maintenance, provider_full, unreachable, account_refused, wrong_endpoint, model_gone, route_unfit, reply_lost, server_error, worker_lost, result_unreadable, rejected, provider_failed, content_policy, submission_lost, deadline_exceeded, cancelled_by_caller, cancelled_by_operator. */
  readonly reason: string | null;
  /** The reason as a sentence, with Kie's message if there is one. */
  readonly message: string | null;
  /** From Kie's newest response. */
  readonly progress: number;
  /** The task at Kie. */
  readonly provider_task_id: string | null;
  /** The images. Kie keeps them for 14 days. A copy, if there is one, lasts. */
  readonly result_urls: readonly (string)[];
  /** Images that Kie delivered after the end of the job: stored, never charged. */
  readonly late_result_urls: readonly (string)[] | null;
  /** The images of `result_urls` and `late_result_urls` with what is known of them. Empty where no store is configured. */
  readonly images: readonly (JobImage)[];
  /** The credits held while the job is open. */
  readonly credits_quoted: number;
  /** The credits deducted. Null until the job succeeds. */
  readonly credits_charged: number | null;
  /** The number of paid POSTs that were started. */
  readonly attempt: number;
  readonly created_at: string;
  /** When Kie accepted the task. */
  readonly submitted_at: string | null;
  /** When the job ended. */
  readonly finished_at: string | null;
  /** When a cancel was requested while the job was at Kie, which takes no task back. Nobody waits for it any more, and it ends by Kie's outcome: a success is charged. */
  readonly cancel_requested_at: string | null;
  /** When request, metadata and message were deleted. It cannot be retried since. */
  readonly pruned_at: string | null;
  /** The notes of the order. */
  readonly metadata: Record<string, unknown>;
  readonly priority: Priority;
  /** The job is not submitted before. While it is later than now, a queued job is scheduled and does not wait. A time in the past means now. */
  readonly run_at: string;
  /** The family by which the newest attempt was sent. Null: that of the model. */
  readonly route: string | null;
  /** The place of a queued job in the fair order: 1 is submitted next. Null when it is not queued or is scheduled. */
  readonly position: number | null;
  /** When a queued job is expected to be submitted. Null when it is not queued, or with `wait_reason`. */
  readonly estimated_start_at: string | null;
  /** Why `estimated_start_at` of a queued job is null: `paused` by an operator without an end, `no_worker` is alive, `submits_refused` by Kie until a person acts or a probe succeeds, `account_limit`: the account's open jobs must end first, and none has ended yet. */
  readonly wait_reason: "paused" | "no_worker" | "submits_refused" | "account_limit" | null;
}

/** How many jobs are in one state for one reason. */
export interface JobCount {
  readonly state: JobState;
  /** Null: for no reason. */
  readonly reason: string | null;
  readonly jobs: number;
}

/** How many jobs match the filters. */
export interface JobCounts {
  /** All of them. */
  readonly jobs: number;
  /** By state and reason. */
  readonly counts: readonly (JobCount)[];
}

/** One image of a job, where images are copied into a store. */
export interface JobImage {
  /** The copy, or Kie's link while there is none. */
  readonly url: string;
  /** In pixels; null until the image is stored. */
  readonly width: number | null;
  /** In pixels; null until the image is stored. */
  readonly height: number | null;
  /** Its size; null until the image is stored. */
  readonly bytes: number | null;
  /** Told from its bytes; null until the image is stored. */
  readonly content_type: string | null;
  /** Of its bytes; null until the image is stored. */
  readonly sha256: string | null;
  /** Kie's own link. */
  readonly kie_url: string;
  /** When `url` stops to answer; null for a copy, which stays until it is pruned. */
  readonly expires_at: string | null;
}

/** One movement of credits. */
export interface LedgerEntry {
  readonly id: number;
  readonly account_id: string;
  readonly job_id: string | null;
  readonly kind: "grant" | "hold" | "release" | "capture" | "adjustment";
  /** Only an adjustment may be negative. */
  readonly credits: number;
  readonly balance_after: number;
  readonly held_after: number;
  readonly price_id: number | null;
  readonly reason: string | null;
  readonly created_at: string;
  /** Who granted, adjusted or refunded; null for jobs, and for a service. */
  readonly granted_by: string | null;
}

/** A price in force. */
export interface Price {
  readonly model: string;
  readonly task: string;
  readonly quantity: number;
  /** Empty: the price has none. */
  readonly variant: string;
  /** Charged for the whole job. */
  readonly credits: number;
  /** What Kie charges for it. */
  readonly provider_credits: number;
  readonly updated_at: string;
  readonly updated_by: string;
  /** The version in force. */
  readonly price_id: number;
}

/** What a job would cost, and when it would be submitted. */
export interface Quote {
  readonly model: string;
  readonly task: string;
  readonly quantity: number;
  /** Held by an enqueue now. */
  readonly credits: number;
  /** The version in force. */
  readonly price_id: number;
  /** Of the price; empty: it has none. */
  readonly variant: string;
  readonly account_id: string;
  readonly priority: Priority;
  /** Credits that new jobs may hold. */
  readonly available: number;
  /** That the job would have; null: it is scheduled. */
  readonly position: number | null;
  /** When it would be submitted; null with `wait_reason`. */
  readonly estimated_start_at: string | null;
  /** From now to `estimated_start_at`. */
  readonly expected_wait_seconds: number | null;
  /** As a job has it. */
  readonly wait_reason: "paused" | "no_worker" | "submits_refused" | "account_limit" | null;
}

/** The secret of an account that was ended, without it. */
export interface RevokedWebhookSecret {
  readonly account_id: string;
  readonly created_at: string;
  readonly rotated_at: string | null;
}

/** What changed an account's balance in a period. Holds and releases are not in it. */
export interface Statement {
  readonly account_id: string;
  readonly from: string;
  /** Not part of the period. */
  readonly to: string;
  readonly opening_balance: number;
  readonly closing_balance: number;
  readonly totals: StatementTotals;
  /** Of the whole period. */
  readonly lines: number;
  readonly months: readonly (StatementMonth)[];
  /** One page of the lines, oldest first. */
  readonly entries: readonly (StatementLine)[];
  /** `cursor` of the next page; null on the last. */
  readonly next_cursor: string | null;
}

/** One change of the balance. */
export interface StatementLine {
  /** Of the entry in the ledger. */
  readonly id: number;
  readonly created_at: string;
  readonly job_id: string | null;
  /** The change of the balance. */
  readonly credits: number;
  readonly balance_after: number;
  readonly kind: "grant" | "refund" | "adjustment" | "capture";
  readonly model: string | null;
  readonly task: string | null;
  readonly quantity: number | null;
  /** Empty: the price has none. */
  readonly variant: string | null;
  readonly reason: string | null;
}

/** One month of a statement, in UTC. */
export interface StatementMonth {
  readonly month: string;
  readonly opening_balance: number;
  readonly closing_balance: number;
  readonly totals: StatementTotals;
  readonly lines: number;
}

/** What each kind of line changed the balance by. */
export interface StatementTotals {
  readonly grant: number;
  readonly refund: number;
  readonly adjustment: number;
  /** Negative. */
  readonly capture: number;
}

/** A webhook message and the tries to deliver it. */
export interface WebhookDelivery {
  /** The `webhook-id` that receivers get. */
  readonly id: string;
  readonly job_id: string;
  readonly account_id: string;
  readonly event: string;
  readonly state: JobState;
  /** The URL without its query. */
  readonly endpoint: string;
  readonly created_at: string;
  readonly tries: number;
  readonly next_try_at: string;
  readonly retry_until: string;
  readonly last_try_at: string | null;
  readonly last_status: number | null;
  readonly last_error: string | null;
  readonly delivered_at: string | null;
  readonly replayed_at: string | null;
}

/** What is posted to `webhook_url` when a job has ended, or images came after its end. Signed by Standard Webhooks. */
export interface WebhookMessage {
  readonly type: "job.succeeded" | "job.failed" | "job.cancelled" | "job.delivered_late";
  /** When the job ended, or the late images were stored. */
  readonly timestamp: string;
  readonly data: JobFields;
}

/** A secret that signs webhooks. */
export interface WebhookSecret {
  readonly account_id: string;
  readonly created_at: string;
  readonly rotated_at: string | null;
  /** Whose messages it signs; null: all of the account. */
  readonly url: string | null;
  readonly secret: string;
  /** Until when the secret before signs as well. */
  readonly previous_secret_until: string | null;
}

/** One try to deliver a webhook message. */
export interface WebhookTry {
  readonly at: string;
  /** The HTTP status; null: no answer came. */
  readonly status: number | null;
  /** Why it was not accepted; null: it was. */
  readonly error: string | null;
  readonly seconds: number;
}

/** A webhook message with each of its tries. */
export interface WebhookWithTries {
  /** The `webhook-id` that receivers get. */
  readonly id: string;
  readonly job_id: string;
  readonly account_id: string;
  readonly event: string;
  readonly state: JobState;
  /** The URL without its query. */
  readonly endpoint: string;
  readonly created_at: string;
  readonly tries: number;
  readonly next_try_at: string;
  readonly retry_until: string;
  readonly last_try_at: string | null;
  readonly last_status: number | null;
  readonly last_error: string | null;
  readonly delivered_at: string | null;
  readonly replayed_at: string | null;
  /** The newest 100 tries, newest first, those before a replay included. */
  readonly history: readonly (WebhookTry)[];
}

/** Text-to-image by flux1-kontext. */
export interface Flux1KontextTextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "flux1-kontext";
  readonly task: "text-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of jpeg, png. */
  readonly output_format?: "jpeg" | "png";
  /** Whether Kie refines the prompt. */
  readonly enhance_prompt?: boolean;
  /** Whether Kie translates the prompt into English, which is needed. */
  readonly translate_prompt?: boolean;
  /** A whole number from 0 (strict) to 6. */
  readonly safety_tolerance?: number;
  /** Text of 1 to 200 characters that Kie writes on the image. */
  readonly watermark?: string | null;
  /** Whether to upload through China. */
  readonly upload_cn?: boolean;
  /** One of 21:9, 16:9, 4:3, 1:1, 3:4, 9:16. */
  readonly aspect_ratio?: "21:9" | "16:9" | "4:3" | "1:1" | "3:4" | "9:16";
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by flux1-kontext. */
export interface Flux1KontextImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "flux1-kontext";
  readonly task: "image-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of jpeg, png. */
  readonly output_format?: "jpeg" | "png";
  /** Whether Kie refines the prompt. */
  readonly enhance_prompt?: boolean;
  /** Whether Kie translates the prompt into English, which is needed. */
  readonly translate_prompt?: boolean;
  /** A whole number from 0 (strict) to 6. */
  readonly safety_tolerance?: number;
  /** Text of 1 to 200 characters that Kie writes on the image. */
  readonly watermark?: string | null;
  /** Whether to upload through China. */
  readonly upload_cn?: boolean;
  /** One public http:// or https:// image URL. */
  readonly image_urls: readonly (string)[];
  /** One of 21:9, 16:9, 4:3, 1:1, 3:4, 9:16; left out: that of the image. */
  readonly aspect_ratio?: "21:9" | "16:9" | "4:3" | "1:1" | "3:4" | "9:16" | null;
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Text-to-image by gpt-4o-image. */
export interface Gpt4oImageTextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model?: "gpt-4o-image";
  readonly task: "text-to-image";
  /** One of 1:1, 3:2, 2:3. */
  readonly aspect_ratio: "1:1" | "3:2" | "2:3";
  /** How many images: 1, 2 or 4. */
  readonly quantity?: 1 | 2 | 4;
  /** Whether Kie refines the prompt. */
  readonly enhance_prompt?: boolean;
  /** The model to fall back to: GPT_IMAGE_1 or FLUX_MAX. */
  readonly fallback_model?: "GPT_IMAGE_1" | "FLUX_MAX" | null;
  /** Whether to upload through China. */
  readonly upload_cn?: boolean;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by gpt-4o-image. */
export interface Gpt4oImageImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model?: "gpt-4o-image";
  readonly task: "image-to-image";
  /** One of 1:1, 3:2, 2:3. */
  readonly aspect_ratio: "1:1" | "3:2" | "2:3";
  /** How many images: 1, 2 or 4. */
  readonly quantity?: 1 | 2 | 4;
  /** Whether Kie refines the prompt. */
  readonly enhance_prompt?: boolean;
  /** The model to fall back to: GPT_IMAGE_1 or FLUX_MAX. */
  readonly fallback_model?: "GPT_IMAGE_1" | "FLUX_MAX" | null;
  /** Whether to upload through China. */
  readonly upload_cn?: boolean;
  /** 1 to 5 public http:// or https:// image URLs. */
  readonly image_urls: readonly (string)[];
  /** Text of 1 to 20,000 characters. */
  readonly prompt?: string | null;
  /** A public URL of a mask (black is changed, white is kept), with exactly one image. */
  readonly mask_url?: string | null;
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Text-to-image by gpt-image-1.5. */
export interface GptImage15TextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-1.5";
  readonly task: "text-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1:1, 2:3, 3:2. */
  readonly aspect_ratio: "1:1" | "2:3" | "3:2";
  /** One of medium, high; it decides the price. */
  readonly quality: "medium" | "high";
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by gpt-image-1.5. */
export interface GptImage15ImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-1.5";
  readonly task: "image-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1:1, 2:3, 3:2. */
  readonly aspect_ratio: "1:1" | "2:3" | "3:2";
  /** One of medium, high; it decides the price. */
  readonly quality: "medium" | "high";
  /** 1 to 16 public http:// or https:// image URLs. */
  readonly image_urls: readonly (string)[];
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Text-to-image by gpt-image-2. */
export interface GptImage2TextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-2";
  readonly task: "text-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1K, 2K, 4K; it decides the price. */
  readonly resolution?: "1K" | "2K" | "4K";
  /** One of transparent, opaque, auto. */
  readonly background?: "transparent" | "opaque" | "auto" | null;
  /** One of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 5:4, 4:5, 16:9, 9:16, 2:1, 1:2, 3:1, 1:3, 21:9, 9:21; auto in 1K alone. */
  readonly aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "5:4" | "4:5" | "16:9" | "9:16" | "2:1" | "1:2" | "3:1" | "1:3" | "21:9" | "9:21";
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by gpt-image-2. */
export interface GptImage2ImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-2";
  readonly task: "image-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1K, 2K, 4K; it decides the price. */
  readonly resolution?: "1K" | "2K" | "4K";
  /** One of transparent, opaque, auto. */
  readonly background?: "transparent" | "opaque" | "auto" | null;
  /** One of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 5:4, 4:5, 16:9, 9:16, 2:1, 1:2, 3:1, 1:3, 21:9, 9:21; auto in 1K alone. */
  readonly aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "5:4" | "4:5" | "16:9" | "9:16" | "2:1" | "1:2" | "3:1" | "1:3" | "21:9" | "9:21";
  /** 1 to 16 public http:// or https:// image URLs. */
  readonly image_urls: readonly (string)[];
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Text-to-image by gpt-image-2-5. */
export interface GptImage25TextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-2-5";
  readonly task: "text-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1K, 2K, 4K; it decides the price. */
  readonly resolution?: "1K" | "2K" | "4K";
  /** One of transparent, opaque, auto. */
  readonly background?: "transparent" | "opaque" | "auto" | null;
  /** One of flare, sunburst. */
  readonly edition?: "flare" | "sunburst";
  /** One of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 16:9, 9:16, 21:9, 27:16, 16:27, 9:8, 8:9; the last four in 1K alone. */
  readonly aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "16:9" | "9:16" | "21:9" | "27:16" | "16:27" | "9:8" | "8:9";
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by gpt-image-2-5. */
export interface GptImage25ImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "gpt-image-2-5";
  readonly task: "image-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** One of 1K, 2K, 4K; it decides the price. */
  readonly resolution?: "1K" | "2K" | "4K";
  /** One of transparent, opaque, auto. */
  readonly background?: "transparent" | "opaque" | "auto" | null;
  /** One of flare, sunburst. */
  readonly edition?: "flare" | "sunburst";
  /** One of auto, 1:1, 3:2, 2:3, 4:3, 3:4, 16:9, 9:16, 21:9, 27:16, 16:27, 9:8, 8:9; the last four in 1K alone. */
  readonly aspect_ratio?: "auto" | "1:1" | "3:2" | "2:3" | "4:3" | "3:4" | "16:9" | "9:16" | "21:9" | "27:16" | "16:27" | "9:8" | "8:9";
  /** 1 to 16 public http:// or https:// image URLs. */
  readonly image_urls: readonly (string)[];
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Text-to-image by 4o-image-api. */
export interface Model4oImageApiTextToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "4o-image-api";
  readonly task: "text-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** One of 1:1, 3:2, 2:3. */
  readonly aspect_ratio: "1:1" | "3:2" | "2:3";
  /** Text of 1 to 20,000 characters. */
  readonly prompt: string;
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Image-to-image by 4o-image-api. */
export interface Model4oImageApiImageToImage {
  /** Who pays; the account must exist. A service key may leave it out: it pays from its own account. */
  readonly account_id?: string;
  readonly model: "4o-image-api";
  readonly task: "image-to-image";
  /** How many images: 1, because one task makes one image. */
  readonly quantity?: 1;
  /** One of 1:1, 3:2, 2:3. */
  readonly aspect_ratio: "1:1" | "3:2" | "2:3";
  /** 1 to 5 public http:// or https:// image URLs. */
  readonly image_urls: readonly (string)[];
  /** Text of 1 to 20,000 characters. */
  readonly prompt?: string | null;
  /** Your own notes, given back as they are; at most 16 KiB of JSON. */
  readonly metadata?: Record<string, unknown>;
  /** Receives a signed POST when the job ends; a public http:// or https:// URL. */
  readonly webhook_url?: string | null;
  /** High, normal or low. */
  readonly priority?: Priority;
  /** The earliest time to run the job, with its timezone, at most 366 days from now; null: now. */
  readonly run_at?: string | null;
}

/** Any order. */
export type Order =
  | Flux1KontextTextToImage
  | Flux1KontextImageToImage
  | Gpt4oImageTextToImage
  | Gpt4oImageImageToImage
  | GptImage15TextToImage
  | GptImage15ImageToImage
  | GptImage2TextToImage
  | GptImage2ImageToImage
  | GptImage25TextToImage
  | GptImage25ImageToImage
  | Model4oImageApiTextToImage
  | Model4oImageApiImageToImage;

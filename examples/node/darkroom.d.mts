// What darkroom.mjs offers, for TypeScript; editors find this file by its name.

export type State =
  | "queued"
  | "submitting"
  | "unknown"
  | "generating"
  | "succeeded"
  | "failed"
  | "cancelled";

export interface OrderBase {
  /** Who pays. A service key pays from its own account and may leave this out. */
  account_id?: string;
  /** Default: `gpt-4o-image`. */
  model?: string;
  aspect_ratio: "1:1" | "3:2" | "2:3";
  /** Default: 1. */
  quantity?: 1 | 2 | 4;
  enhance_prompt?: boolean;
  fallback_model?: "GPT_IMAGE_1" | "FLUX_MAX";
  upload_cn?: boolean;
  /** Where the end of the job is told. */
  webhook_url?: string;
  /** Your own notes, given back as they are. */
  metadata?: Record<string, unknown>;
  priority?: "high" | "normal" | "low";
  /** A moment with its time zone, RFC 3339. */
  run_at?: string;
}

export interface TextToImage extends OrderBase {
  task: "text-to-image";
  prompt: string;
}

export interface ImageToImage extends OrderBase {
  task: "image-to-image";
  /** 1 to 5. */
  image_urls: string[];
  /** With exactly one image. */
  mask_url?: string;
  prompt?: string;
}

export type Order = TextToImage | ImageToImage;

export interface Job {
  id: string;
  account_id: string;
  model: string;
  task: string;
  request: Record<string, unknown>;
  state: State;
  reason: string | null;
  message: string | null;
  /** 0 to 1. */
  progress: number;
  provider_task_id: string | null;
  result_urls: string[];
  /** Images that came after the job had ended without them: never charged. Null where none came. */
  late_result_urls: string[] | null;
  credits_quoted: number;
  /** Null until it succeeded. */
  credits_charged: number | null;
  attempt: number;
  created_at: string;
  submitted_at: string | null;
  finished_at: string | null;
  metadata: Record<string, unknown>;
  priority: "high" | "normal" | "low";
  run_at: string | null;
}

export interface Account {
  id: string;
  balance: number;
  held: number;
  available: number;
  created_at: string;
}

/** One step in a job's life. */
export interface JobEvent {
  id: number;
  job_id: string;
  account_id: string;
  at: string;
  event: string;
  state: State;
  detail: Record<string, unknown>;
}

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

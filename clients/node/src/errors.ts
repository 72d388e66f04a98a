// The errors that the client throws.

import type { FieldFault, JobFields, ProblemCode } from "./models.js";

/** The base class of every error of the client. */
export class DarkroomError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The API refused the request, with an RFC 9457 problem as its answer. */
export class ApiError extends DarkroomError {
  /** Stable, to decide by: `invalid_request`, `insufficient_credits` and so on. */
  readonly code: ProblemCode | (string & {});
  /** What was given and what is allowed, for people. */
  readonly detail: string;
  /** Every fault of the request. */
  readonly errors: readonly FieldFault[];

  constructor(
    readonly status: number,
    /** The members of the problem, such as `needed` and `available`. */
    readonly body: Record<string, unknown>,
    /** How long the API asks to be left alone, if it does. */
    readonly retryAfterSeconds?: number,
    /** The id of the request in the logs of Darkroom. */
    readonly requestId?: string,
  ) {
    const code = String(body.type ?? "about:blank").split(":").at(-1) ?? "";
    // A proxy in between may send another kind of `errors`.
    const listed: unknown[] = Array.isArray(body.errors) ? body.errors : [];
    const errors = listed.filter(isFieldFault);
    const detail = String(body.detail ?? body.title ?? `status ${status}`);
    const faults = errors.map((one) => `\n  ${one.field}: ${one.message}`).join("");
    super(`${status} ${code}: ${faults || detail}`);
    this.code = code;
    this.detail = detail;
    this.errors = errors;
  }

  /** The faults as an object of messages by field. */
  get fields(): Record<string, string> {
    return Object.fromEntries(this.errors.map((one) => [one.field, one.message]));
  }
}

function isFieldFault(given: unknown): given is FieldFault {
  return typeof given === "object" && given !== null && "field" in given && "message" in given;
}

/** The answer is not what the API is documented to send. */
export class UnexpectedAnswer extends DarkroomError {}

/** No complete answer came: no connection, a broken one, or a timeout. */
export class ConnectionFailed extends DarkroomError {}

/** The job had not ended in time. It goes on, and can be waited for again. */
export class WaitTimedOut extends DarkroomError {
  constructor(
    readonly jobId: string,
    /** The state that was last known, if one was. */
    readonly state: string | undefined,
    readonly timeoutSeconds: number,
    cause?: unknown,
  ) {
    const last = state === undefined ? "its state is not known" : `it was ${state} when last read`;
    const told =
      cause === undefined ? `is still ${state}` : `cannot be read (${whyOf(cause)}), ${last},`;
    super(`job ${jobId} ${told} after ${timeoutSeconds} s; it goes on`, { cause });
  }
}

function whyOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The job ended without images. Thrown by `throwForFailure` alone. */
export class JobFailed extends DarkroomError {
  readonly reason: string | null;

  constructor(readonly job: JobFields) {
    super(`job ${job.id} ${job.state} (${job.reason}): ${job.message}`);
    this.reason = job.reason;
  }
}

/** The message is not from Darkroom, or not from just now. */
export class WebhookNotGenuine extends DarkroomError {}

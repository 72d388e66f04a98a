// The errors that the client throws.
/** The base class of every error of the client. */
export class DarkroomError extends Error {
    constructor(message, options) {
        super(message, options);
        this.name = new.target.name;
    }
}
/** The API refused the request, with an RFC 9457 problem as its answer. */
export class ApiError extends DarkroomError {
    status;
    body;
    retryAfterSeconds;
    requestId;
    /** Stable, to decide by: `invalid_request`, `insufficient_credits` and so on. */
    code;
    /** What was given and what is allowed, for people. */
    detail;
    /** Every fault of the request. */
    errors;
    constructor(status, 
    /** The members of the problem, such as `needed` and `available`. */
    body, 
    /** How long the API asks to be left alone, if it does. */
    retryAfterSeconds, 
    /** The id of the request in the logs of Darkroom. */
    requestId) {
        const code = String(body.type ?? "about:blank").split(":").at(-1) ?? "";
        // A proxy in between may send another kind of `errors`.
        const listed = Array.isArray(body.errors) ? body.errors : [];
        const errors = listed.filter(isFieldFault);
        const detail = String(body.detail ?? body.title ?? `status ${status}`);
        const faults = errors.map((one) => `\n  ${one.field}: ${one.message}`).join("");
        super(`${status} ${code}: ${faults || detail}`);
        this.status = status;
        this.body = body;
        this.retryAfterSeconds = retryAfterSeconds;
        this.requestId = requestId;
        this.code = code;
        this.detail = detail;
        this.errors = errors;
    }
    /** The faults as an object of messages by field. */
    get fields() {
        return Object.fromEntries(this.errors.map((one) => [one.field, one.message]));
    }
}
function isFieldFault(given) {
    return typeof given === "object" && given !== null && "field" in given && "message" in given;
}
/** The answer is not what the API is documented to send. */
export class UnexpectedAnswer extends DarkroomError {
}
/** No complete answer came: no connection, a broken one, or a timeout. */
export class ConnectionFailed extends DarkroomError {
}
/** The job had not ended in time. It goes on, and can be waited for again. */
export class WaitTimedOut extends DarkroomError {
    jobId;
    state;
    timeoutSeconds;
    constructor(jobId, 
    /** The state that was last known, if one was. */
    state, timeoutSeconds, cause) {
        const last = state === undefined ? "its state is not known" : `it was ${state} when last read`;
        const told = cause === undefined ? `is still ${state}` : `cannot be read (${whyOf(cause)}), ${last},`;
        super(`job ${jobId} ${told} after ${timeoutSeconds} s; it goes on`, { cause });
        this.jobId = jobId;
        this.state = state;
        this.timeoutSeconds = timeoutSeconds;
    }
}
function whyOf(cause) {
    return cause instanceof Error ? cause.message : String(cause);
}
/** The job ended without images. Thrown by `throwForFailure` alone. */
export class JobFailed extends DarkroomError {
    job;
    reason;
    constructor(job) {
        super(`job ${job.id} ${job.state} (${job.reason}): ${job.message}`);
        this.job = job;
        this.reason = job.reason;
    }
}
/** The message is not from Darkroom, or not from just now. */
export class WebhookNotGenuine extends DarkroomError {
}

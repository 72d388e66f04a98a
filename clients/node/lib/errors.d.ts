import type { FieldFault, JobFields, ProblemCode } from "./models.js";
/** The base class of every error of the client. */
export declare class DarkroomError extends Error {
    constructor(message: string, options?: {
        cause?: unknown;
    });
}
/** The API refused the request, with an RFC 9457 problem as its answer. */
export declare class ApiError extends DarkroomError {
    readonly status: number;
    /** The members of the problem, such as `needed` and `available`. */
    readonly body: Record<string, unknown>;
    /** How long the API asks to be left alone, if it does. */
    readonly retryAfterSeconds?: number | undefined;
    /** The id of the request in the logs of Darkroom. */
    readonly requestId?: string | undefined;
    /** Stable, to decide by: `invalid_request`, `insufficient_credits` and so on. */
    readonly code: ProblemCode | (string & {});
    /** What was given and what is allowed, for people. */
    readonly detail: string;
    /** Every fault of the request. */
    readonly errors: readonly FieldFault[];
    constructor(status: number, 
    /** The members of the problem, such as `needed` and `available`. */
    body: Record<string, unknown>, 
    /** How long the API asks to be left alone, if it does. */
    retryAfterSeconds?: number | undefined, 
    /** The id of the request in the logs of Darkroom. */
    requestId?: string | undefined);
    /** The faults as an object of messages by field. */
    get fields(): Record<string, string>;
}
/** The answer is not what the API is documented to send. */
export declare class UnexpectedAnswer extends DarkroomError {
}
/** No complete answer came: no connection, a broken one, or a timeout. */
export declare class ConnectionFailed extends DarkroomError {
}
/** The job had not ended in time. It goes on, and can be waited for again. */
export declare class WaitTimedOut extends DarkroomError {
    readonly jobId: string;
    /** The state that was last known, if one was. */
    readonly state: string | undefined;
    readonly timeoutSeconds: number;
    constructor(jobId: string, 
    /** The state that was last known, if one was. */
    state: string | undefined, timeoutSeconds: number, cause?: unknown);
}
/** The job ended without images. Thrown by `throwForFailure` alone. */
export declare class JobFailed extends DarkroomError {
    readonly job: JobFields;
    readonly reason: string | null;
    constructor(job: JobFields);
}
/** The message is not from Darkroom, or not from just now. */
export declare class WebhookNotGenuine extends DarkroomError {
}

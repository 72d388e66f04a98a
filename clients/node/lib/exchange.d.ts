import { ApiError } from "./errors.js";
import { type RetryPolicy } from "./retries.js";
/** One request. */
export interface Call {
    readonly path: string;
    readonly method?: "GET" | "POST" | "PUT";
    readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
    /** Sent as JSON. */
    readonly json?: unknown;
    /** Sent as it is. */
    readonly bytes?: Uint8Array;
    readonly idempotencyKey?: string;
    /** Whether it is sent once, because it could act twice. */
    readonly isSentOnce?: boolean;
    /** How much longer than usual the answer may take. */
    readonly waitSeconds?: number;
    readonly signal?: AbortSignal | undefined;
}
export declare class Exchange {
    #private;
    readonly timeoutSeconds: number;
    readonly retries: RetryPolicy;
    constructor(url: string, key: string | undefined, timeoutSeconds: number, retries: RetryPolicy);
    /** Returns the JSON of the answer. */
    json<T>(call: Call): Promise<T>;
    text(call: Call): Promise<string>;
    /** Returns the bytes of the answer, or those behind the link that it names. */
    bytes(call: Call): Promise<Uint8Array>;
    /** Returns the bytes behind a link of another host, without sending it the key. */
    linkedBytes(url: string): Promise<Uint8Array>;
    /** Opens one request. The answer is not read. */
    open(call: Call, signal: AbortSignal): Promise<Response>;
    /** Fetches, and throws `ApiError` for a refusal, `ConnectionFailed` for want of an answer. */
    fetch(url: string, init: RequestInit): Promise<Response>;
    address(path: string): string;
    get headers(): Readonly<Record<string, string>>;
}
/** Turns fetch's own errors into ours. What the caller aborted is thrown as it is. */
export declare function orConnectionFailed<T>(answer: Promise<T>, signal?: AbortSignal | null): Promise<T>;
/** Returns the text of an answer. A redirect is none: the key goes to no other address. */
export declare function answerOf(response: Response): Promise<string>;
/** Returns the error of a response with this text. */
export declare function refusalOf(response: Response, text: string): ApiError;
export declare function timeoutAfter(seconds: number): AbortSignal;

/** How a request is repeated that may be answered soon. */
export interface RetryPolicy {
    /** How often a request is sent at most. */
    readonly tries: number;
    /** The pause after the first failure. It doubles with each. */
    readonly firstPauseSeconds: number;
    /** If the API asks for a longer pause, the error is thrown at once. */
    readonly longestRetryAfterSeconds: number;
}
export declare const RETRIES: RetryPolicy;
/** Returns how long to wait after so many failures. Throws the error if there is no other try. */
export declare function pauseAfter(error: unknown, failures: number, policy: RetryPolicy): number;
/** Waits. Throws the reason of the signal when that is aborted. */
export declare function sleep(seconds: number, signal?: AbortSignal): Promise<void>;

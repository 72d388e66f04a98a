// When a request is repeated, and after what pause.

import { ApiError, ConnectionFailed } from "./errors.js";

const PASSING = new Set([408, 429, 502, 503, 504]);
const DOUBLINGS_MAX = 5;

/** How a request is repeated that may be answered soon. */
export interface RetryPolicy {
  /** How often a request is sent at most. */
  readonly tries: number;
  /** The pause after the first failure. It doubles with each. */
  readonly firstPauseSeconds: number;
  /** If the API asks for a longer pause, the error is thrown at once. */
  readonly longestRetryAfterSeconds: number;
}

export const RETRIES: RetryPolicy = {
  tries: 6,
  firstPauseSeconds: 0.5,
  longestRetryAfterSeconds: 60,
};

/** Returns how long to wait after so many failures. Throws the error if there is no other try. */
export function pauseAfter(error: unknown, failures: number, policy: RetryPolicy): number {
  const asked = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) : 0;
  const mayPass =
    error instanceof ConnectionFailed || (error instanceof ApiError && PASSING.has(error.status));
  if (!mayPass || failures >= policy.tries || asked > policy.longestRetryAfterSeconds) throw error;
  const doubled = policy.firstPauseSeconds * 2 ** Math.min(failures - 1, DOUBLINGS_MAX);
  // Spread, so that clients do not return together.
  return asked + doubled * (0.2 + 0.8 * Math.random());
}

/** Waits. Throws the reason of the signal when that is aborted. */
export function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

// Waits for the end of a job, and ends in time itself.

import { WaitTimedOut } from "./errors.js";
import { timeoutAfter, type Exchange } from "./exchange.js";
import type { JobFields } from "./models.js";
import { pauseAfter, sleep } from "./retries.js";

// How long one request waits: below the 60 s after which proxies usually give up.
const WAIT_SECONDS_MAX = 45;
// How long after its timeout a wait ends at most, for an answer that is on its way.
const LATE_SECONDS = 5;
// A timer takes no more.
const TIMER_SECONDS_MAX = 2_000_000;

export interface WaitOptions {
  /** Ends the wait with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  /** The job as it was read before. Its state is told if it cannot be read in time. */
  readonly lastKnown?: JobFields | undefined;
}

/**
 * Returns a job when it has ended, or when its cancel is requested meanwhile. Failed requests are
 * repeated as others are, until the time is over. Throws `WaitTimedOut` with what was last known.
 */
export async function waitForEnd(
  exchange: Exchange,
  jobId: string,
  path: string,
  timeoutSeconds: number,
  { signal, lastKnown }: WaitOptions,
): Promise<JobFields> {
  const endsAt = performance.now() + timeoutSeconds * 1000;
  const restSeconds = (): number => Math.max((endsAt - performance.now()) / 1000, 0);
  let known = lastKnown;
  for (let failures = 0; ; ) {
    const askedAt = performance.now();
    const waitSeconds = Math.min(restSeconds(), WAIT_SECONDS_MAX);
    const deadline = timeoutAfter(Math.min(restSeconds() + LATE_SECONDS, TIMER_SECONDS_MAX));
    try {
      known = await exchange.json<JobFields>({
        path,
        query: { wait: waitSeconds.toFixed(3) },
        waitSeconds,
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
        isSentOnce: true, // it is repeated here
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      if (deadline.aborted) throw new WaitTimedOut(jobId, known?.state, timeoutSeconds, error);
      failures += 1;
      const pauseSeconds = pauseAfter(error, failures, exchange.retries);
      await sleep(Math.min(pauseSeconds, restSeconds()), signal);
      if (restSeconds() > 0) continue;
      throw new WaitTimedOut(jobId, known?.state, timeoutSeconds, error);
    }
    failures = 0;
    const hasEnded = ["succeeded", "failed", "cancelled"].includes(known.state);
    // A cancel that was requested before does not end the request early.
    const isEarly = performance.now() < askedAt + waitSeconds * 1000;
    if (hasEnded || (known.cancel_requested_at !== null && isEarly)) return known;
    if (restSeconds() === 0) throw new WaitTimedOut(jobId, known.state, timeoutSeconds);
  }
}

import { type Exchange } from "./exchange.js";
import type { JobFields } from "./models.js";
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
export declare function waitForEnd(exchange: Exchange, jobId: string, path: string, timeoutSeconds: number, { signal, lastKnown }: WaitOptions): Promise<JobFields>;

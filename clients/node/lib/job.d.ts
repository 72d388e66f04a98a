import type { Darkroom } from "./client.js";
import type { JobEvent } from "./events.js";
import type { JobFields } from "./models.js";
/** A job as it was when it was read. Methods return it as it is then. */
export interface Job extends JobFields {
}
export declare class Job {
    #private;
    constructor(fields: JobFields, darkroom: Darkroom);
    /** Whether the state is `succeeded`, `failed` or `cancelled`. It then never changes. */
    get hasEnded(): boolean;
    /** Returns the job, or throws `JobFailed` if it ended without images. */
    throwForFailure(): Job;
    refresh(): Promise<Job>;
    /** Returns the job when it has ended. Throws `WaitTimedOut`, and the job goes on. */
    wait(timeoutSeconds?: number): Promise<Job>;
    /** Cancels the job, or requests that while it is at Kie. */
    cancel(): Promise<Job>;
    /** Runs the request of the ended job again, as a new job. `again` is for one that succeeded. */
    retry(options?: {
        again?: boolean;
    }): Promise<Job>;
    /** Yields the events of the job, from the start or after that one, until it has ended. */
    events(lastEventId?: string): AsyncGenerator<JobEvent, void, void>;
    /** Returns the bytes of one image; the first has the number 1. */
    download(number?: number): Promise<Uint8Array>;
    /** Writes every image into the folder as `1.png`, `2.png` and so on. Returns the files. */
    saveImages(folder: string): Promise<string[]>;
}

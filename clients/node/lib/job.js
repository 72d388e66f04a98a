// A job and what can be done with it.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { JobFailed } from "./errors.js";
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
export class Job {
    #darkroom;
    constructor(fields, darkroom) {
        Object.assign(this, fields);
        this.#darkroom = darkroom;
    }
    /** Whether the state is `succeeded`, `failed` or `cancelled`. It then never changes. */
    get hasEnded() {
        return ENDED.has(this.state);
    }
    /** Returns the job, or throws `JobFailed` if it ended without images. */
    throwForFailure() {
        if (this.hasEnded && this.state !== "succeeded")
            throw new JobFailed(this);
        return this;
    }
    async refresh() {
        return this.#darkroom.job(this.id);
    }
    /** Returns the job when it has ended. Throws `WaitTimedOut`, and the job goes on. */
    async wait(timeoutSeconds = 600) {
        return this.hasEnded ? this : this.#darkroom.wait(this.id, timeoutSeconds, { lastKnown: this });
    }
    /** Cancels the job, or requests that while it is at Kie. */
    async cancel() {
        return this.#darkroom.cancel(this.id);
    }
    /** Runs the request of the ended job again, as a new job. `again` is for one that succeeded. */
    async retry(options = {}) {
        return this.#darkroom.retry(this.id, options);
    }
    /** Yields the events of the job, from the start or after that one, until it has ended. */
    events(lastEventId) {
        return this.#darkroom.events(this.id, lastEventId);
    }
    /** Returns the bytes of one image; the first has the number 1. */
    async download(number = 1) {
        return this.#darkroom.download(this.id, number);
    }
    /** Writes every image into the folder as `1.png`, `2.png` and so on. Returns the files. */
    async saveImages(folder) {
        const files = [];
        for (let number = 1; number <= this.result_urls.length; number += 1) {
            const content = await this.download(number);
            const file = join(folder, `${number}.${ending(content)}`);
            await writeFile(file, content);
            files.push(file);
        }
        return files;
    }
}
function ending(content) {
    if (content[0] === 0x89)
        return "png";
    return content[0] === 0xff ? "jpg" : "webp";
}

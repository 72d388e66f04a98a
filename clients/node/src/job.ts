// A job and what can be done with it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Darkroom } from "./client.js";
import { JobFailed } from "./errors.js";
import type { JobEvent } from "./events.js";
import type { JobFields } from "./models.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** A job as it was when it was read. Methods return it as it is then. */
export interface Job extends JobFields {}

export class Job {
  readonly #darkroom: Darkroom;

  constructor(fields: JobFields, darkroom: Darkroom) {
    Object.assign(this, fields);
    this.#darkroom = darkroom;
  }

  /** Whether the state is `succeeded`, `failed` or `cancelled`. It then never changes. */
  get hasEnded(): boolean {
    return ENDED.has(this.state);
  }

  /** Returns the job, or throws `JobFailed` if it ended without images. */
  throwForFailure(): Job {
    if (this.hasEnded && this.state !== "succeeded") throw new JobFailed(this);
    return this;
  }

  async refresh(): Promise<Job> {
    return this.#darkroom.job(this.id);
  }

  /** Returns the job when it has ended. Throws `WaitTimedOut`, and the job goes on. */
  async wait(timeoutSeconds = 600): Promise<Job> {
    return this.hasEnded ? this : this.#darkroom.wait(this.id, timeoutSeconds, { lastKnown: this });
  }

  /** Cancels the job, or requests that while it is at Kie. */
  async cancel(): Promise<Job> {
    return this.#darkroom.cancel(this.id);
  }

  /** Runs the request of the ended job again, as a new job. `again` is for one that succeeded. */
  async retry(options: { again?: boolean } = {}): Promise<Job> {
    return this.#darkroom.retry(this.id, options);
  }

  /** Yields the events of the job, from the start or after that one, until it has ended. */
  events(lastEventId?: string): AsyncGenerator<JobEvent, void, void> {
    return this.#darkroom.events(this.id, lastEventId);
  }

  /** Returns the bytes of one image; the first has the number 1. */
  async download(number = 1): Promise<Uint8Array> {
    return this.#darkroom.download(this.id, number);
  }

  /** Writes every image into the folder as `1.png`, `2.png` and so on. Returns the files. */
  async saveImages(folder: string): Promise<string[]> {
    const files: string[] = [];
    for (let number = 1; number <= this.result_urls.length; number += 1) {
      const content = await this.download(number);
      const file = join(folder, `${number}.${ending(content)}`);
      await writeFile(file, content);
      files.push(file);
    }
    return files;
  }
}

function ending(content: Uint8Array): string {
  if (content[0] === 0x89) return "png";
  return content[0] === 0xff ? "jpg" : "webp";
}

// The client of Darkroom: `await (await new Darkroom().enqueue({ prompt: "…" })).wait()`.

export { Darkroom } from "./client.js";
export type { ImageSource, JobFilter, Options, OrderInput, Period } from "./client.js";
export {
  ApiError,
  ConnectionFailed,
  DarkroomError,
  JobFailed,
  UnexpectedAnswer,
  WaitTimedOut,
  WebhookNotGenuine,
} from "./errors.js";
export type { JobEvent } from "./events.js";
export { Job } from "./job.js";
export type * from "./models.js";
export type { RetryPolicy } from "./retries.js";
export type { WaitOptions } from "./wait.js";
export { verifyWebhook, type Webhook } from "./webhooks.js";

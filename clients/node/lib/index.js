// The client of Darkroom: `await (await new Darkroom().enqueue({ prompt: "…" })).wait()`.
export { Darkroom } from "./client.js";
export { ApiError, ConnectionFailed, DarkroomError, JobFailed, UnexpectedAnswer, WaitTimedOut, WebhookNotGenuine, } from "./errors.js";
export { Job } from "./job.js";
export { verifyWebhook } from "./webhooks.js";

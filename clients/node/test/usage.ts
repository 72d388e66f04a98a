// What the compiler must take, and what it must refuse. It is compiled and never run.

import { ApiError, Darkroom, type Job, type OrderInput, verifyWebhook } from "../src/index.js";

const darkroom = new Darkroom({ url: "http://127.0.0.1:8080", key: "dk_", accountId: "acme" });

export async function use(headers: Headers, body: Uint8Array): Promise<string[]> {
  const order: OrderInput = { prompt: "a cat", aspect_ratio: "3:2", quantity: 2 };
  const job: Job = await (await darkroom.enqueue(order)).wait(60);
  await darkroom.enqueue({ image_urls: [new URL("file:///cat.png")], aspect_ratio: "1:1" });
  await darkroom.enqueue({ model: "gpt-image-2", prompt: "a cat", resolution: "4K", aspect_ratio: "1:1" });
  // @ts-expect-error: 4o makes 1, 2 or 4 images
  await darkroom.enqueue({ prompt: "a cat", aspect_ratio: "3:2", quantity: 3 });
  // @ts-expect-error: this is no aspect ratio of 4o
  await darkroom.enqueue({ prompt: "a cat", aspect_ratio: "16:9" });
  // @ts-expect-error: this is no state
  for await (const one of darkroom.jobs({ state: "lost" })) one.id.toUpperCase();
  for await (const event of job.events()) event.detail.progress;
  const message = await verifyWebhook("whsec_", headers, body);
  if (message.type === "job.succeeded") return [...message.data.result_urls];
  try {
    return [...job.throwForFailure().result_urls];
  } catch (error) {
    return error instanceof ApiError && error.code === "insufficient_credits" ? [] : ["?"];
  }
}

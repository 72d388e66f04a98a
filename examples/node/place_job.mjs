// Places a job and follows it to its end, with the client beside this file.
//
// Run it beside `darkroom up`, after `darkroom accounts create acme --credits 100`:
//
//     node examples/node/place_job.mjs --account acme --prompt "a lighthouse at dusk"
//
// DARKROOM_URL says where the API is, DARKROOM_API_KEY holds the key, where one is needed.

import { parseArgs } from "node:util";

import { Darkroom } from "./darkroom.mjs";

const { values } = parseArgs({
  options: {
    account: { type: "string" },
    prompt: { type: "string" },
    "aspect-ratio": { type: "string", default: "3:2" },
    quantity: { type: "string", default: "1" },
    "idempotency-key": { type: "string" },
  },
});

const darkroom = new Darkroom({
  url: process.env.DARKROOM_URL || undefined,
  key: process.env.DARKROOM_API_KEY || undefined,
});

try {
  const order = /** @type {import("./darkroom.mjs").TextToImage} */ ({
    account_id: values.account,
    task: "text-to-image",
    prompt: values.prompt,
    aspect_ratio: values["aspect-ratio"],
    quantity: Number(values.quantity),
  });
  const placed = await darkroom.enqueue(order, values["idempotency-key"]);
  console.error(`job ${placed.id}: ${placed.credits_quoted} credits held`);
  for await (const event of darkroom.events(placed.id)) {
    console.error(`  ${event.at}  ${event.event}`);
  }
  const job = await darkroom.wait(placed.id);
  console.log(JSON.stringify(job, null, 2));
  process.exitCode = job.state === "succeeded" ? 0 : 4;
} catch (error) {
  const cause = error instanceof Error && error.cause ? ` (${error.cause})` : "";
  console.error(error instanceof Error ? `${error.name}: ${error.message}${cause}` : error);
  process.exitCode = 1;
}

// Places a job and follows it to its end, with the package darkroom-client.
//
// Once, in a checkout of Darkroom:    npm install --prefix examples/node
// Beside `darkroom up`, once:         darkroom accounts create acme --credits 100
// Then:
//
//     node examples/node/place_job.mjs --account acme --prompt "a lighthouse at dusk"
//
// DARKROOM_URL says where the API is, DARKROOM_API_KEY holds the key, where one is needed.

import { parseArgs } from "node:util";

import { Darkroom } from "darkroom-client";

const { values } = parseArgs({
  options: {
    account: { type: "string" },
    prompt: { type: "string" },
    "aspect-ratio": { type: "string", default: "3:2" },
    quantity: { type: "string", default: "1" },
    "idempotency-key": { type: "string" },
  },
});

const darkroom = new Darkroom({ accountId: values.account });

try {
  const placed = await darkroom.enqueue(
    {
      prompt: values.prompt,
      aspect_ratio: values["aspect-ratio"],
      quantity: Number(values.quantity),
    },
    { idempotencyKey: values["idempotency-key"] },
  );
  console.error(`job ${placed.id}: ${placed.credits_quoted} credits held`);
  for await (const event of placed.events()) {
    console.error(`  ${event.at}  ${event.event}`);
  }
  const { id, state, reason, result_urls, credits_charged } = await placed.wait();
  console.log(JSON.stringify({ id, state, reason, result_urls, credits_charged }, null, 2));
  process.exitCode = state === "succeeded" ? 0 : 4;
} catch (error) {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
  process.exitCode = 1;
}

// The client against a running Darkroom. The environment says where it is:
//
// DARKROOM_URL, DARKROOM_API_KEY   the API and a service key of the account `acme`
// FAILING_PROMPT                   a prompt whose job fails with `content_policy`
// IMAGE                            a PNG of 37 by 23 pixels
// WEBHOOK                          JSON: a secret, and headers and body that it has signed

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";

import {
  ApiError,
  ConnectionFailed,
  Darkroom,
  DarkroomError,
  JobFailed,
  UnexpectedAnswer,
  WaitTimedOut,
  WebhookNotGenuine,
  verifyWebhook,
} from "darkroom-client";

const darkroom = new Darkroom({ accountId: "acme" });
const TOMORROW = new Date(Date.now() + 86_400_000).toISOString();
const order = { prompt: "a lighthouse", aspect_ratio: "3:2" };

async function all(entries) {
  const found = [];
  for await (const one of entries) found.push(one);
  return found;
}

/** Returns the error of the API. */
async function refusal(call, code) {
  const error = await call.then(() => assert.fail("it was taken"), (failed) => failed);
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.code, code);
  return error;
}

test("a job succeeds, is charged and has its images", async () => {
  const before = await darkroom.account();
  const placed = await darkroom.enqueue({ ...order, quantity: 2, metadata: { order: 1042 } });
  assert.deepEqual([placed.state, placed.credits_quoted, placed.hasEnded], ["queued", 7, false]);
  const job = (await placed.wait()).throwForFailure();
  assert.deepEqual([job.state, job.credits_charged, job.metadata], ["succeeded", 7, { order: 1042 }]);
  assert.equal((await darkroom.account()).balance, before.balance - 7);
  const folder = await mkdtemp(join(tmpdir(), "darkroom-"));
  try {
    const files = await job.saveImages(folder);
    assert.deepEqual(files.map((one) => one.slice(-5)), ["1.png", "2.png"]);
    assert.equal((await readFile(files[1])).subarray(1, 4).toString(), "PNG");
  } finally {
    await rm(folder, { recursive: true });
  }
  const events = (await all(placed.events())).filter((one) => one.event !== "progressed");
  assert.deepEqual(events.map((one) => one.event), ["enqueued", "claimed", "submitted", "completed"]);
  assert.deepEqual(
    (await all(placed.events(events[1].lastEventId))).map((one) => one.id),
    events.slice(2).map((one) => one.id),
  );
  assert.deepEqual(await all(placed.events(events[3].lastEventId)), []);
  await refusal(job.download(3), "not_found");
  await refusal(job.retry(), "state_conflict");
});

test("a failure costs nothing and can be retried once", async () => {
  const placed = await darkroom.enqueue({ ...order, prompt: process.env.FAILING_PROMPT });
  const job = await placed.wait();
  assert.deepEqual([job.state, job.reason, job.credits_charged], ["failed", "content_policy", null]);
  assert.throws(() => job.throwForFailure(), (error) => error instanceof JobFailed && error.job.id === job.id);
  const [last] = await all(darkroom.ledger());
  assert.equal(last.kind, "release");
  const again = await job.retry();
  assert.equal((await job.retry()).id, again.id);
});

test("a key is one job, and what differs is told", async () => {
  const waiting = { ...order, run_at: TOMORROW };
  const first = await darkroom.enqueue(waiting, { idempotencyKey: "node-1" });
  const again = await darkroom.enqueue(waiting, { idempotencyKey: "node-1" });
  assert.deepEqual({ ...again }, { ...first });
  const conflict = await refusal(
    darkroom.enqueue({ ...waiting, quantity: 2 }, { idempotencyKey: "node-1" }),
    "idempotency_conflict",
  );
  assert.deepEqual(conflict.body.differs, ["quantity"]);
  await assert.rejects(first.wait(0.1), (error) => error instanceof WaitTimedOut && error.state === "queued");
  assert.equal((await first.cancel()).reason, "cancelled_by_caller");
  await refusal(first.cancel(), "too_late_to_cancel");
});

test("a quote says the price and places nothing", async () => {
  const before = await darkroom.account();
  const quote = await darkroom.quote({ ...order, quantity: 4, metadata: { order: 1 } });
  assert.deepEqual([quote.credits, quote.account_id, quote.available], [8, "acme", before.available]);
  const images = { image_urls: ["https://example.com/a.png", "https://example.com/b.png"], aspect_ratio: "1:1" };
  const later = await darkroom.quote({ ...images, run_at: TOMORROW });
  assert.deepEqual([later.task, later.position, Date.parse(later.estimated_start_at)], ["image-to-image", null, Date.parse(TOMORROW)]);
  await refusal(darkroom.quote({ ...order, quantity: 3 }), "invalid_request");
  assert.equal((await darkroom.account()).held, before.held);
});

test("every fault has its field", async () => {
  const error = await refusal(darkroom.enqueue({ aspect_ratio: "16:9", quantity: 3 }), "invalid_request");
  assert.deepEqual(Object.keys(error.fields).sort(), ["aspect_ratio", "prompt", "quantity"]);
  assert.equal(error.status, 422);
  assert.ok(error.requestId);
  await refusal(new Darkroom({ key: "dk_x" }).prices(), "key_refused");
});

test("batches, lists, counts and many jobs", async () => {
  const placed = await darkroom.enqueueMany(
    [1, 2, 3].map((number) => ({ ...order, run_at: TOMORROW, metadata: { batch: number } })),
  );
  assert.deepEqual(
    (await all(darkroom.jobs({ scheduled: true, state: ["queued"] }))).map((one) => one.id),
    placed.map((one) => one.id).reverse(),
  );
  assert.deepEqual((await all(darkroom.jobs({ metadata: { batch: 2 } }))).map((one) => one.id), [placed[1].id]);
  const planned = await darkroom.cancelMany({ scheduled: true }, { dryRun: true });
  assert.deepEqual([planned.matched, planned.credits], [3, 18]);
  const done = await darkroom.cancelMany(placed.map((one) => one.id));
  assert.equal(done.done.length, 3);
  const counts = await darkroom.count({ state: "cancelled", created_from: new Date(Date.now() - 3_600_000) });
  assert.ok(counts.jobs >= 3);
  const retried = await darkroom.retryMany([placed[0].id], { dryRun: true });
  assert.equal(retried.matched, 1);
});

test("local images are uploaded", async () => {
  const file = await darkroom.upload(process.env.IMAGE);
  assert.deepEqual([file.content_type, file.width, file.height], ["image/png", 37, 23]);
  const url = pathToFileURL(process.env.IMAGE);
  const bytes = new Uint8Array(await readFile(url));
  const job = await darkroom.enqueue({ image_urls: [url, bytes, file.url], aspect_ratio: "1:1", run_at: TOMORROW });
  assert.deepEqual([job.task, job.request.image_urls], ["image-to-image", [file.url, file.url, file.url]]);
  assert.deepEqual(await darkroom.file(file.id), file);
  await job.cancel();
});

test("an account is followed", async () => {
  const events = darkroom.accountEvents(undefined, "0.0");
  const { value } = await events.next();
  assert.equal(value.event, "enqueued");
  await events.return();
});

test("prices and statements", async () => {
  const price = (await darkroom.prices()).find((one) => one.model === "gpt-4o-image" && one.quantity === 4);
  assert.equal(price.credits, 8);
  assert.equal((await darkroom.statement()).totals.grant, 10_000);
  assert.match(await darkroom.statementCsv(), /^id,time,kind/);
});

test("what no request can carry is refused at once", () => {
  for (const url of ["localhost:8080", "ftp://x", "http://a:b@x", "http://x?y=1", "x"]) {
    assert.throws(() => new Darkroom({ url }), TypeError);
  }
});

test("webhooks are verified", async () => {
  const { secret, headers, body } = JSON.parse(process.env.WEBHOOK);
  const message = await verifyWebhook(["whsec_AAAA", secret], new Headers(headers), body);
  assert.deepEqual([message.id, message.type], [headers["webhook-id"], "job.succeeded"]);
  const forged = [
    [headers, `${body} `],
    [{ ...headers, "webhook-id": "msg_2" }, body],
    [{ ...headers, "webhook-timestamp": "soon" }, body],
    [{ ...headers, "webhook-signature": "v1,!" }, body],
    [{}, body],
  ];
  for (const [given, text] of forged) {
    await assert.rejects(verifyWebhook(secret, given, text), WebhookNotGenuine);
  }
  const now = Date.now() / 1000 + 301;
  await assert.rejects(verifyWebhook(secret, headers, body, { now }), WebhookNotGenuine);
  await assert.rejects(verifyWebhook("whsec_", headers, body), TypeError);
});

test("answers of other servers are errors of the client, and are not asked for again", async () => {
  const answers = [
    [200, {}, "<html>sign in</html>", UnexpectedAnswer],
    [302, { Location: "https://login.example/start?token=secret" }, "", ApiError],
    [403, {}, '{"errors": "none"}', ApiError],
    [403, {}, '{"errors": ["none"], "type": null}', ApiError],
    [400, {}, '{"errors": {"code": 7}}', ApiError],
  ];
  let asked = 0;
  const server = createServer((_, response) => {
    const [status, headers, body] = answers[asked++];
    response.writeHead(status, headers).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const client = new Darkroom({ url: `http://127.0.0.1:${server.address().port}`, key: "k" });
    for (const [, , , kind] of answers) {
      const error = await client.prices().then(() => assert.fail("it was taken"), (failed) => failed);
      assert.ok(error instanceof kind && error instanceof DarkroomError, String(error));
      assert.ok(!String(error).includes("secret"), String(error));
    }
    assert.equal(asked, answers.length);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a stream of an account goes on after a server that stops has ended it", async () => {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers["last-event-id"]);
    const data = JSON.stringify({ id: asked.length, job_id: "j", state: "succeeded", detail: {} });
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(`retry: 1\n\nid: ${asked.length}.0\nevent: completed\ndata: ${data}\n\n`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const client = new Darkroom({ url: `http://127.0.0.1:${server.address().port}`, key: "k" });
    const seen = [];
    for await (const event of client.accountEvents("acme")) {
      seen.push(event.id);
      if (seen.length === 3) break;
    }
    assert.deepEqual([seen, asked.slice(0, 3)], [[1, 2, 3], [undefined, "1.0", "2.0"]]);
    assert.deepEqual((await all(client.events("j"))).map((one) => one.state), ["succeeded"]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a wait ends in time, whatever the API does, and tells what was last known", async () => {
  const answers = {
    silent: () => {},
    slow: (response) => {
      response.writeHead(200, { "Content-Length": "100000" });
      const timer = setInterval(() => response.write(" "), 50);
      response.on("close", () => clearInterval(timer));
    },
    busy: (response) => response.writeHead(503, { "Retry-After": "60" }).end(),
    broken: (response) => response.destroy(),
  };
  const server = createServer((request, response) => answers[request.url.split("/")[1]](response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${server.address().port}`;
  const [queued] = await all(darkroom.jobs({ state: "succeeded" }));
  const lastKnown = { ...queued, state: "running" };
  const waited = async (url, options) => {
    const started = performance.now();
    const client = new Darkroom({ url, key: "k" });
    const error = await client.wait("j-1", 0.3, options).then(assert.fail, (failed) => failed);
    const seconds = (performance.now() - started) / 1000;
    assert.ok(error instanceof WaitTimedOut, String(error));
    assert.ok(seconds >= 0.29 && seconds < 10, `${url}: ${seconds} s`);
    return error;
  };
  try {
    await Promise.all(
      Object.keys(answers).map(async (name) => {
        const [error, known] = await Promise.all([
          waited(`${address}/${name}`),
          waited(`${address}/${name}`, { lastKnown }),
        ]);
        assert.equal(error.state, undefined);
        assert.match(error.message, /^job j-1 cannot be read \(.+\), its state is not known, after 0.3 s; it goes on$/);
        assert.equal(known.state, "running");
        assert.match(known.message, /it was running when last read/);
      }),
    );
    const stopping = new AbortController();
    const busy = new Darkroom({ url: `${address}/busy`, key: "k" });
    const ended = busy.wait("j-1", 600, { signal: stopping.signal });
    setTimeout(() => stopping.abort(), 200); // while it pauses for a minute
    await assert.rejects(ended, (error) => error.name === "AbortError");
    const impatient = { tries: 1 };
    const refusal = new Darkroom({ url: `${address}/broken`, key: "k", retries: impatient });
    await assert.rejects(refusal.wait("j-1", 60), ConnectionFailed);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  const gone = await waited(address);
  assert.match(gone.message, /ECONNREFUSED/);
});
